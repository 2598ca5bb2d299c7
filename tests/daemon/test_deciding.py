"""Decisions over HTTP answer for what proxies run, or for what is named; what the floor has closed stays so."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from policyd.api.control import Differing
from policyd.base.errors import PolicydError, Retry, UsageError
from policyd.daemon.controller import _behind
from policyd.daemon.deciding import ControllerDecisions, Promoted
from policyd.daemon.elsewhere import COMMITS, Commits, Elsewhere, Fleet, Repository, Standing
from policyd.decisions import Live, Request
from policyd.model.access import Access
from policyd.model.mesh import Mesh
from policyd.model.node import nodes
from policyd.model.revocation import Revocation
from policyd.model.service import Split
from policyd.plan.effective import Effective
from policyd.source import Mirror, Snapshot
from policyd.testing.clock import FakeClock
from tests.rollout.world import CHECKOUT, PAYMENTS, WEB, mesh, rule
from tests.source.conftest import Author

WEB_ID = "spiffe://shop.example/ns/default/svc/web"
CALL = Request(WEB_ID, PAYMENTS, "GET", "/v1/charges")
OPEN = mesh(access=(Access(PAYMENTS, (rule("web-pays", WEB),)),))
SHUT = mesh()


class Proxies:
    """Who is connected and in sync; the sibling of `XdsServer`."""

    def __init__(self, connected: Collection[str] = (), behind: Collection[str] = ()) -> None:
        self._connected = connected
        self._behind = behind

    def connected(self) -> Collection[str]:
        return self._connected

    def in_sync(self, node_id: str) -> bool:
        return node_id in self._connected and node_id not in self._behind


def decisions(
    promoted: Promoted | None,
    head: Mesh | None = None,
    *,
    repository: Repository | None = None,
    effective: Effective | None = None,
    proxies: Proxies | None = None,
    clock: FakeClock | None = None,
) -> ControllerDecisions:
    elsewhere = Elsewhere(
        lambda: Standing("head", head, "h" * 40, {}) if head is not None else None,
        Commits(repository) if repository is not None else Commits(NoRepository()),
        Fleet(lambda: effective, proxies or Proxies()),
    )
    return ControllerDecisions(lambda: promoted, elsewhere, clock or FakeClock())


class NoRepository:
    """A repository without commits."""

    def resolve(self, commit: str) -> str:
        raise UsageError(f"no commit `{commit}` has been fetched")

    def snapshot(self, commit: str) -> Snapshot:
        raise NotImplementedError


def promoted(held: Mesh, **more: object) -> Promoted:
    return replace(Promoted(held, "c" * 40, {}), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("ahead_s", "allow"), [(None, True), (29, True), (30, False), (3_600, False)])
async def test_a_rule_that_has_ended_once_allows_nothing_though_the_clock_was_set_back(
    ahead_s: int | None, allow: bool
) -> None:
    clock = FakeClock()
    ends = clock.now() + timedelta(seconds=30)
    floor = None if ahead_s is None else clock.now() + timedelta(seconds=ahead_s)
    short = mesh(access=(Access(PAYMENTS, (rule("for-a-while", WEB, expires=ends),)),))
    assert (await decisions(promoted(short, floor=floor), clock=clock).explain(CALL)).allow is allow


async def test_before_anything_is_promoted_nothing_is_answered() -> None:
    with pytest.raises(Retry, match="no mesh has been promoted yet"):
        await decisions(None).explain(CALL)
    with pytest.raises(Retry):
        await decisions(None, OPEN).explain(CALL, "head")


async def test_the_head_may_be_asked_about_before_it_is_promoted() -> None:
    asked = decisions(promoted(SHUT), OPEN)
    here, there = await asked.explain(CALL), await asked.explain(CALL, "head")
    assert (here.allow, here.judged, here.commit) == (False, "promoted", "c" * 40)
    assert (there.allow, there.judged, there.commit, there.rule) == (True, "head", "h" * 40, "default/web-pays")
    assert there.policy.startswith("default/web-pays#")
    assert (await asked.explain(CALL)).allow is False


async def test_who_is_cut_off_is_so_wherever_one_asks() -> None:
    cut = Revocation(PAYMENTS, "key leaked, SEC-88", WEB_ID)
    (node,) = [node for node in nodes(OPEN) if node.service == PAYMENTS][:1]
    asked = decisions(promoted(OPEN, cuts=(cut,)), OPEN, effective=Effective.at_rest(OPEN))
    for at in ("", "head", f"node:{node.id}"):
        answer = await asked.explain(CALL, at)
        assert (answer.cause, answer.status) == ("revoked", 403)
        assert answer.reasons[1] == "revocation `default/payments`: key leaked, SEC-88"


def test_services_whose_proxies_do_not_decide_as_promoted_are_counted() -> None:
    paying = [node.id for node in nodes(SHUT) if node.service == PAYMENTS]
    other = next(node.id for node in nodes(SHUT) if node.service == CHECKOUT)
    effective = Effective(SHUT, {paying[0]: OPEN, other: OPEN}, tuple(nodes(SHUT)))

    def differing(connected: Collection[str], behind: Collection[str] = ()) -> dict[str, Differing]:
        there = Proxies(connected, behind)
        return dict(decisions(promoted(SHUT), effective=effective, proxies=there).differing())

    assert differing([*paying[:3], other]) == {"default/payments": Differing(1, 3)}
    assert differing([*paying[:3], other], [paying[1]]) == {"default/payments": Differing(2, 3)}
    assert differing([*paying[1:3], other]) == {}
    assert differing([other], [other]) == {"default/checkout": Differing(1, 1)}
    assert decisions(None).differing() == {}


async def test_a_node_is_asked_about_by_what_it_runs_and_others_are_counted_while_they_differ() -> None:
    paying = [node.id for node in nodes(SHUT) if node.service == PAYMENTS]
    other = next(node.id for node in nodes(SHUT) if node.service == CHECKOUT)
    effective = Effective(SHUT, {paying[0]: OPEN, paying[1]: OPEN, other: OPEN}, tuple(nodes(SHUT)))
    there = Proxies([*paying[:4], other], [paying[3]])
    asked = decisions(promoted(SHUT), effective=effective, proxies=there)
    assert (await asked.explain(CALL)).live == Live(allow=2, of=4, unknown=1)
    answer = await asked.explain(CALL, f"node:{paying[0]}")
    assert (answer.allow, answer.judged) == (True, f"node:{paying[0]}")
    behind = await asked.explain(CALL, f"node:{paying[3]}")
    assert (behind.allow, behind.judged) == (False, f"node:{paying[3]} (which has not acknowledged it)")
    settled = decisions(promoted(SHUT), effective=Effective.at_rest(SHUT), proxies=Proxies(paying))
    assert (await settled.explain(CALL)).live is None


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("node:default/payments/v1/127.0.0.1", "there is no node `default/payments/v1/127.0.0.1`"),
        ("node:", "there is no node ``"),
        ("HEAD~1", "`HEAD~1` names nothing to ask about"),
        ("--output=x", "names nothing to ask about"),
        ("abcdef", "names nothing to ask about"),
        ("abcdef0", "no commit `abcdef0` has been fetched"),
    ],
)
async def test_what_is_not_there_to_ask_about_is_said(at: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as said:
        await decisions(promoted(SHUT), effective=Effective.at_rest(SHUT)).explain(CALL, at)
    assert said.value.hint or at == "abcdef0"
    with pytest.raises(PolicydError):
        await decisions(promoted(SHUT)).explain(CALL, "head")


INTENTS = """\
apiVersion: policyd.dev/v1alpha1
kind: Mesh
metadata: {name: shop}
spec: {trustDomain: shop.example}
---
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: payments}
spec: {port: 8080, version: v1, versions: {v1: {endpoints: [10.0.0.1]}}}
"""
RULE = """\
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: pays, owner: team-pay}
spec: {to: payments, from: ["*"], allow: [{methods: [GET], paths: [/**]}]}
"""


async def test_a_commit_of_git_is_read_and_asked_about_and_not_promoted(tmp_path: Path) -> None:
    author = Author(tmp_path / "clone")
    commits = [author.commit("closed", a=INTENTS), author.commit("open", a=INTENTS + RULE)]
    commits += [author.commit(f"{n}", b=f"# {n}\n") for n in range(COMMITS)]
    broken = author.commit("broken", b="kind: [")
    mirror = Mirror(tmp_path / "mirror.git", str(author.folder))
    try:
        mirror.fetch()
        reading = Counting(mirror)
        asked = decisions(promoted(SHUT), repository=reading)
        told = [await asked.explain(CALL, commit) for commit in commits[:2]]
        assert [answer.allow for answer in told] == [False, True]
        assert (told[1].commit, told[1].owner, told[1].place) == (commits[1], "team-pay", "a.yaml:13:18")
        assert (await asked.explain(CALL, commits[1][:8])).allow
        assert reading.read == commits[:2]
        for commit in commits[2:]:
            await asked.explain(CALL, commit)
        await asked.explain(CALL, commits[0])  # forgotten meanwhile
        assert reading.read == [*commits, commits[0]]
        with pytest.raises(UsageError, match="has errors and makes no mesh; the first: b"):
            await asked.explain(CALL, broken)
        with pytest.raises(UsageError, match=f"no commit `{'0' * 40}` has been fetched"):
            await asked.explain(CALL, "0" * 40)
    finally:
        mirror.close()


class Counting:
    """A mirror that remembers which commits were really read."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self.read: list[str] = []

    def resolve(self, commit: str) -> str:
        return self._mirror.resolve(commit)

    def snapshot(self, commit: str) -> Snapshot:
        self.read.append(commit)
        return self._mirror.snapshot(commit)


def test_a_clock_behind_the_floor_is_said_with_the_way_back() -> None:
    now = FakeClock().now()
    assert _behind(now, None) == _behind(now, now) == ""
    said = _behind(now, now + timedelta(days=1))
    assert "the clock says 2027-01-01 00:00:00, and a rule was taken as expired at 2027-01-02 00:00:00" in said
    assert "`policyd accept-clock`" in said


async def test_where_a_request_goes_is_what_the_callers_own_proxies_have() -> None:
    service = OPEN.services[PAYMENTS]
    versions = tuple(replace(service.versions[0], name=name) for name in ("v1", "v2"))
    on_its_way = replace(
        OPEN,
        services={
            **OPEN.services,
            PAYMENTS: replace(service, versions=versions, split=Split((("v1", 7_500), ("v2", 2_500)))),
        },
    )
    callers = [node.id for node in nodes(OPEN) if node.service == WEB]
    asked = decisions(promoted(OPEN), OPEN, effective=Effective.at_rest(on_its_way), proxies=Proxies(callers))
    assert (await asked.explain(CALL)).routing[0] == "it goes to `v1` with weight 75 %, to `v2` with weight 25 %"
    assert (await asked.explain(CALL, "head")).routing[0] == "it goes to `v1`"
    assert (await decisions(promoted(SHUT)).explain(CALL)).routing == ()

    # A wave: one of the caller's proxies has it, the other one not yet.
    (first, *_) = (node for node in nodes(OPEN) if node.service == WEB)
    wave = replace(Effective.at_rest(OPEN), others={first.id: on_its_way})
    said = (await decisions(promoted(OPEN), effective=wave, proxies=Proxies(callers)).explain(CALL)).routing
    assert said[0].startswith(f"at 1 of {len(callers)} of its proxies: it goes to ")
