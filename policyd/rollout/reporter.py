"""Says what happened: one event for followers and one log line for operators, from the same words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import structlog

from policyd.base.clock import Clock
from policyd.base.errors import PolicydError
from policyd.model.revocation import Revocation
from policyd.plan.describe import describe_stage
from policyd.rollout.event import Event, EventLog, Kind
from policyd.rollout.machine import Command
from policyd.rollout.record import Phase
from policyd.rollout.release import Release, evidence_of, title_of, weights_of
from policyd.rollout.serving import Moved


class Reporter:
    """Feeds the event log. `since_commit_s` is the time from the commit being taken to the acknowledgement."""

    def __init__(self, clock: Clock) -> None:
        self.events = EventLog()
        self._clock = clock
        self._log = structlog.get_logger("rollout")

    def served(self, commit: str, services: int, moved: Moved, since_commit_s: float) -> None:
        """The first head is live."""
        self._add(
            Kind.SERVED,
            None,
            f"serving {services} services at {commit[:10]}",
            {"commit": commit, "nodes": len(moved.changed), "since_commit_s": since_commit_s},
        )
        self.refused(None, moved)

    def lost(self) -> None:
        """The store says nothing, and proxies run something."""
        self._add(Kind.STALLED, None, "the store was lost while proxies run: nothing is sent to them", {})

    def recovered(self, commit: str, moved: Moved) -> None:
        """A person has said what was promoted."""
        text = f"a person says that {commit[:10]} was promoted last"
        self._add(Kind.COMMAND, None, text, {"commit": commit, "nodes": len(moved.changed)})
        self.refused(None, moved)

    def runtime(self, moved: Moved, since_commit_s: float, *, resumed: bool) -> None:
        """Nodes got something that is no release."""
        text = "serving what was promoted" if resumed else "endpoints, secrets or an expiry reached the nodes"
        self._add(Kind.RUNTIME, None, text, {"nodes": len(moved.changed), "since_commit_s": since_commit_s})
        self.refused(None, moved)

    def revoked(self, cuts: Iterable[Revocation], moved: Moved) -> None:
        """Somebody is cut off."""
        for cut in cuts:
            data = {"name": str(cut.name), "reason": cut.reason, "nodes": len(moved.changed)}
            self._add(Kind.REVOKED, None, f"{cut}: {cut.reason}", data)
        self.refused(None, moved)

    def lifted(self, cuts: Iterable[Revocation]) -> None:
        """A person ended a revocation."""
        for cut in cuts:
            self._add(Kind.LIFTED, None, f"revocation `{cut.name}` is lifted", {"name": str(cut.name)})

    def step(self, before: Release, after: Release) -> None:
        """A decision, with its evidence; the first one of a release, or its being blocked, gets words of its own."""
        title, reason = title_of(after.change), after.decision.reason
        if after.phase is Phase.WAITING:
            self._add(Kind.BLOCKED, after, f"{title} waits: {reason}", {"blocked_by": after.blocked_by})
            return
        if before.phase in {Phase.PENDING, Phase.WAITING}:
            self._add(Kind.STARTED, after, f"{title}: {reason}", {"known_good": after.known_good})
        data = {"verdict": after.decision.verdict.value, "reason": reason, "evidence": asdict(evidence_of(after))}
        self._add(Kind.VERDICT, after, f"{title}: {after.decision.verdict.value}, {reason}", data)

    def stage(self, release: Release, since_commit_s: float) -> None:
        """A stage was entered and acknowledged."""
        text = describe_stage(release.way.stages[release.state.stage])
        data = {
            "stage": release.state.stage + 1,
            "stages": len(release.way.stages),
            "weights": weights_of(release),
            "since_commit_s": since_commit_s,
        }
        self._add(Kind.STAGE, release, f"{title_of(release.change)} at {text}", data)

    def promoted(self, release: Release, since_commit_s: float) -> None:
        """A change is everywhere."""
        text = f"{title_of(release.change)} is everywhere"
        self._add(Kind.PROMOTED, release, text, {"since_commit_s": since_commit_s, "known_good": release.known_good})

    def aborted(self, release: Release) -> None:
        """A change went back."""
        data = {"quarantine": release.state.quarantine, "evidence": asdict(evidence_of(release))}
        self._add(Kind.ABORTED, release, f"{title_of(release.change)} went back: {release.decision.reason}", data)

    def superseded(self, releases: Iterable[Release]) -> None:
        """Git asks for something else."""
        for release in releases:
            self._add(Kind.SUPERSEDED, release, f"{title_of(release.change)}: Git asks for something else now", {})

    def commanded(self, release: Release, command: Command) -> None:
        """A person asked for something."""
        self._add(Kind.COMMAND, release, f"{command.value} {title_of(release.change)}", {"command": command.value})

    def refused(self, release: Release | None, moved: Moved) -> None:
        """What proxies refused of a move, if anything; `release` is whose step it was, if it was one's."""
        if moved.complaints:
            self._add(Kind.REFUSED, release, "; ".join(moved.complaints), {"refused": moved.complaints})

    def stalled(self, error: PolicydError) -> None:
        """Nothing goes forward until this is mended."""
        self._add(Kind.STALLED, None, str(error), {"hint": error.hint})

    def _add(self, kind: Kind, release: Release | None, text: str, data: dict[str, Any]) -> None:
        name = release.id if release is not None else ""
        self.events.add(Event(self._clock.now(), kind, name, text, data))
        level = self._log.warning if kind in {Kind.REFUSED, Kind.STALLED, Kind.ABORTED} else self._log.info
        (self._log.debug if kind is Kind.VERDICT else level)(text, kind=kind.value, release=name)
