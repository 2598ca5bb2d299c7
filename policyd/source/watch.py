"""Watches the branch and yields snapshots: each one newer than the last, the newest when several are waiting.

A repository on this machine is watched through its refs, so that a commit is seen within milliseconds; a remote
one is polled with jitter. Watching is a hint, polling the truth: both run, and only what `fetch` brings counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import watchfiles

from policyd.base.clock import Clock
from policyd.base.errors import PolicydError, Retry
from policyd.base.stopwatch import Stopwatch, untimed
from policyd.source.mirror import Mirror
from policyd.source.snapshot import Snapshot

_JITTER = 0.2
_LONGEST_BACKOFF_S = 300.0
_UNTIL_SOMEBODY_WAS_THERE_S = 30.0
_SETTLE_MS = 10


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The branch could not be fetched; `retry_s` seconds from now it is tried again."""

    reason: str
    hint: str
    retry_s: float


@dataclass(frozen=True, slots=True)
class Reachable:
    """The branch can be fetched again, at `commit`."""

    commit: str


@dataclass(frozen=True, slots=True)
class BranchRewritten:
    """A force-push: `old` is no longer in the branch's history. policyd follows the branch to `new`."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Untidy:
    """The mirror could not be packed: it grows, and is tried again after the next commit."""

    reason: str


SourceEvent = Unreachable | Reachable | BranchRewritten | Untidy


class Watch:
    """Follows one mirror. `poll_s` is how often the remote is asked when nothing else says "look"."""

    def __init__(
        self,
        mirror: Mirror,
        clock: Clock,
        *,
        on_event: Callable[[SourceEvent], None],
        poll_s: float = 30.0,
        dice: random.Random | None = None,
        stopwatch: Stopwatch = untimed,
    ) -> None:
        self._mirror = mirror
        self._clock = clock
        self._on_event = on_event
        self._poll_s = poll_s
        self._stopwatch = stopwatch
        self._dice = dice or random.SystemRandom()
        self._look = asyncio.Event()
        self._noticed: datetime | None = None
        self._failures = 0
        self._hurried = False
        self._untidy = False

    def look(self) -> None:
        """Say that the branch may have moved (a webhook, a file event). Cheap, and never wrong."""
        if self._noticed is None:
            self._noticed = self._clock.now()
        self._look.set()

    async def snapshots(self, last: str | None = None) -> AsyncGenerator[Snapshot, None]:
        """Snapshots in order, from the first one that is not the commit `last`. Ends only when it is closed.

        Commits that arrive while the caller works on a snapshot are passed over but for the newest. What cannot be
        fetched or read is an event, and is tried again.
        """
        watcher = asyncio.create_task(self._watch_files()) if self._mirror.local is not None else None
        try:
            while True:
                self._look.clear()
                seen_at, self._noticed = self._noticed or self._clock.now(), None
                pause = self._poll_s
                try:
                    with self._stopwatch("fetch"):
                        commit = await asyncio.to_thread(self._mirror.fetch)
                    snapshot = await self._take(last, commit) if commit != last else None
                    if self._failures:
                        self._failures = 0
                        self._on_event(Reachable(commit))
                    if snapshot is not None:
                        last, self._untidy = commit, True
                        yield replace(snapshot, seen_at=seen_at)
                        continue
                    await self._tidy()
                except PolicydError as error:
                    pause = self._back_off(error)
                self._hurried = await self._wait(pause)
        finally:
            if watcher is not None:
                watcher.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watcher

    async def _take(self, last: str | None, commit: str) -> Snapshot:
        with self._stopwatch("tree"):
            snapshot = await asyncio.to_thread(self._mirror.snapshot, commit)
        if last is not None and last != snapshot.parent:
            with self._stopwatch("ancestry"):
                grew = await asyncio.to_thread(self._mirror.is_ancestor, last, commit)
            if not grew:
                self._on_event(BranchRewritten(last, commit))
        return snapshot

    async def _tidy(self) -> None:
        """Once per commit, when nothing waits; mostly there is nothing to do."""
        if not self._untidy:
            return
        self._untidy = False
        try:
            with self._stopwatch("tidy"):
                await asyncio.to_thread(self._mirror.tidy)
        except PolicydError as error:
            self._on_event(Untidy(str(error)))

    def _back_off(self, error: PolicydError) -> float:
        """Seconds until the next try: doubled with each failure in a row, spread so that replicas do not march.

        A try that somebody asked for meanwhile does not count: else a busy repository would be asked ever less.
        """
        if not (self._hurried and self._failures):
            self._failures = min(self._failures + 1, 16)
        after = error.after if isinstance(error, Retry) else _UNTIL_SOMEBODY_WAS_THERE_S
        pause: float = min(after * 2.0 ** (self._failures - 1), _LONGEST_BACKOFF_S, max(self._poll_s, after))
        self._on_event(Unreachable(str(error), error.hint, pause))
        return pause

    async def _wait(self, pause: float) -> bool:
        """Until somebody says "look" (then true), or until `pause` seconds (give or take a fifth) are over."""
        spread = pause * (1 + self._dice.uniform(-_JITTER, _JITTER))
        timer = asyncio.ensure_future(self._clock.sleep(spread))
        looked = asyncio.create_task(self._look.wait())
        try:
            await asyncio.wait({timer, looked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (timer, looked):
                task.cancel()
        return self._look.is_set()

    async def _watch_files(self) -> None:
        """Turn writes below the repository's refs into "look". Starts again when the folder comes back."""
        while True:
            folder = git_folder(self._mirror.local or Path())
            if folder is not None:
                with contextlib.suppress(FileNotFoundError, OSError):
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._watch_folder(folder, recursive=False))
                        group.create_task(self._watch_folder(folder / "refs", recursive=True))
            await self._clock.sleep(self._poll_s)

    async def _watch_folder(self, folder: Path, *, recursive: bool) -> None:
        names = None if recursive else {"HEAD", "packed-refs"}

        def matters(_: watchfiles.Change, path: str) -> bool:
            name = Path(path).name
            return not name.endswith(".lock") and (names is None or name in names)

        async for _ in watchfiles.awatch(
            folder, watch_filter=matters, debounce=5 * _SETTLE_MS, step=_SETTLE_MS, recursive=recursive
        ):
            self.look()


def git_folder(repository: Path) -> Path | None:
    """The folder with the refs of a repository: bare, with a working tree, or a linked working tree."""
    marker = repository / ".git"
    if marker.is_file():
        inside = Path(repository, marker.read_text().removeprefix("gitdir:").strip())
        common = inside / "commondir"
        return (inside / common.read_text().strip()).resolve() if common.is_file() else inside
    folder = marker if marker.is_dir() else repository
    return folder if (folder / "refs").is_dir() else None
