"""Headers that nothing can go by, since no request has them when it matters."""

from __future__ import annotations

NEVER_ARRIVE = ("x-envoy-", "client-cert", "x-forwarded-client-cert")
"""Beginnings of headers that sidecars take away before anything looks at them."""


OF_A_CONNECTION = frozenset({"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"})
"""Headers for the next hop alone, which sidecars take away. Source: RFC 9110, section 7.6.1."""


def unseen(header: str) -> str:
    """Why no request is known by a header, as a hint; empty where it can be."""
    if header.startswith(NEVER_ARRIVE):
        return "sidecars take it away first, since it would claim something"
    if "_" in header:
        return "callees refuse requests with `_` in the name of a header: write `-`, in the application too"
    return ""
