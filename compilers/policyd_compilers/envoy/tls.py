"""Mutual TLS between sidecars: certificates and roots by SDS, so that renewal and rotation change no resource."""

from __future__ import annotations

from functools import cache
from ipaddress import ip_address
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from envoy.type.matcher.v3 import string_pb2

from policyd.compiler.naming import SVID, TRUST_BUNDLE
from policyd.model.external import SYSTEM
from policyd.model.mesh import Settings
from policyd_compilers.envoy.proto import boolean, pack
from policyd_compilers.envoy.sources import ads

ALPN = ("h2", "http/1.1")
SYSTEM_ROOTS = "/etc/ssl/certs/ca-certificates.crt"
"""Where Debian, Ubuntu, Alpine and Arch keep them; another file is a setting of the controller."""


@cache
def downstream() -> Any:
    """The transport socket of an inbound listener: our SVID, and a verified client certificate or nothing."""
    common = _common()
    common.validation_context_sds_secret_config.CopyFrom(_secret(TRUST_BUNDLE))
    context = tls_pb2.DownstreamTlsContext(
        common_tls_context=common,
        require_client_certificate=boolean(True),
        # A resumed session skips the check of the client's certificate; a full handshake each time does not.
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )
    return base_pb2.TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack(context))


def upstream(spiffe_id: str, server_name: str) -> Any:
    """The transport socket of a cluster: our SVID, and a peer that is exactly `spiffe_id`."""
    common = _common()
    common.combined_validation_context.default_validation_context.match_typed_subject_alt_names.append(
        common_pb2.SubjectAltNameMatcher(
            san_type=common_pb2.SubjectAltNameMatcher.URI, matcher=string_pb2.StringMatcher(exact=spiffe_id)
        )
    )
    common.combined_validation_context.validation_context_sds_secret_config.CopyFrom(_secret(TRUST_BUNDLE))
    context = tls_pb2.UpstreamTlsContext(common_tls_context=common, sni=server_name)
    return base_pb2.TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack(context))


def system_or_named(settings: Settings) -> dict[str, str]:
    """Where the machine of a proxy has roots that are not the mesh's, by name."""
    return {SYSTEM: SYSTEM_ROOTS, **dict(settings.roots)}


def outside(roots: str, named: str, alpn: tuple[str, ...]) -> Any:
    """The transport socket towards who is not of the mesh: a certificate for `named`, from the roots in a file."""
    address = is_address(named)
    context = tls_pb2.UpstreamTlsContext(
        sni="" if address else named,  # RFC 6066, section 3: no addresses
        common_tls_context=tls_pb2.CommonTlsContext(
            alpn_protocols=alpn,
            tls_params=common_pb2.TlsParameters(
                tls_minimum_protocol_version=common_pb2.TlsParameters.TLSv1_2,
                tls_maximum_protocol_version=common_pb2.TlsParameters.TLSv1_3,
            ),
            validation_context=common_pb2.CertificateValidationContext(
                trusted_ca=base_pb2.DataSource(filename=roots),
                match_typed_subject_alt_names=[
                    common_pb2.SubjectAltNameMatcher(
                        san_type=common_pb2.SubjectAltNameMatcher.IP_ADDRESS
                        if address
                        else common_pb2.SubjectAltNameMatcher.DNS,
                        matcher=string_pb2.StringMatcher(exact=named),
                    )
                ],
            ),
        ),
    )
    return base_pb2.TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack(context))


def edge(certificate: str) -> Any:
    """The transport socket of a gateway: the certificate by the name of its secret, and clients that are anybody."""
    common = tls_pb2.CommonTlsContext(
        alpn_protocols=ALPN,
        tls_params=common_pb2.TlsParameters(
            tls_minimum_protocol_version=common_pb2.TlsParameters.TLSv1_2,
            tls_maximum_protocol_version=common_pb2.TlsParameters.TLSv1_3,
        ),
        tls_certificate_sds_secret_configs=[_secret(certificate)],
    )
    context = tls_pb2.DownstreamTlsContext(common_tls_context=common)
    return base_pb2.TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack(context))


def is_address(host: str) -> bool:
    """Whether a host is named by its address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _common() -> Any:
    return tls_pb2.CommonTlsContext(
        alpn_protocols=ALPN,
        tls_params=common_pb2.TlsParameters(
            tls_minimum_protocol_version=common_pb2.TlsParameters.TLSv1_3,
            tls_maximum_protocol_version=common_pb2.TlsParameters.TLSv1_3,
        ),
        tls_certificate_sds_secret_configs=[_secret(SVID)],
    )


def _secret(name: str) -> Any:
    return secret_pb2.SdsSecretConfig(name=name, sds_config=ads())
