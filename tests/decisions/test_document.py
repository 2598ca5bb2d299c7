"""The document that engines decide from: what is written is read back whole, and nothing else is taken."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.decisions import NO_TOKEN, Index, Request, Token, TokenState
from policyd.decisions.document import DocumentError, document, floor_of, mesh_of
from policyd.model.access import Access, Mode, Permit, Rule, Source
from policyd.model.mesh import Mesh, Settings
from policyd.model.names import Name, spiffe_id
from policyd.model.paths import EVERYTHING
from policyd.model.tokens import Issuer, TokenCondition
from policyd.testing import build

AT = datetime(2027, 1, 1, 12, 30, 0, 250, tzinfo=UTC)
RULES = (
    build.rule("web-reads", ["web"], "GET,HEAD /v1/{id}", "POST /v1/**", expires=AT),
    build.rule("watch", ["*", "namespace:ops"], "GET /", mode=Mode.OBSERVE),
    build.rule("partner", ["spiffe://partner.example/ns/pay/svc/settle"]),
)


def shop(*rules: Rule) -> Mesh:
    services = [build.service("web", {"v1": ["10.0.0.1"]}), build.service("payments", {"v1": ["10.0.0.3"]})]
    return build.mesh(services, [build.access("payments", *rules)])


def test_the_document_is_the_contract_of_every_engine() -> None:
    said = document(shop(RULES[0]), AT)
    assert said["services"]["default/payments"] == {
        "spiffe": "spiffe://test.example/ns/default/svc/payments",
        "port": 8080,
        "opaque_paths": False,
        "connections": False,
        "revoked": [],
        "rules": [
            {
                "name": "default/web-reads",
                "mode": "enforce",
                "expires_us": 1_798_806_600_000_250,
                "jwt": None,
                "replaces": [],
                "sources": [
                    {
                        "services": ["spiffe://test.example/ns/default/svc/web"],
                        "namespaces": [],
                        "identities": [],
                        "anyone": "",
                        "ip": [],
                    }
                ],
                "permits": [
                    {
                        "methods": ["GET", "HEAD"],
                        "ports": [],
                        "paths": [{"segments": ["v1", None], "rest": False}],
                    },
                    {"methods": ["POST"], "ports": [], "paths": [{"segments": ["v1"], "rest": True}]},
                ],
            }
        ],
    }
    assert said["floor_us"] == 1_798_806_600_000_250


@given(st.lists(st.sampled_from(RULES), unique_by=lambda rule: rule.name), st.none() | st.just(AT))
def test_what_is_written_is_read_back_whole(rules: list[Rule], floor: datetime | None) -> None:
    mesh = shop(*rules)
    said = json.loads(json.dumps(document(mesh, floor)))
    read = mesh_of(said)
    assert read.access == mesh.access
    assert list(read.services) == list(mesh.services)
    assert floor_of(said) == floor
    assert document(read, floor) == said


def test_a_source_of_several_fields_keeps_them_together() -> None:
    both = Rule(Name.parse("both"), (Source(services=(Name.parse("web"),), namespaces=("default",)),), ())
    assert mesh_of(document(shop(both))).access == shop(both).access


def test_addresses_ports_tokens_and_who_is_cut_off_are_kept() -> None:
    source = Source(services=(Name.parse("web"),), ip_blocks=("10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32"))
    permit = Permit(("GET",), (EVERYTHING,), (8080, 9090))
    known = TokenCondition("login", (("role", ("admin", "auditor")),))
    rules = (
        Rule(Name.parse("a"), (source,), (permit,), token=known),
        Rule(Name.parse("b"), (source,), (permit,), Mode.OBSERVE, replaces=(Name.parse("a"),)),
        Rule(Name.parse("c"), (source,), (permit,), token=TokenCondition("gone")),
    )
    cut = ("spiffe://test.example/ns/default/svc/probe",)
    settings = Settings("test", "test.example", issuers=(Issuer("login", "https://login.example/", ("shop",)),))
    mesh = build.mesh(shop().services.values(), [Access(Name.parse("payments"), rules, cut)], settings=settings)
    said = document(mesh)
    payments = said["services"]["default/payments"]
    assert payments["revoked"] == list(cut)
    first, observer, nobody = payments["rules"]
    assert first["sources"][0]["ip"][0] == ["0" * 20 + "ffff0a000000", "0" * 20 + "ffff0affffff"]
    assert first["permits"][0]["ports"] == [8080, 9090]
    assert first["jwt"]["issuer"] == "https://login.example/"
    assert first["jwt"]["claims"] == {"role": ["admin", "auditor"]}
    assert observer["replaces"] == ["default/a"]
    assert nobody["jwt"]["issuer"] == ""
    read = mesh_of(json.loads(json.dumps(said)))
    assert document(read) == said
    token = Token(TokenState.VALID, "https://login.example/", {"role": "admin"})
    request = Request(identity("web"), Name.parse("payments"), "GET", "/", ip="10.1.2.3", token=token)
    for asked in (
        request,
        request._replace(ip="11.1.2.3"),
        request._replace(token=NO_TOKEN),
        request._replace(port=1),
    ):
        ours, theirs = (Index.build(each).decide(asked, AT) for each in (read, mesh))
        assert ours[:4] == theirs[:4]


def identity(name: str) -> str:
    return spiffe_id("test.example", Name.parse(name))


def _anywhere(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every object in a document whose fields are fixed."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [place for key, each in items for place in _anywhere(each, (*path, key))]
    return [path, *found] if isinstance(value, dict) and path != ("services",) else found


@pytest.mark.parametrize("change", ["added", "removed"])
def test_a_field_too_many_or_too_few_is_refused_wherever_it_is(change: str) -> None:
    whole = document(shop(*RULES))
    places = [place for place in _anywhere(whole) if place[-1:] != ("claims",)]
    assert len(places) > 10
    for place in places:
        changed: Any = copy.deepcopy(whole)
        at = changed
        for key in place:
            at = at[key]
        if change == "added":
            at["unheard-of"] = True
        else:
            del at[next(iter(at))]
        with pytest.raises(DocumentError):
            mesh_of(changed)
