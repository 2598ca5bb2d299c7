"""Which stages a change goes through, and whom each of them reaches."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from policyd.model.access import Access
from policyd.model.external import External
from policyd.model.mesh import Mesh, Releases
from policyd.model.names import Name
from policyd.model.release import IMMEDIATE, Strategy, Wave
from policyd.model.resilience import Resilience, Timeouts
from policyd.model.service import WHOLE, HeaderMatch, Split, Version
from policyd.plan.change import Change, Unit, WaveStage, WeightStage
from policyd.plan.changes import advance, changes
from policyd.plan.describe import describe_stage
from policyd.plan.membership import members, touched
from policyd.plan.stages import stages
from policyd.testing import build

CHECKOUT = Name.parse("checkout")
WAVES = (WaveStage(1), WaveStage(1, 2_500), WaveStage(1, WHOLE))


def to_v2(mesh: Mesh, resilience: Resilience = build.AT_REST) -> Change:
    base = mesh.services[CHECKOUT]
    return Change(Unit.SERVICE, CHECKOUT, base, replace(base, split=Split.all_to("v2"), resilience=resilience))


def rules_change(mesh: Mesh, *callers: str) -> Change:
    return Change(
        Unit.ACCESS,
        CHECKOUT,
        mesh.access[CHECKOUT],
        build.access("checkout", build.rule("web-checks-out", callers, "POST /v1/orders")),
    )


def test_a_version_moves_by_weights(shop: Mesh) -> None:
    assert stages(to_v2(shop), shop.releases) == (WeightStage(500), WeightStage(5_000), WeightStage(WHOLE))


def test_callers_with_the_header_come_first(shop: Mesh) -> None:
    first = HeaderMatch("x-canary", "yes")
    releases = Releases({CHECKOUT: replace(shop.releases.canaries[CHECKOUT], first=first, steps=(500,))})
    found = stages(to_v2(shop), releases)
    assert found == (WeightStage(0, first), WeightStage(500, first))
    assert WeightStage(0, first).first_only
    assert not WeightStage(500, first).first_only
    assert [describe_stage(stage) for stage in found] == ["requests with `x-canary: yes`", "5 % of requests"]


def test_without_a_plan_a_version_moves_in_waves(shop: Mesh) -> None:
    assert stages(to_v2(shop), Releases()) == WAVES


def test_settings_of_a_service_take_waves_before_its_version_takes_weights(shop: Mesh) -> None:
    change = to_v2(shop, Resilience(Timeouts(request_ms=1)))
    found = stages(change, shop.releases)
    assert found[:3] == tuple(replace(wave, keeps_split=True) for wave in WAVES)
    assert found[3:] == stages(to_v2(shop), shop.releases)


def test_what_never_was_is_taken_at_once_and_so_are_settings(shop: Mesh) -> None:
    new = Change(Unit.SERVICE, CHECKOUT, None, shop.services[CHECKOUT])
    settings = Change(Unit.SETTINGS, Name("", "test"), shop.settings, replace(shop.settings, leaf_s=1))
    assert stages(new, shop.releases) == stages(settings, shop.releases) == ()


def test_access_takes_waves_its_removal_too(shop: Mesh) -> None:
    closed = replace(rules_change(shop), target=None)
    assert stages(closed, shop.releases) == stages(rules_change(shop, "payments"), shop.releases) == WAVES
    assert stages(closed, Releases(strategy=IMMEDIATE)) == (WaveStage(0, WHOLE),)


def test_a_service_is_removed_at_once_after_everyone_has_lost_it_in_waves(shop: Mesh) -> None:
    left = {name: service for name, service in shop.services.items() if name != CHECKOUT}
    head = build.mesh(left.values(), [one for one in shop.access.values() if one.to != CHECKOUT])
    removed = next(change for change in changes(shop, head) if change.key == (Unit.SERVICE, CHECKOUT))
    closed = next(change for change in changes(shop, head) if change.key == (Unit.ACCESS, CHECKOUT))
    assert removed.needs == (closed.key,)
    assert stages(closed, shop.releases) == WAVES
    assert stages(removed, shop.releases) == ()
    # Nobody is left by then whom a wave could be measured at.
    assert touched(removed, advance(shop, closed)) == ()


def test_waves_never_fall_and_one_that_adds_nothing_is_left_out(shop: Mesh) -> None:
    strategy = Strategy(Name("", "odd"), (Wave(count=3), Wave(share=1_000), Wave(count=2)), hold_s=0)
    found = stages(rules_change(shop, "payments"), Releases(strategy=strategy))
    assert found == (WaveStage(3), WaveStage(3, 1_000))


def test_whom_a_change_touches(shop: Mesh) -> None:
    names = {name.name: name for name in shop.services}
    assert touched(to_v2(shop), shop) == (names["checkout"], names["web"])
    other_paths = replace(rules_change(shop, "web"), target=build.access("checkout", build.rule("r", ["web"])))
    assert touched(other_paths, shop) == (names["checkout"],)
    assert touched(rules_change(shop, "payments"), shop) == (names["checkout"], names["payments"], names["web"])
    removed = Change(Unit.SERVICE, CHECKOUT, shop.services[CHECKOUT], None)
    assert touched(removed, shop) == (names["web"],)
    opened = rules_change(shop, "web", "payments")
    assert names["payments"] in touched(to_v2(shop), shop, [opened])


def test_rules_to_a_host_outside_touch_all_who_may_call_it(shop: Mesh) -> None:
    payments = Name("default", "payments")
    outside = replace(shop.services[payments], external=External("a.example"), versions=(Version("external"),))
    there = replace(shop, services={**shop.services, payments: outside})
    before = build.access("payments", build.rule("r", ["web"], "GET /a"))
    after = build.access("payments", build.rule("r", ["web"], "GET /b"))
    assert touched(Change(Unit.ACCESS, payments, before, after), there) == (Name("default", "web"),)


@given(
    instances=st.integers(1, 12),
    joined=st.integers(0, 4),
    waves=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, WHOLE)).map(lambda pair: Wave(*pair)), min_size=1, max_size=4
    ),
)
def test_each_wave_contains_the_one_before_and_has_its_share(instances: int, joined: int, waves: list[Wave]) -> None:
    def mesh_of(count: int) -> Mesh:
        return build.mesh([build.service("web", {"v1": build.addresses(count)})])

    web, mesh = Name.parse("web"), mesh_of(instances)
    change = Change(Unit.ACCESS, web, Access(web), build.access("web", build.rule("r", ["web"])))
    strategy = Strategy(Name("", "any"), tuple(waves), hold_s=0)
    before: frozenset[str] = frozenset()
    for stage in stages(change, Releases(strategy=strategy)):
        assert isinstance(stage, WaveStage)
        reached = members(change, stage, [web], mesh)
        assert before <= reached
        assert len(reached) == min(instances, max(1, stage.count, -(-stage.share * instances // WHOLE)))
        larger = members(change, replace(stage, share=0), [web], mesh_of(instances + joined))
        assert members(change, replace(stage, share=0), [web], mesh) >= larger & members(
            change, WaveStage(share=WHOLE), [web], mesh
        )
        before = reached


def test_waves_are_taken_of_connected_proxies(shop: Mesh) -> None:
    change = rules_change(shop, "payments")
    everyone = members(change, WaveStage(share=WHOLE), [CHECKOUT], shop)
    first = members(change, WaveStage(count=1), [CHECKOUT], shop)
    assert members(change, WaveStage(count=1), [CHECKOUT], shop, everyone - first) < everyone - first
    assert members(change, WaveStage(count=1), [CHECKOUT], shop, frozenset()) == first
