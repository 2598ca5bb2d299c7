"""Names: how they are read, printed and turned into identities."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from policyd.model.names import Name, dns_name, namespace_prefix, parse_spiffe_id, spiffe_id

label = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
names = st.builds(Name, label, label)


@given(names)
def test_a_name_prints_as_it_reads(name: Name) -> None:
    assert Name.parse(str(name)) == name
    assert Name.parse(name.name, name.namespace) == name


def test_a_short_name_is_in_the_namespace_around_it() -> None:
    assert Name.parse("web") == Name("default", "web")
    assert Name.parse("web", "ops") == Name("ops", "web")
    assert Name.parse("pay/web", "ops") == Name("pay", "web")


@given(names)
def test_identities_lead_back_to_their_service(name: Name) -> None:
    identity = spiffe_id("shop.example", name)
    assert parse_spiffe_id("shop.example", identity) == name
    assert parse_spiffe_id("other.example", identity) is None
    assert identity.startswith(namespace_prefix("shop.example", name.namespace))
    assert dns_name("shop.example", name) == f"{name.name}.{name.namespace}.shop.example"


@given(names, names)
def test_no_namespace_prefix_reaches_into_another(one: Name, other: Name) -> None:
    inside = spiffe_id("t", other).startswith(namespace_prefix("t", one.namespace))
    assert inside == (one.namespace == other.namespace)
