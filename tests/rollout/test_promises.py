"""Whatever comes, in whatever order: commits, time, load, bad versions, commands, crashes, a held store, refusals.

A stateful test: hypothesis draws the history, the invariants hold after every step of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from policyd.base.errors import PolicydError, UsageError
from policyd.delivery.snapshot import NodeSnapshot
from policyd.model.names import Name
from policyd.rollout.content import content_id
from policyd.rollout.event import Event, Kind
from policyd.rollout.machine import Command
from policyd.rollout.record import Phase
from tests.rollout.world import CHECKOUT, PAYMENTS, WEB, World, mesh, service

HOLD_S = 3.0
VERSIONS = st.sampled_from(["v1", "v2", "v3"])


class History(RuleBasedStateMachine):
    """One mesh from its first commit on."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self.folder.name))
        self.blocker: sqlite3.Connection | None = None
        self.commits = 0
        self.seen: list[Event] = []

    @initialize()
    def first_commit(self) -> None:
        self._accept("v1", 15_000)
        self._tick(100)

    @rule(version=VERSIONS, request_ms=st.sampled_from([15_000, 9_000]))
    def commit(self, version: str, request_ms: int) -> None:
        self._accept(version, request_ms)

    @rule(count=st.integers(1, 6), requests=st.sampled_from([0, 10, 100]))
    def time_passes(self, count: int, requests: int) -> None:
        for _ in range(count):
            self._tick(requests)

    @rule(version=st.sampled_from(["v2", "v3"]), bad=st.booleans())
    def a_version_turns(self, version: str, bad: bool) -> None:
        (self.world.bad.add if bad else self.world.bad.discard)(f"default/checkout/{version}")

    @rule(name=st.sampled_from([CHECKOUT, PAYMENTS, WEB]), command=st.sampled_from(list(Command)))
    def a_person(self, name: Name, command: Command) -> None:
        with contextlib.suppress(UsageError, PolicydError):
            self.runner.run(self.world.driver.command(str(name), command))
        self._listen()

    @rule(silent=st.booleans())
    def metrics_go_or_come(self, silent: bool) -> None:
        self.world.metrics.silent = set(self.world.delivery.live) if silent else set()

    @rule(refuses=st.booleans())
    def proxies_refuse_v3(self, refuses: bool) -> None:
        def judge(snapshot: NodeSnapshot) -> str:
            (view,) = snapshot.resources["view"].values()
            return "no" if b'"v3"' in view.body else ""

        self.world.delivery.judge = judge if refuses else lambda snapshot: ""

    @precondition(lambda self: self.blocker is None)
    @rule()
    def the_store_is_held(self) -> None:
        self.world.store._db.execute("PRAGMA busy_timeout = 0")
        self.blocker = sqlite3.connect(self.world.path, isolation_level=None)
        self.blocker.execute("BEGIN IMMEDIATE")

    @precondition(lambda self: self.blocker is not None)
    @rule()
    def the_store_is_free(self) -> None:
        assert self.blocker is not None
        self.blocker.close()
        self.blocker = None
        self._tick(0)

    @precondition(lambda self: self.blocker is None)
    @rule()
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

    def _accept(self, version: str, request_ms: int) -> None:
        self.commits += 1
        head = mesh(service(CHECKOUT, version), service(PAYMENTS, request_ms=request_ms), hold_s=HOLD_S)
        with contextlib.suppress(PolicydError):
            self.runner.run(self.world.driver.accept(f"c{self.commits}", head))
        self._listen()

    def _tick(self, requests: int) -> None:
        with contextlib.suppress(PolicydError):
            self.runner.run(self.world.ticks(1, requests))
        self._listen()

    def _listen(self) -> None:
        """Follow the events: a step forward was earned by time, asked for by a person, or is known good."""
        events = self.world.driver.events.recent()
        fresh = events[len(self.seen) :]
        for event in fresh:
            if event.kind in {Kind.STAGE, Kind.PROMOTED}:
                self._earned(event)
            self.seen.append(event)

    def _earned(self, event: Event) -> None:
        mine = [one for one in self.seen if one.release == event.release]
        entered = [one for one in mine if one.kind is Kind.STAGE]
        if event.kind is Kind.PROMOTED and event.data["known_good"]:
            return
        if not entered:
            return
        pushed = any(one.kind is Kind.COMMAND and one.at >= entered[-1].at for one in mine)
        assert pushed or (event.at - entered[-1].at).total_seconds() >= HOLD_S
        if event.kind is Kind.PROMOTED and not pushed:
            verdicts = [one for one in mine if one.kind is Kind.VERDICT]
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
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
