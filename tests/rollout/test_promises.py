"""Whatever comes, in whatever order: commits, time, load, bad versions, commands, crashes, a held store, refusals.

A stateful test: hypothesis draws the history, the invariants hold after every step of it. A commit says what each of
several things should be, so that histories have changes at once, altered in flight, unrelated, and blocked by others.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings, stateful
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition

from policyd.base.errors import PolicydError, UsageError
from policyd.delivery.snapshot import NodeSnapshot
from policyd.model.access import Access
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.plan.changes import changes
from policyd.plan.runtime import refreshed
from policyd.rollout.content import content_id
from policyd.rollout.event import Event, Kind
from policyd.rollout.machine import Command
from policyd.rollout.record import Phase, ReleaseRecord
from tests.rollout.world import CHECKOUT, DEPOT, PAYMENTS, WEB, World, mesh, rule, service

HOLD_S = 3.0
VERSIONS = st.sampled_from(["v1", "v2", "v3"])
REFUSED_MS = 666
"""The timeout of the depot that no proxy takes."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What Git says; `expires` is when one rule of payments ends, `depot_ms` 0 = no depot."""

    version: str = "v1"
    request_ms: int = 15_000
    depot_ms: int = 0
    depot_pays: bool = False
    expires: datetime | None = None

    def mesh(self) -> Mesh:
        rules = [rule("checkout-pays", CHECKOUT)]
        if self.depot_ms and self.depot_pays:
            rules.append(rule("depot-pays", DEPOT))
        if self.expires is not None:
            rules.append(rule(f"until-{self.expires:%H-%M-%S}", WEB, expires=self.expires))
        services = [service(CHECKOUT, self.version), service(PAYMENTS, request_ms=self.request_ms)]
        if self.depot_ms:
            services.append(service(DEPOT, instances=1, request_ms=self.depot_ms))
        return mesh(*services, access=(Access(PAYMENTS, tuple(rules)),), hold_s=HOLD_S)


