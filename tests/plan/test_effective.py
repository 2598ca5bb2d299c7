"""What each node runs while changes are in flight."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.resilience import Resilience, Timeouts
from policyd.model.service import WHOLE, HeaderMatch, Service, Split
from policyd.plan.change import Position, WaveStage, WeightStage
from policyd.plan.changes import advance, changes
from policyd.plan.effective import Effective, effective
from policyd.plan.floor import Floor, next_expiry
from policyd.plan.steps import same
from policyd.testing import build

WEB, CHECKOUT, PAYMENTS = (Name.parse(name) for name in ("web", "checkout", "payments"))
QUICK = Resilience(Timeouts(request_ms=1))


def with_checkout(mesh: Mesh, service: Service) -> Mesh:
    return replace(mesh, services={**mesh.services, CHECKOUT: service})


def by_service(found: Effective, name: Name) -> list[Mesh]:
    return [found.mesh_for(node) for node in found.nodes() if node.service == name]


def test_at_rest_everyone_shares_the_promoted_mesh(shop: Mesh, at: datetime) -> None:
    found = effective(shop, [], shop, Floor(at))
    assert len(found.nodes()) == 15
    assert found.common == shop
    assert found.common.services is shop.services
    assert not found.others


def test_weights_reach_all_callers_alike(shop: Mesh, at: datetime) -> None:
    head = with_checkout(shop, replace(shop.services[CHECKOUT], split=Split.all_to("v2")))
    (change,) = changes(shop, head)
    found = effective(shop, [Position(change, WeightStage(500))], head, Floor(at))
    assert not found.others
    assert found.common.services[CHECKOUT].split == Split((("v1", 9_500), ("v2", 500)))
    assert found.common.services[WEB] is shop.services[WEB]
    assert found.common.access is not None
    assert all(found.common.access[name] is access for name, access in shop.access.items())
    whole = effective(shop, [Position(change, WeightStage(WHOLE))], head, Floor(at))
    assert same(whole, effective(advance(shop, change), [], head, Floor(at)))
    assert same(effective(shop, [Position(change, None)], head, Floor(at)), effective(shop, [], head, Floor(at)))


def test_callers_with_the_header_keep_the_new_version(shop: Mesh, at: datetime) -> None:
    head = with_checkout(shop, replace(shop.services[CHECKOUT], split=Split.all_to("v2")))
    (change,) = changes(shop, head)
    first = HeaderMatch("x-canary", "yes")

    def split(weight: int) -> Split:
        position = Position(change, WeightStage(weight, first))
        return effective(shop, [position], head, Floor(at)).common.services[CHECKOUT].split

    assert split(0) == Split((("v1", WHOLE),), first, "v2")
    assert split(500) == Split((("v1", 9_500), ("v2", 500)), first, "v2")
    assert split(WHOLE) == Split.all_to("v2")


def test_a_wave_reaches_some_nodes_of_each_touched_service(shop: Mesh, at: datetime) -> None:
    head = with_checkout(shop, replace(shop.services[CHECKOUT], resilience=QUICK))
    (change,) = changes(shop, head)
    found = effective(shop, [Position(change, WaveStage(1, 2_500))], head, Floor(at))

    def reached(name: Name) -> int:
        return sum(mesh.services[CHECKOUT].resilience == QUICK for mesh in by_service(found, name))

    assert (reached(WEB), reached(CHECKOUT), reached(PAYMENTS)) == (1, 3, 0)
    assert len(set(map(id, found.others.values()))) == 1
    assert all(
        mesh.access is found.common.access or mesh.access == found.common.access for mesh in found.others.values()
    )
    whole = effective(shop, [Position(change, WaveStage(1, WHOLE))], head, Floor(at))
    assert same(whole, effective(advance(shop, change), [], head, Floor(at)))


def test_settings_are_tried_with_the_old_split(shop: Mesh, at: datetime) -> None:
    head = with_checkout(shop, replace(shop.services[CHECKOUT], resilience=QUICK, split=Split.all_to("v2")))
    (change,) = changes(shop, head)
    found = effective(shop, [Position(change, WaveStage(1, keeps_split=True))], head, Floor(at))
    reached = [mesh.services[CHECKOUT] for mesh in found.others.values()]
    assert reached
    assert {(one.serving, one.resilience) for one in reached} == {("v1", QUICK)}
    later = effective(shop, [Position(change, WeightStage(500))], head, Floor(at)).common.services[CHECKOUT]
    assert (later.resilience, later.split.versions) == (QUICK, ("v1", "v2"))


def test_the_versions_of_both_sides_are_there_whatever_git_has_dropped(shop: Mesh, at: datetime) -> None:
    head = with_checkout(shop, build.service("checkout", {"v2": ["10.9.0.1"]}))
    (change,) = changes(shop, head)
    found = effective(shop, [Position(change, WeightStage(500))], head, Floor(at))
    seen = found.common.services[CHECKOUT]
    assert [version.name for version in seen.versions] == ["v1", "v2"]
    assert seen.version("v1") == shop.services[CHECKOUT].version("v1")
    after = effective(advance(shop, change), [], head, Floor(at)).common.services[CHECKOUT]
    assert after == head.services[CHECKOUT]


def test_changes_in_flight_lie_over_each_other(shop: Mesh, at: datetime) -> None:
    head = with_checkout(shop, replace(shop.services[CHECKOUT], resilience=QUICK))
    head = replace(head, access={**shop.access, PAYMENTS: build.access("payments", build.rule("r", ["web"]))})
    service, access = changes(shop, head)
    found = effective(shop, [Position(service, WaveStage(2)), Position(access, WaveStage(2))], head, Floor(at))
    variants = {id(mesh) for mesh in found.others.values()}
    assert 2 <= len(variants) <= 3
    for node in found.nodes():
        mesh = found.mesh_for(node)
        assert mesh.services[CHECKOUT].resilience in (QUICK, build.AT_REST)
        assert mesh.access[PAYMENTS] in (head.access[PAYMENTS], shop.access[PAYMENTS])


def test_expired_rules_are_taken_out_of_everything(shop: Mesh, at: datetime) -> None:
    soon, later = at + timedelta(hours=1), at + timedelta(hours=2)
    first = build.rule("first", ["web"], expires=soon)
    second = build.rule("second", ["web"], expires=later)
    promoted = replace(shop, access={**shop.access, CHECKOUT: build.access("checkout", first)})
    head = replace(shop, access={**shop.access, CHECKOUT: build.access("checkout", first, second)})
    (change,) = changes(promoted, head)
    position = Position(change, WaveStage(share=5_000))
    before, after = (effective(promoted, [position], head, Floor(moment)) for moment in (at, soon))
    assert {len(mesh.access[CHECKOUT].rules) for mesh in by_service(before, CHECKOUT)} == {1, 2}
    assert {len(mesh.access[CHECKOUT].rules) for mesh in by_service(after, CHECKOUT)} == {0, 1}
    assert next_expiry(head, at) == soon
    assert next_expiry(head, soon) == later
    assert next_expiry(head, later) is None


def test_a_removed_service_keeps_its_own_proxies_until_the_end(shop: Mesh, at: datetime) -> None:
    head = replace(
        shop,
        services={name: one for name, one in shop.services.items() if name != PAYMENTS},
        access={name: one for name, one in shop.access.items() if name != PAYMENTS},
    )
    service, _ = changes(shop, head)
    found = effective(shop, [Position(service, WaveStage(1))], head, Floor(at))
    assert len(by_service(found, PAYMENTS)) == 2
    assert all(PAYMENTS in mesh.services for mesh in by_service(found, PAYMENTS))
    assert any(PAYMENTS not in mesh.services for mesh in by_service(found, CHECKOUT))
