"""How the real HAProxy judges a node without starting: `haproxy -c` on the node's folder, with certificates in it."""

from __future__ import annotations

from policyd.compiler.artifact import Compiled
from policyd.compiler.protocol import Secrets, Validation
from policyd_compilers.haproxy.names import CERTIFICATE, ROOTS


def validation(compiled: Compiled, secrets: Secrets) -> Validation:
    """The node's own files, and the two that the configuration names beside them."""
    files = {artifact.name: artifact.body for artifact in compiled.artifacts}
    return Validation("haproxy", ("-c", "-f", "{dir}"), {**files, **secret_files(secrets)})


def secret_files(secrets: Secrets) -> dict[str, bytes]:
    """The certificate with its key, and the roots, under the names that the configuration reads."""
    return {CERTIFICATE: secrets.certificate_chain + secrets.private_key, ROOTS: secrets.roots}