class History(RuleBasedStateMachine):
    """One mesh from its first commit on."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self.folder.name))
        self.blocker: sqlite3.Connection | None = None
        self.commits = 0
        self.wanted = Wanted()
        self.expiries: dict[str, datetime] = {}
        self.served: set[str] = set()
        """Every rule that some node has had."""
        self.closed: set[str] = set()
        """Of these, those that had ended when the clock was set back."""
        self.silent = False
        self.v3_refused = False
        self.seen: list[tuple[Event, float]] = []
        """What happened, and when by a clock that is never set."""
        self.world.delivery.judge = self._judge

    @initialize()
    def first_commit(self) -> None:
        self._accept(self.wanted)
        self._tick(100)

    @stateful.rule(version=VERSIONS)
    def commit_a_version(self, version: str) -> None:
        self._accept(replace(self.wanted, version=version))

    @stateful.rule(request_ms=st.sampled_from([15_000, 9_000]))
    def commit_a_timeout(self, request_ms: int) -> None:
        self._accept(replace(self.wanted, request_ms=request_ms))

    @stateful.rule(depot_ms=st.sampled_from([0, REFUSED_MS, 5_000]), pays=st.booleans())
    def commit_a_depot(self, depot_ms: int, pays: bool) -> None:
        self._accept(replace(self.wanted, depot_ms=depot_ms, depot_pays=pays))

    @stateful.rule(seconds=st.none() | st.integers(1, 8), later=st.integers(0, 8))
    def commit_a_rule_that_ends(self, seconds: int | None, later: int) -> None:
        expires = self.world.clock.now() + timedelta(seconds=seconds) if seconds is not None else None
        self._accept(replace(self.wanted, expires=expires))
        self.time_passes(later, 10)

    @stateful.rule(count=st.integers(1, 6), requests=st.sampled_from([0, 10, 100]))
    def time_passes(self, count: int, requests: int) -> None:
        for _ in range(count):
            self._tick(requests)

    @precondition(lambda self: self.blocker is None)
    @stateful.rule(seconds=st.integers(1, 20))
    def the_clock_is_set_back(self, seconds: int) -> None:
        self._tick(10)
        now = self.world.clock.now()
        self.closed |= {name for name in self.served if name in self.expiries and self.expiries[name] <= now}
        self.world.clock.turn(-seconds)

    @stateful.rule(version=st.sampled_from(["v2", "v3"]), bad=st.booleans())
    def a_version_turns(self, version: str, bad: bool) -> None:
        (self.world.bad.add if bad else self.world.bad.discard)(f"default/checkout/{version}")

    @stateful.rule(name=st.sampled_from([CHECKOUT, PAYMENTS, WEB, DEPOT]), command=st.sampled_from(list(Command)))
    def a_person(self, name: Name, command: Command) -> None:
        with contextlib.suppress(UsageError, PolicydError):
            self.runner.run(self.world.driver.command(str(name), command))
        self._listen()

    @stateful.rule(silent=st.booleans())
    def metrics_go_or_come(self, silent: bool) -> None:
        self.silent = silent

    @stateful.rule(refuses=st.booleans())
    def proxies_refuse_v3(self, refuses: bool) -> None:
        self.v3_refused = refuses

    def _judge(self, snapshot: NodeSnapshot) -> str:
        (view,) = snapshot.resources["view"].values()
        own = snapshot.node_id.startswith(str(DEPOT)) and f"{REFUSED_MS}".encode() in view.body
        return "no" if own or (self.v3_refused and b'"v3"' in view.body) else ""

    @precondition(lambda self: self.blocker is None)
    @stateful.rule()
    def the_store_is_held(self) -> None:
        self.world.store._db.execute("PRAGMA busy_timeout = 0")
        self.blocker = sqlite3.connect(self.world.path, isolation_level=None)
        self.blocker.execute("BEGIN IMMEDIATE")

    @precondition(lambda self: self.blocker is not None)
    @stateful.rule()
    def the_store_is_free(self) -> None:
        assert self.blocker is not None
        self.blocker.close()
        self.blocker = None
        self._tick(0)

    @precondition(lambda self: self.blocker is None)
    @stateful.rule()
    def the_controller_is_killed(self) -> None:
        before = {record.id: (record.phase, record.stage) for record in self.world.driver.records()}
        self._listen()
        self.world.crash()
        self.seen = []
        after = {record.id: (record.phase, record.stage) for record in self.world.driver.records()}
        assert after == before
        self._tick(0)

    @invariant()
    def splits_are_whole_and_equal_everywhere(self) -> None:
        for node in self.world.delivery.live:
            for split in self.world.splits(node).values():
                assert sum(split.values()) == 10_000
                assert all(weight > 0 for weight in split.values())

    @invariant()
    def what_is_over_serves_what_is_promoted_and_nothing_else(self) -> None:
        records = [record for record in self.world.driver.records() if record.name == str(CHECKOUT)]
        promoted = self.world.driver.promoted
        if promoted is None or any(not record.phase.over for record in records):
            return
        if self.world.driver.status().degraded:
            return
        # So quarantined content is served by nobody.
        assert self.world.split() == {promoted.services[CHECKOUT].serving: 10_000}

    @invariant()
    def quarantined_content_is_not_on_its_way(self) -> None:
        known = self.world.store.load()
        for release in known.releases:
            if release.phase.in_flight and release.phase is not Phase.ABORTING:
                assert content_id(release.change) not in known.quarantine

    @invariant()
    def nothing_is_left_half_way(self) -> None:
        for record in self.world.driver.records():
            if self.blocker is None:
                assert record.phase is not Phase.ABORTING
            if record.phase is Phase.ABORTED and record.weights:
                assert max(record.weights.values()) == 10_000

    @invariant()
    def what_waits_or_was_stopped_is_served_by_nobody(self) -> None:
        promoted = self.world.driver.promoted
        if promoted is None or self.blocker is not None or self.world.driver.status().degraded:
            return
        newest = {(record.unit, record.name): record for record in self.world.driver.records()}
        still = {Phase.PENDING, Phase.WAITING, Phase.ABORTED, Phase.SUPERSEDED}
        for (unit, name), record in newest.items():
            if record.phase in still:
                self._runs_the_base(unit, Name(*name.split("/")), promoted)

    def _runs_the_base(self, unit: str, name: Name, promoted: Mesh) -> None:
        live = self.world.delivery.live
        mine = [node for node in live if node.startswith(f"{name}/")]
        if unit == "access":
            rules = {str(one.name) for one in promoted.access[name].rules if one.in_force(self._floor())}
            assert all(set(self.world.access(node)) == rules for node in mine)
        elif name not in promoted.services:
            assert not mine
        else:
            assert all(
                self.world.splits(node)[str(name)] == dict(promoted.services[name].split.weights) for node in live
            )

    def _floor(self) -> datetime:
        """The instant by which rules have ended: the clock's, unless a later one has ended some."""
        now, floor = self.world.clock.now(), self.world.driver.closing.ended
        return now if floor is None else max(now, floor)

    @invariant()
    def nothing_that_has_ended_is_open_on_any_proxy(self) -> None:
        now, degraded = self.world.clock.now(), self.world.driver.status().degraded
        for node in self.world.delivery.live.keys() - degraded.keys():
            for name in self.world.access(node):
                self.served.add(name.partition("~")[0])
                ends = self.expiries.get(name.partition("~")[0])
                assert ends is None or now < ends
                assert name.partition("~")[0] not in self.closed

    @invariant()
    def what_is_measured_together_is_never_on_its_way_together(self) -> None:
        moving = [record.name for record in self.world.driver.records() if record.phase.in_flight]
        assert len(moving) == len(set(moving))

    @invariant()
    def a_rule_waits_for_the_service_that_it_names(self) -> None:
        promoted = self.world.driver.promoted
        for record in self.world.driver.records():
            if record.unit == "access" and record.phase.in_flight and f"service {DEPOT}" in record.needs:
                assert promoted is not None
                assert DEPOT in promoted.services

    def _accept(self, wanted: Wanted) -> None:
        self.commits += 1
        self.wanted, head = wanted, wanted.mesh()
        if wanted.expires is not None:
            self.expiries[f"default/until-{wanted.expires:%H-%M-%S}"] = wanted.expires
        before, promoted = self._in_flight(), self.world.driver.promoted
        known = {record.id for record in self.world.driver.records()}
        with contextlib.suppress(PolicydError):
            self.runner.run(self.world.driver.accept(f"c{self.commits}", head))
        self._listen()
        if promoted is not None:
            asked = {change.id for change in changes(refreshed(promoted, head), head)}
            self._others_are_left_alone(before, asked)
            self._what_is_new_begins_at_its_beginning(known)

    def _in_flight(self) -> dict[str, ReleaseRecord]:
        return {record.id: record for record in self.world.driver.records() if record.phase.in_flight}

    def _others_are_left_alone(self, before: dict[str, ReleaseRecord], asked: set[str]) -> None:
        after = {record.id: record for record in self.world.driver.records()}
        for number, record in before.items():
            if record.change_id in asked:
                same = after[number]
                assert (same.phase, same.stage, same.since) == (record.phase, record.stage, record.since)
            else:
                assert after[number].phase is Phase.SUPERSEDED

    def _what_is_new_begins_at_its_beginning(self, known: set[str]) -> None:
        quarantine = self.world.store.load().quarantine
        contents = {release.id: content_id(release.change) for release in self.world.store.load().releases}
        for record in self.world.driver.records():
            if record.id not in known:
                assert record.stage <= 1 or record.known_good
                if contents[record.id] in quarantine:
                    assert record.phase in {Phase.ABORTED, Phase.SUPERSEDED}

    def _tick(self, requests: int) -> None:
        self.world.metrics.silent = set(self.world.delivery.assigned) if self.silent else set()
        before = self._in_flight()
        with contextlib.suppress(PolicydError):
            self.runner.run(self.world.ticks(1, requests))
        self._listen()
        for record in self.world.driver.records():
            was = before.get(record.id)
            if was is not None and was.phase is not Phase.PROMOTING:
                assert record.stage <= was.stage + 1
                if self.silent:
                    # No data is no news: nothing went forward.
                    assert record.stage <= was.stage
                    assert record.phase is not Phase.PROMOTED

    def _listen(self) -> None:
        """Follow the events: a step forward was earned by time, asked for by a person, or is known good."""
        events = self.world.driver.events.recent()
        fresh = events[len(self.seen) :]
        for event in fresh:
            if event.kind in {Kind.STAGE, Kind.PROMOTED}:
                self._earned(event)
            self.seen.append((event, self.world.clock.monotonic()))

    def _earned(self, event: Event) -> None:
        mine = [(one, at) for one, at in self.seen if one.release == event.release]
        entered = [at for one, at in mine if one.kind is Kind.STAGE]
        if event.kind is Kind.PROMOTED and event.data["known_good"]:
            return
        if not entered:
            return
        pushed = any(one.kind is Kind.COMMAND and at >= entered[-1] for one, at in mine)
        assert pushed or self.world.clock.monotonic() - entered[-1] >= HOLD_S
        if event.kind is Kind.PROMOTED and not pushed:
            verdicts = [one for one, _ in mine if one.kind is Kind.VERDICT]
            assert verdicts[-1].data["verdict"] == "promote"
            assert verdicts[-1].data["evidence"]["e_value"] < 100

    def teardown(self) -> None:
        if self.blocker is not None:
            self.blocker.close()
        self.world.store.close()
        self.runner.close()
        self.folder.cleanup()


TestHistory = History.TestCase
TestHistory.settings = settings(
    max_examples=30, stateful_step_count=35, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
