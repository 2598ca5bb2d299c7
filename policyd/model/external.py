"""What lies outside of the mesh: a host that services may call by name, with no sidecar on its side."""

from __future__ import annotations

from dataclasses import dataclass

VERSION = "external"
"""An external host has one version, without instances of the mesh; its cluster and its counters go by this name."""
SYSTEM = "system"
"""The roots that a proxy's own machine trusts."""


@dataclass(frozen=True, slots=True)
class External:
    """How a caller's sidecar reaches it.

    `host` is what callers say, what DNS is asked for and what the certificate must name. `roots` names the roots that
    the certificate must come from; empty: in the clear. `addresses` stand in the place of DNS.
    """

    host: str
    roots: str = SYSTEM
    addresses: tuple[str, ...] = ()
