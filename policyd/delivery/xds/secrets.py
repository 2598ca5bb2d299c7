"""Certificates and keys as SDS resources."""

from __future__ import annotations

from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

from policyd.compiler import naming
from policyd.compiler.artifact import Artifact
from policyd.compiler.naming import SVID, TRUST_BUNDLE
from policyd.delivery.resource_types import SECRET


def svid_secret(certificate_chain_pem: bytes, key_pem: bytes) -> Artifact:
    """The secret `svid`: a node's own certificate (leaf first) and its key."""
    return _pair(SVID, certificate_chain_pem, key_pem)


def certificate_secret(name: str, certificate_chain_pem: bytes, key_pem: bytes) -> Artifact:
    """The secret `certificate/NAME`: what a gateway shows to its clients."""
    return _pair(naming.certificate_secret(name), certificate_chain_pem, key_pem)


def _pair(name: str, certificate_chain_pem: bytes, key_pem: bytes) -> Artifact:
    secret = secret_pb2.Secret(name=name)
    secret.tls_certificate.certificate_chain.inline_bytes = certificate_chain_pem
    secret.tls_certificate.private_key.inline_bytes = key_pem
    return Artifact(SECRET, name, secret.SerializeToString(deterministic=True))


def trust_bundle_secret(bundle_pem: bytes) -> Artifact:
    """The secret `trust-bundle`: the roots that peers are verified against.

    Which peers are expected is not said here: listeners and clusters add their own SAN matchers to it.
    """
    secret = secret_pb2.Secret(name=TRUST_BUNDLE)
    secret.validation_context.trusted_ca.inline_bytes = bundle_pem
    return Artifact(SECRET, TRUST_BUNDLE, secret.SerializeToString(deterministic=True))
