"""Keeps on disk when edges and rules were used last, so that a restart does not make all look unused since then.

    telemetry.edges -> `keep`, once a minute -> one file -> `recall` -> the edges of the next process

A memory for people: nothing is decided by it. Where it is lost or damaged the watch begins anew, and the map says so
by `watched_since`; where it cannot be written, the next life knows less.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

import orjson
import structlog

from policyd.base.clock import Clock
from policyd.base.files import write_whole
from policyd.model.names import Name
from policyd.telemetry.edges import Edges, Seen

KEEP_S = 60.0
"""Seconds between two writes: as much as a killed controller forgets."""


class SeenEdges:
    """The file at `path`. Nothing here raises: the map goes on without it."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._log = structlog.get_logger("telemetry")

    def recall(self, edges: Edges) -> None:
        """Let `edges` go on from what was kept; a file that cannot be read is as good as none."""
        try:
            kept = orjson.loads(self._path.read_bytes())
            last_used = {
                (Name.parse(caller), Name.parse(callee)): _instant(at) for caller, callee, at in kept["last_used"]
            }
            rules = {(Name.parse(callee), rule): _instant(at) for callee, rule, at in kept["rules"]}
            edges.recall(_instant(kept["since"]), last_used, rules)
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._log.warning("edges seen before are not known", error=repr(error))

    async def follow(self, edges: Edges) -> None:
        """Keep what is seen; never ends by itself."""
        while True:
            await self._clock.sleep(KEEP_S)
            await asyncio.to_thread(self.keep, edges.seen())

    def keep(self, seen: Seen) -> None:
        """Write it now."""
        if seen.since is None:
            return
        rows = [(str(caller), str(callee), at.isoformat()) for (caller, callee), at in sorted(seen.last_used.items())]
        rules = [(str(callee), rule, at.isoformat()) for (callee, rule), at in sorted(seen.rule_last_used.items())]
        kept = {"since": seen.since.isoformat(), "last_used": rows, "rules": rules}
        try:
            write_whole(self._path, orjson.dumps(kept))
        except OSError as error:
            self._log.warning("edges seen are not kept", error=repr(error))


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"an instant without a time zone: {text}")
    return at
