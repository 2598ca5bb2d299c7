"""The index by caller says what the rules say, one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from policyd.model.access import Access, Rule, Source
from policyd.model.names import Name, parse_spiffe_id, spiffe_id
from policyd.model.scope import Callers, Scope
from policyd.testing import build

DOMAIN = "test.example"
NAMES = [Name("default", "a"), Name("default", "b"), Name("ops", "a")]

sources = st.builds(
    Source,
    services=st.lists(st.sampled_from(NAMES), max_size=2).map(tuple),
    namespaces=st.lists(st.sampled_from(["ops", "default"]), max_size=1).map(tuple),
    identities=st.lists(
        st.sampled_from([*(spiffe_id(DOMAIN, name) for name in NAMES), "spiffe://partner.example/ns/ops/svc/a"]),
        max_size=2,
    ).map(tuple),
    anyone=st.booleans(),
)


def names(source: Source, caller: Name) -> bool:
    fields = [
        (source.services, caller in source.services),
        (source.namespaces, caller.namespace in source.namespaces),
        (source.identities, spiffe_id(DOMAIN, caller) in source.identities),
        (source.anyone, True),
    ]
    return any(said for said, _ in fields) and all(fits for said, fits in fields if said)


@given(said=st.lists(st.lists(sources, max_size=2), min_size=3, max_size=3))
def test_a_destination_is_in_scope_where_some_source_names_the_caller(said: list[list[Source]]) -> None:
    accesses = [
        Access(to, (Rule(Name("default", "r"), tuple(each), ()),)) for to, each in zip(NAMES, said, strict=True)
    ]
    mesh = build.mesh([build.service(str(name), {"v1": []}) for name in NAMES], accesses)
    for caller in NAMES:
        expected = {to for to, each in zip(NAMES, said, strict=True) if any(names(source, caller) for source in each)}
        assert Scope.of(mesh).destinations(caller) == tuple(sorted(expected))
        for access in accesses:
            assert (caller in Callers.of(access, DOMAIN).among(NAMES)) == (access.to in expected)


def test_the_scope_of_a_mesh_is_built_once() -> None:
    mesh = build.mesh([build.service("a", {"v1": []})])
    assert Scope.of(mesh) is Scope.of(mesh)


def test_spiffe_ids_are_read_back() -> None:
    for name in NAMES:
        assert parse_spiffe_id(DOMAIN, spiffe_id(DOMAIN, name)) == name
        assert parse_spiffe_id("other.example", spiffe_id(DOMAIN, name)) is None
    assert parse_spiffe_id(DOMAIN, f"spiffe://{DOMAIN}/ns/ops/svc/") is None
    assert parse_spiffe_id(DOMAIN, f"https://{DOMAIN}/ns/ops/svc/a") is None
