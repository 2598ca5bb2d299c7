"""What is cut off reaches everyone before anything else, and nothing that goes back brings it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from policyd.base.errors import Stalled, UsageError
from policyd.model.access import Access, Permit, Rule, Source
from policyd.model.mesh import Mesh
from policyd.model.names import Name, spiffe_id
from policyd.model.paths import EVERYTHING
from policyd.model.revocation import Revocation
from policyd.rollout.machine import Command
from policyd.rollout.record import Phase
from policyd.rollout.store import Cut
from tests.rollout.world import CHECKOUT, PAYMENTS, WEB, World, mesh, rule, service

LEAK = Revocation(Name("default", "leak"), "key found in a build log", spiffe_id("shop.example", WEB))
CHECKOUT_NODE, PAYMENTS_NODE = "default/checkout/v1/127.0.1.10", "default/payments/v1/127.0.2.10"


def cutting(base: Mesh, *revocations: Revocation) -> Mesh:
    return replace(base, revocations={one.name: one for one in revocations})


async def test_a_revocation_reaches_whom_it_concerns_and_nobody_else(world: World) -> None:
    await world.driver.accept("c1", mesh())
    before = world.delivery.live[PAYMENTS_NODE].digest
    await world.driver.accept("c2", cutting(mesh(), LEAK))
    assert world.revoked(CHECKOUT_NODE) == [LEAK.identity]
    assert world.access(CHECKOUT_NODE) == ["default/web-checks-out"], "the rule stays: others may be meant by it"
    assert world.delivery.live[PAYMENTS_NODE].digest == before, "web may not call payments anyway"
    assert "revoked" in world.kinds()


async def test_it_comes_before_the_releases_of_the_same_commit(world: World) -> None:
    await world.driver.accept("c1", mesh())
    await world.driver.accept("c2", cutting(mesh(service(CHECKOUT, "v2")), LEAK))
    kinds = world.kinds()
    assert kinds.index("revoked") < kinds.index("started")
    assert world.phase() is Phase.PROGRESSING


async def test_a_cut_towards_one_service_leaves_the_others_open(world: World) -> None:
    both = (Access(CHECKOUT, (rule("a", WEB),)), Access(PAYMENTS, (rule("b", WEB, CHECKOUT),)))
    await world.driver.accept("c1", cutting(mesh(access=both), replace(LEAK, to=PAYMENTS)))
    assert world.revoked(PAYMENTS_NODE) == [LEAK.identity]
    assert world.revoked(CHECKOUT_NODE) == []


async def test_a_stranger_is_cut_off_where_a_rule_means_him(world: World) -> None:
    stranger = "spiffe://partner.example/ns/pay/svc/settle"
    permit = Permit(("GET",), (EVERYTHING,))
    named = Rule(Name("default", "partner"), (Source(identities=(stranger,)),), (permit,))
    near = Rule(Name("default", "near"), (Source(ip_blocks=("10.0.0.0/8",)),), (permit,))
    access = (Access(PAYMENTS, (named,)), Access(CHECKOUT, (near,)), Access(WEB, (rule("c", CHECKOUT),)))
    await world.driver.accept("c1", cutting(mesh(access=access), replace(LEAK, identity=stranger)))
    assert world.revoked(PAYMENTS_NODE) == world.revoked(CHECKOUT_NODE) == [stranger]
    assert world.revoked("default/web/v1/127.0.3.10") == []


async def _abort(world: World) -> None:
    await world.driver.accept("c3", cutting(mesh(service(CHECKOUT, "v2")), LEAK))
    await world.ticks(2)
    await world.driver.command("checkout", Command.ABORT)
    assert world.phase() is Phase.ABORTED


async def _revert(world: World) -> None:
    await world.driver.accept("c3", mesh())
    await world.ticks(2)


async def _restart(world: World) -> None:
    world.crash()
    await world.ticks(2)


async def _new_rules(world: World) -> None:
    wider = Access(CHECKOUT, (rule("web-checks-out", WEB), rule("web-again", WEB)))
    await world.driver.accept("c3", mesh(access=(wider,)))
    for _ in range(40):
        await world.ticks(1)
        assert world.revoked(CHECKOUT_NODE) == [LEAK.identity], "at each barrier of the wave"


GOING_BACK: Mapping[str, Callable[[World], object]] = {
    "abort": _abort,
    "revert": _revert,
    "restart": _restart,
    "rules": _new_rules,
}


@pytest.mark.parametrize("way", sorted(GOING_BACK))
async def test_nothing_that_goes_back_brings_it_back(world: World, way: str) -> None:
    await world.driver.accept("c1", mesh())
    await world.driver.accept("c2", cutting(mesh(), LEAK))
    await GOING_BACK[way](world)  # type: ignore[misc]
    assert world.revoked(CHECKOUT_NODE) == [LEAK.identity]
    judged = world.driver.closing.judged
    assert judged is not None
    assert judged.access[CHECKOUT].revoked == (LEAK.identity,)


async def test_one_that_cannot_be_written_holds_all_the_same_and_is_written_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.driver.accept("c1", mesh())
    write = world.store.cut

    def fail(cuts: Mapping[str, Cut]) -> None:
        raise Stalled("database or disk is full")

    monkeypatch.setattr(world.store, "cut", fail)
    await world.driver.closing.revoke(LEAK)
    assert world.revoked(CHECKOUT_NODE) == [LEAK.identity]
    with pytest.raises(Stalled):
        await world.driver.tick()
    monkeypatch.setattr(world.store, "cut", write)
    await world.driver.tick()
    assert [cut.revocation for cut in world.store.load().cuts] == [LEAK]


async def test_a_person_lifts_what_git_no_longer_asks_for(world: World) -> None:
    await world.driver.accept("c1", cutting(mesh(), LEAK))
    with pytest.raises(UsageError, match="Git asks for revocation"):
        await world.driver.closing.lift(LEAK.name)
    await world.driver.accept("c2", mesh())
    ((cut, asked_for),) = world.driver.closing.cuts
    assert (cut.revocation, asked_for) == (LEAK, False)
    assert await world.driver.closing.lift(LEAK.name) == (LEAK,)
    await world.ticks(1)
    assert world.revoked(CHECKOUT_NODE) == []
    world.crash()
    await world.ticks(1)
    assert world.revoked(CHECKOUT_NODE) == []
    with pytest.raises(UsageError, match="no revocation is called"):
        await world.driver.closing.lift(LEAK.name)


async def test_another_reason_is_the_same_cut_and_another_cut_of_that_name_is_one_more(world: World) -> None:
    await world.driver.accept("c1", cutting(mesh(), LEAK))
    since = world.driver.closing.cuts[0][0].since
    world.clock.advance(5)
    await world.driver.accept("c2", cutting(mesh(), replace(LEAK, reason="SEC-88")))
    ((cut, _),) = world.driver.closing.cuts
    assert (cut.revocation.reason, cut.since) == ("SEC-88", since)
    await world.driver.accept("c3", cutting(mesh(), replace(LEAK, identity=spiffe_id("shop.example", CHECKOUT))))
    assert [asked for _, asked in world.driver.closing.cuts].count(False) == 1, (
        "the former one holds until it is lifted"
    )
    assert world.revoked(CHECKOUT_NODE) == [LEAK.identity]
    assert world.revoked(PAYMENTS_NODE) == [spiffe_id("shop.example", CHECKOUT)]
    assert await world.driver.closing.lift(LEAK.name) == (replace(LEAK, reason="SEC-88"),), "Git asks for the other"
    assert [asked for _, asked in world.driver.closing.cuts] == [True]
    with pytest.raises(UsageError, match="Git asks for revocation"):
        await world.driver.closing.lift(LEAK.name)


# --- roots ---------------------------------------------------------------------------------------------------------

ROOT, NEW = "ab" * 32, "cd" * 32
STOLEN = Revocation(Name("default", "stolen-root"), "the backup leaked", root=ROOT)


def rooted(world: World) -> None:
    """Proxies are given `ROOT`, and another one where that is distrusted."""
    world.trust.trusted = {ROOT}
    world.trust.exchanged = lambda: world.trust.trusted.add(NEW)


def barriers(world: World) -> list[list[str]]:
    """For each barrier, the roots under which connections were ended at every node that got something."""
    return [
        [str(world.view_of(snapshot)["distrusted"]) for snapshot in barrier.values()]
        for barrier in world.delivery.barriers
    ]


async def test_what_is_open_under_a_root_is_ended_when_nobody_is_given_it_any_more(world: World) -> None:
    rooted(world)
    await world.driver.accept("c1", mesh())
    world.trust.exchanged = world.renew_secrets
    before = len(world.delivery.barriers)
    await world.driver.accept("c2", cutting(mesh(), STOLEN))
    exchanged, drained = barriers(world)[before:]
    assert (set(exchanged), set(drained)) == ({"[]"}, {str([ROOT])})
    assert len(drained) == len(world.delivery.live), "on every node"


async def test_a_root_of_nobody_moves_no_proxy(world: World) -> None:
    await world.driver.accept("c1", mesh())
    before = len(world.delivery.barriers)
    await world.driver.closing.revoke(STOLEN)
    assert len(world.delivery.barriers) == before
    assert [str(cut.revocation) for cut, _ in world.driver.closing.cuts] == [f"root {ROOT[:16]} is trusted no more"]


@pytest.mark.parametrize("way", sorted(GOING_BACK))
async def test_nothing_that_goes_back_brings_a_root_back(world: World, way: str) -> None:
    rooted(world)
    await world.driver.accept("c1", mesh())
    await world.driver.accept("c2", cutting(mesh(), STOLEN, LEAK))
    await GOING_BACK[way](world)  # type: ignore[misc]
    assert ROOT not in world.trust.trusted
    assert {str(world.view(node)["distrusted"]) for node in world.delivery.live} == {str([ROOT])}


async def test_a_controller_that_starts_says_what_is_distrusted_before_anybody_is_given_anything(
    world: World,
) -> None:
    await world.driver.accept("c1", cutting(mesh(), STOLEN))
    world.trust.trusted = {ROOT}  # as a backup of the folder would have it
    world.crash()
    assert (world.trust.trusted, world.trust.dropped) == (set(), (ROOT,))


async def test_a_proxy_that_goes_back_gets_the_secrets_of_now(world: World) -> None:
    rooted(world)
    world.renew_secrets()
    await world.driver.accept("c1", mesh())
    old = world.delivery.live[CHECKOUT_NODE]
    world.trust.exchanged = world.renew_secrets
    await world.driver.closing.revoke(STOLEN)
    new = world.delivery.live[CHECKOUT_NODE]
    assert old.of_type("secret") != new.of_type("secret")
    assert world.driver.closing.narrowed(old).of_type("secret") == new.of_type("secret")


async def test_a_persons_word_ends_the_distrust_of_a_root(world: World) -> None:
    rooted(world)
    await world.driver.accept("c1", mesh())
    await world.driver.closing.revoke(STOLEN)
    await world.driver.closing.lift(STOLEN.name)
    assert (world.trust.dropped, world.trust.trusted) == ((), {NEW})
