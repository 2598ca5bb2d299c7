"""Mutual TLS between sidecars: the words of a `bind` and of a `server` line.

HAProxy cannot compare URI SANs. A caller is known by the subject that the CA wrote (`access.identity`), a callee by
his one DNS SAN, which `verifyhost` compares.
"""

from __future__ import annotations

from policyd_compilers.haproxy.names import CERTIFICATE, ROOTS
from policyd_compilers.haproxy.text import word

_OURS = f"ssl crt {CERTIFICATE} ca-file {ROOTS} verify required"
_ALPN = "alpn h2,http/1.1"


def bind() -> str:
    """Our SVID, and a verified client certificate or nothing."""
    return f"{_OURS} {_ALPN}"


def server(host: str, *, multiplexed: bool) -> str:
    """Our SVID, and a peer whose certificate names `host`."""
    alpn = "alpn h2" if multiplexed else _ALPN
    return f"{_OURS} verifyhost {word(host)} sni str({word(host)}) {alpn}"
