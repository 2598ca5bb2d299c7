"""The document that engines decide from: what is written is read back whole, and nothing else is taken."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.decisions.document import DocumentError, document, floor_of, mesh_of
from policyd.model.access import Mode, Rule, Source
from policyd.model.mesh import Mesh
from policyd.model.names import Name
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
    said = document(
        shop(RULES[0]),
        AT,
        revoked_identities=["spiffe://test.example/ns/default/svc/b", "spiffe://test.example/ns/default/svc/a"],
        revoked_edges=[("spiffe://test.example/ns/default/svc/web", Name("default", "payments"))],
    )
    assert said["services"]["default/payments"] == {
        "spiffe": "spiffe://test.example/ns/default/svc/payments",
        "port": 8080,
        "opaque_paths": False,
        "rules": [
            {
                "name": "default/web-reads",
                "mode": "enforce",
                "expires_us": 1_798_806_600_000_250,
                "jwt": None,
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
    assert said["revoked"] == {
        "identities": ["spiffe://test.example/ns/default/svc/a", "spiffe://test.example/ns/default/svc/b"],
        "edges": [{"from": "spiffe://test.example/ns/default/svc/web", "to": "default/payments"}],
    }


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


def _anywhere(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every object in a document whose fields are fixed."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [place for key, each in items for place in _anywhere(each, (*path, key))]
    return [path, *found] if isinstance(value, dict) and path != ("services",) else found


@pytest.mark.parametrize("change", ["added", "removed"])
def test_a_field_too_many_or_too_few_is_refused_wherever_it_is(change: str) -> None:
    whole = document(shop(*RULES))
    places = _anywhere(whole)
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
