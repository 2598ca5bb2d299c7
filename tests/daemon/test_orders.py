"""Orders to cut somebody off: who is meant, and names that let nobody else in when they are lifted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policyd.api.revocations import Order
from policyd.base.errors import UsageError
from policyd.daemon.orders import revocation_of
from policyd.model.access import Source
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.revocation import Revocation
from policyd.testing import build

WEB = "spiffe://test.example/ns/default/svc/web"
GONE = "spiffe://test.example/ns/default/svc/gone"
STRANGERS = ("spiffe://partner.example/settle", "spiffe://partner.example/audit")
SERVICES = [build.service(name, {"v1": ["10.0.0.1"]}) for name in ("web", "payments", "x" * 63, "x" * 62)]
NAMED = Source(identities=STRANGERS)
MESH = build.mesh(
    SERVICES, [build.access("payments", replace(build.rule("partners", ["web"], "GET /a"), sources=(NAMED,)))]
)


def ordered(
    identity: str, *held: Revocation, to: str = "", name: str = "", anyway: bool = False, mesh: Mesh = MESH
) -> Revocation:
    return revocation_of(Order(identity, to, "key found", name, anyway=anyway), mesh, held)


def test_who_is_meant_and_what_it_is_called() -> None:
    assert ordered("web") == Revocation(Name("default", "revoked-web"), "key found", WEB)
    edge = ordered("web", to="payments")
    assert (edge.name, edge.to) == (Name("default", "revoked-web-from-payments"), Name("default", "payments"))
    assert ordered("web", ordered("web")) == ordered("web")


@pytest.mark.parametrize("two", [STRANGERS, ("x" * 63, "x" * 62)])
def test_two_who_would_be_called_alike_are_lifted_one_by_one(two: tuple[str, str]) -> None:
    first = ordered(two[0])
    second = ordered(two[1], first)
    assert ordered(two[1]).name == first.name
    assert second.name != first.name
    assert len(second.name.name) <= 63
    assert ordered(two[1], first, second) == second


def test_a_name_that_another_one_has_is_refused() -> None:
    first = ordered(STRANGERS[0], name="leak")
    with pytest.raises(UsageError, match="another revocation is called `default/leak`"):
        ordered(STRANGERS[1], first, name="leak")
    assert ordered(STRANGERS[0], first, name="leak") == first


@pytest.mark.parametrize(
    "identity", ["wbe", WEB + "/", WEB.replace("test", "TEST"), "spiffe://test.example", "a/b/c", ""]
)
def test_an_order_that_means_nobody_is_refused(identity: str) -> None:
    with pytest.raises(UsageError):
        ordered(identity)


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        (WEB.replace("web", "wbe"), WEB),
        (STRANGERS[0] + "s", STRANGERS[0]),
        (WEB.replace("test.", "tset."), WEB),
        (GONE, ""),
    ],
)
def test_a_slip_in_a_whole_id_cuts_nobody_off_unless_it_is_meant(slip: str, meant: str) -> None:
    with pytest.raises(UsageError, match="nobody is known by") as refused:
        ordered(slip)
    assert f"did you mean `{meant}`?" in refused.value.hint or not meant
    assert "`--anyway` cuts it off all the same" in refused.value.hint
    gone = ordered(slip, anyway=True)
    assert gone.identity == slip
    assert ordered(slip, gone) == gone, "whoever is cut off already is known"


def test_strangers_are_known_where_a_rule_looks_at_addresses_alone() -> None:
    rule = replace(build.rule("office", ["web"], "GET /a"), sources=(Source(ip_blocks=("10.0.0.0/8",)),))
    mesh = build.mesh(SERVICES, [build.access("payments", rule)])
    assert ordered("spiffe://any.example/body", mesh=mesh).identity == "spiffe://any.example/body"
    with pytest.raises(UsageError, match="nobody is known by"):
        ordered(GONE, mesh=mesh)
