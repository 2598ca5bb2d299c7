"""Who a source means, in the forms that can be looked up: whole identities, beginnings of identities, addresses."""

from __future__ import annotations

from dataclasses import dataclass

from policyd.decisions.addresses import Blocks
from policyd.model.access import Source
from policyd.model.names import namespace_prefix, spiffe_id

ANY_IDENTITY = "spiffe://"
"""What every verified identity begins with, of whatever trust domain."""


@dataclass(frozen=True, slots=True)
class Callers:
    """Identities that are meant whole, or by one of `prefixes`; from anywhere, or only from `blocks`."""

    identities: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    blocks: Blocks | None = None

    @classmethod
    def of(cls, source: Source, trust_domain: str) -> Callers:
        """Values of a field are ORed, fields that are set are ANDed; a source without fields matches nobody."""
        blocks = Blocks.of(source.ip_blocks) if source.ip_blocks else None
        prefixes = [namespace_prefix(trust_domain, namespace) for namespace in source.namespaces]
        if source.anyone and not prefixes:
            prefixes = [f"spiffe://{trust_domain}/"]
        if source.any_identity:
            prefixes = [ANY_IDENTITY]
        if not source.services and not source.identities:
            return cls((), tuple(prefixes), blocks)
        services = {spiffe_id(trust_domain, service) for service in source.services}
        listed = set(source.identities)
        named = services & listed if services and listed else services | listed
        if prefixes:
            named = {identity for identity in named if identity.startswith(tuple(prefixes))}
        return cls(tuple(sorted(named)), (), blocks)


def prefixes(source: str) -> tuple[str, ...]:
    """What rules may know a SPIFFE ID by beside its whole: as verified at all, its trust domain, its namespace."""
    parts = source.split("/")
    domain = "/".join(parts[:3]) + "/"
    if len(parts) >= 7 and parts[3] == "ns" and parts[5] == "svc":
        return ANY_IDENTITY, domain, "/".join(parts[:6]) + "/"
    return ANY_IDENTITY, domain
