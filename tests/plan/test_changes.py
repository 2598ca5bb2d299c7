"""What counts as a change, what it is called, and what must come before it."""

from __future__ import annotations

from dataclasses import replace

from policyd.model.failover import Fallback
from policyd.model.gateway import Entry, Gateway, Listener
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.resilience import Resilience, Timeouts
from policyd.model.route import RouteRule
from policyd.model.service import Service, Split
from policyd.plan.change import Unit
from policyd.plan.changes import advance, changes
from policyd.plan.describe import describe
from policyd.plan.runtime import refreshed
from policyd.testing import build

CHECKOUT, PAYMENTS = Name.parse("checkout"), Name.parse("payments")


def with_service(mesh: Mesh, service: Service) -> Mesh:
    return replace(mesh, services=dict(sorted({**mesh.services, service.name: service}.items())))


def serving(mesh: Mesh, name: Name, version: str) -> Mesh:
    return with_service(mesh, replace(mesh.services[name], split=Split.all_to(version)))


def test_a_gateway_is_changed_as_a_service_is_and_waits_for_new_ones_it_leads_to(shop: Mesh) -> None:
    edge, new = Name.parse("edge"), Name.parse("new")
    leading = Gateway((Listener(443, ("a.example",), "a"),), (Entry(RouteRule("r"), CHECKOUT),))
    there = with_service(shop, replace(build.service("edge", {"edge": ["10.9.9.9"]}), gateway=leading))
    (change,) = changes(shop, there)
    assert (change.key, describe(change)) == ((Unit.SERVICE, edge), "edge: new gateway")
    elsewhere = replace(leading, entries=(Entry(RouteRule("r"), new),))
    after = with_service(there, replace(there.services[edge], gateway=elsewhere))
    after = with_service(after, build.service("new", {"v1": ["10.9.9.1"]}))
    moved, added = changes(there, after)
    assert describe(moved) == "edge: gateway"
    assert moved.needs == ((Unit.SERVICE, new),)
    gone = changes(after, there)
    assert [each.needs for each in gone if each.name == new] == [((Unit.SERVICE, edge),)]
    assert added.key == (Unit.SERVICE, new)


def test_equal_content_is_no_change(shop: Mesh) -> None:
    again = replace(shop, services={name: replace(each) for name, each in shop.services.items()})
    assert changes(shop, shop) == changes(shop, again) == ()


def test_another_serving_version_is_one_change(shop: Mesh) -> None:
    (change,) = changes(shop, serving(shop, CHECKOUT, "v2"))
    assert change.key == (Unit.SERVICE, CHECKOUT)
    assert describe(change) == "checkout: v1 -> v2"


def test_instances_and_idle_versions_are_runtime_and_no_part_of_a_changes_name(shop: Mesh) -> None:
    moved = with_service(shop, build.service("checkout", {"v1": ["10.9.0.1"], "v3": ["10.9.0.3"]}))
    assert changes(shop, moved) == ()
    there = serving(shop, CHECKOUT, "v2")
    elsewhere = with_service(there, build.service("checkout", {"v1": [], "v2": ["10.9.0.2"]}, serving="v2"))
    assert changes(shop, there)[0].id == changes(shop, elsewhere)[0].id


def test_promoted_is_refreshed_with_the_heads_instances_and_keeps_what_still_serves(shop: Mesh) -> None:
    head = with_service(shop, build.service("checkout", {"v2": ["10.9.0.2"]}))
    seen = refreshed(shop, head).services[CHECKOUT]
    assert [version.name for version in seen.versions] == ["v1", "v2"]
    assert seen.version("v1") == shop.services[CHECKOUT].version("v1")
    assert seen.version("v2") == head.services[CHECKOUT].version("v2")
    assert refreshed(shop, shop) is shop


def test_rules_wait_for_the_services_that_are_new(shop: Mesh) -> None:
    refunds = build.service("refunds", {"v1": ["10.5.0.1"]})
    head = build.mesh(
        [*shop.services.values(), refunds],
        [
            *shop.access.values(),
            build.access("payments", build.rule("refunds-pay-back", ["refunds"], "POST /v1/refunds")),
            build.access("refunds", build.rule("web-refunds", ["web"], "POST /v1/refunds")),
        ],
    )
    service, to_payments, to_refunds = changes(shop, head)
    assert (service.base, service.needs) == (None, ())
    assert to_payments.needs == to_refunds.needs == ((Unit.SERVICE, refunds.name),)
    assert describe(to_payments) == "access to payments: -rule checkout-pays, +rule refunds-pay-back"


def test_a_service_goes_after_the_access_to_it(shop: Mesh) -> None:
    head = build.mesh([shop.services[Name.parse("web")], shop.services[CHECKOUT]], [shop.access[CHECKOUT]])
    service, access = changes(shop, head)
    assert (service.target, service.needs) == (None, ((Unit.ACCESS, PAYMENTS),))
    assert access.target is None
    closed = advance(shop, access)
    assert closed.access[PAYMENTS].rules == ()
    assert changes(closed, head) == (replace(service, needs=()),)


def test_advancing_through_every_change_arrives_at_head(shop: Mesh) -> None:
    head = build.mesh(
        [
            build.service("checkout", {"v1": build.addresses(8, "10.2"), "v2": ["10.3.0.1"]}, serving="v2"),
            build.service("ledger", {"v1": ["10.6.0.1"]}, resilience=Resilience(Timeouts(request_ms=1))),
            shop.services[Name.parse("web")],
        ],
        [build.access("ledger", build.rule("checkout-books", ["checkout"]))],
    )
    mesh = shop
    for change in changes(shop, head):
        mesh = advance(mesh, change)
    assert (mesh.services, mesh.access) == (head.services, head.access)
    assert list(mesh.services) == sorted(mesh.services)
    assert changes(mesh, head) == ()


def test_settings_are_one_change(shop: Mesh) -> None:
    (change,) = changes(shop, replace(shop, settings=replace(shop.settings, leaf_s=60, inbound_port=1)))
    assert describe(change) == "settings: inbound port, leaf"


def test_a_fallback_is_there_before_it_is_led_to_and_as_long(shop: Mesh) -> None:
    standby = build.service("standby", {"v1": ["10.5.0.1"]})
    leading = replace(shop.services[CHECKOUT], failover=(Fallback(service=standby.name),))
    head = with_service(with_service(shop, standby), leading)
    assert {change.name.name: change.needs for change in changes(shop, head)} == {
        "checkout": ((Unit.SERVICE, standby.name),),
        "standby": (),
    }
    assert {change.name.name: change.needs for change in changes(head, shop)} == {
        "checkout": (),
        "standby": ((Unit.SERVICE, CHECKOUT),),
    }
