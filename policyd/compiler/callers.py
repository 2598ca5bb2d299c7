"""Which identities a rule's sources mean, in the two forms that a proxy can look up: whole SPIFFE IDs and prefixes.

Fields of one source are ANDed, values of a field ORed, sources ORed. So each source is either a set of whole
identities, or a set of prefixes; a field that narrows the other is worked out here, once. Addresses stay with the
source that asks for them: somebody whom one source means is not let in from where only another one says.
"""

from __future__ import annotations

from dataclasses import dataclass

from policyd.model.access import Rule, Source
from policyd.model.names import namespace_prefix, spiffe_id

VERIFIED = "spiffe://"
"""What every identity starts with, whoever of the trusted roots has issued it."""


@dataclass(frozen=True, slots=True)
class Callers:
    """Identities that are meant whole, and prefixes of identities, each of which ends in `/`.

    Where there are `blocks` (CIDR), they are meant only when the direct peer's address is in one of them.
    """

    exact: frozenset[str]
    prefixes: frozenset[str]
    blocks: tuple[str, ...] = ()

    def include(self, identity: str) -> bool:
        """Whether a verified SPIFFE ID is one of them, from some address."""
        return identity in self.exact or any(identity.startswith(prefix) for prefix in self.prefixes)

    def cover(self, prefix: str) -> bool:
        """Whether everything that starts with `prefix` is one of them, from some address."""
        return any(prefix.startswith(own) for own in self.prefixes)


def mesh_prefix(trust_domain: str) -> str:
    """What every identity of the mesh's own trust domain starts with."""
    return f"spiffe://{trust_domain}/"


def callers(rule: Rule, trust_domain: str) -> tuple[Callers, ...]:
    """Everyone that some source of the rule means: those who may be anywhere first, then by their addresses.

    Sources that ask for the same addresses come together, those that mean nobody not at all.
    """
    found: dict[tuple[str, ...], list[Callers]] = {}
    for source in rule.sources:
        who = _source(source, trust_domain)
        if who.exact or who.prefixes:
            found.setdefault(tuple(sorted(set(source.ip_blocks))), []).append(who)
    return tuple(_together(each, blocks) for blocks, each in sorted(found.items()))


def _together(each: list[Callers], blocks: tuple[str, ...]) -> Callers:
    return Callers(
        frozenset().union(*(one.exact for one in each)), frozenset().union(*(one.prefixes for one in each)), blocks
    )


def _source(source: Source, trust_domain: str) -> Callers:
    exact: frozenset[str] | None = None
    if source.services:
        exact = frozenset(spiffe_id(trust_domain, service) for service in source.services)
    if source.identities:
        named = frozenset(source.identities)
        exact = named if exact is None else exact & named
    prefixes: frozenset[str] | None = None
    if source.namespaces:
        prefixes = frozenset(namespace_prefix(trust_domain, namespace) for namespace in source.namespaces)
    elif source.anyone:
        prefixes = frozenset({mesh_prefix(trust_domain)})
    elif source.any_identity:
        prefixes = frozenset({VERIFIED})
    if exact is None:
        return Callers(frozenset(), prefixes or frozenset())
    if prefixes is not None:
        within = Callers(frozenset(), prefixes)
        exact = frozenset(identity for identity in exact if within.include(identity))
    return Callers(exact, frozenset())
