from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing
from pathlib import Path

import pytest

from policyd.base.clock import SystemClock
from policyd.base.errors import Retry
from policyd.source import BranchRewritten, Mirror, Snapshot, SourceEvent, Unreachable, Untidy, Watch
from policyd.source.watch import git_folder
from policyd.testing.clock import FakeClock
from tests.source.conftest import Author


class Follower:
    """Follows a repository and remembers what the watch said."""

    def __init__(
        self, author: Author | Path, folder: Path, clock: FakeClock | SystemClock, poll_s: float = 600.0
    ) -> None:
        self.events: list[SourceEvent] = []
        self.heard = asyncio.Event()
        self.mirror = Mirror(folder, str(author.folder if isinstance(author, Author) else author))
        self.watch = Watch(self.mirror, clock, on_event=self._hear, poll_s=poll_s, dice=random.Random(7))

    def _hear(self, event: SourceEvent) -> None:
        self.events.append(event)
        self.heard.set()

    @asynccontextmanager
    async def snapshots(self, last: str | None = None) -> AsyncIterator[AsyncGenerator[Snapshot, None]]:
        with closing(self.mirror):
            async with aclosing(self.watch.snapshots(last)) as snapshots:
                yield snapshots


async def _next(snapshots: AsyncGenerator[Snapshot, None]) -> Snapshot:
    return await asyncio.wait_for(anext(snapshots), 20)


async def test_the_head_comes_first_and_commits_are_seen_without_polling(author: Author, tmp_path: Path) -> None:
    first = author.commit(a="x: 1\n")
    follower = Follower(author, tmp_path / "mirror", SystemClock())
    async with follower.snapshots() as snapshots:
        assert (await _next(snapshots)).commit == first
        for number in range(3):
            commit = await asyncio.to_thread(author.commit, f"number {number}")
            snapshot = await _next(snapshots)
            assert (snapshot.commit, snapshot.parent is not None) == (commit, True)
            assert snapshot.seen_at is not None
    assert follower.events == []


async def test_a_commit_that_is_known_is_not_given_again(author: Author, tmp_path: Path) -> None:
    known = author.commit(a="x: 1\n")
    follower = Follower(author, tmp_path / "mirror", SystemClock())
    async with follower.snapshots(known) as snapshots:
        waiting = asyncio.ensure_future(anext(snapshots))
        commit = await asyncio.to_thread(author.commit, "new")
        assert (await asyncio.wait_for(waiting, 20)).commit == commit


async def test_the_newest_of_a_burst_wins(author: Author, tmp_path: Path) -> None:
    author.commit(a="x: 0\n")
    follower = Follower(author, tmp_path / "mirror", SystemClock())
    async with follower.snapshots() as snapshots:
        await _next(snapshots)
        commits = [await asyncio.to_thread(author.commit, a=f"x: {number}\n") for number in range(1, 21)]
        snapshot = await _next(snapshots)
        assert snapshot.commit == commits[-1]
        assert snapshot.read(snapshot.files["a.yaml"]) == b"x: 20\n"


async def test_a_rewritten_branch_is_followed_with_a_warning(author: Author, tmp_path: Path) -> None:
    kept = author.commit(a="x: 1\n")
    dropped = author.commit(a="x: 2\n")
    follower = Follower(author, tmp_path / "mirror", SystemClock())
    async with follower.snapshots() as snapshots:
        assert (await _next(snapshots)).commit == dropped
        await asyncio.to_thread(author.git, "reset", "--quiet", "--hard", kept)
        assert (await _next(snapshots)).commit == kept
    assert follower.events == [BranchRewritten(dropped, kept)]


async def test_a_branch_that_goes_away_is_waited_for(author: Author, tmp_path: Path) -> None:
    author.commit(a="x: 1\n")
    follower = Follower(author, tmp_path / "mirror", SystemClock(), poll_s=0.2)
    async with follower.snapshots() as snapshots:
        await _next(snapshots)
        waiting = asyncio.ensure_future(anext(snapshots))
        await asyncio.to_thread(author.git, "branch", "--move", "main", "elsewhere")
        await asyncio.wait_for(follower.heard.wait(), 20)
        event = follower.events[0]
        assert isinstance(event, Unreachable)
        assert "has no branch `main`" in event.reason
        await asyncio.to_thread(author.git, "branch", "--move", "elsewhere", "main")
        commit = await asyncio.to_thread(author.commit, "back")
        follower.watch.look()
        assert (await asyncio.wait_for(waiting, 20)).commit == commit


async def test_a_repository_that_appears_later_is_taken_up(author: Author, tmp_path: Path) -> None:
    commit = author.commit(a="x: 1\n")
    away = tmp_path / "away"
    shutil.move(author.folder, away)
    follower = Follower(author, tmp_path / "mirror", SystemClock())
    async with follower.snapshots() as snapshots:
        waiting = asyncio.ensure_future(anext(snapshots))
        await asyncio.wait_for(follower.heard.wait(), 20)
        shutil.move(away, author.folder)
        follower.watch.look()
        assert (await asyncio.wait_for(waiting, 20)).commit == commit


async def test_failures_in_a_row_are_tried_less_and_less_often(tmp_path: Path) -> None:
    clock = FakeClock()
    events: list[Unreachable] = []
    heard = asyncio.Event()

    def hear(event: SourceEvent) -> None:
        assert isinstance(event, Unreachable)
        events.append(event)
        heard.set()

    watch = Watch(Mirror(tmp_path / "mirror", str(tmp_path / "nowhere")), clock, on_event=hear, poll_s=60.0)
    async with aclosing(watch.snapshots()) as snapshots:
        waiting = asyncio.ensure_future(anext(snapshots))
        for _ in range(5):
            while not heard.is_set():
                clock.advance(100.0)
                await asyncio.sleep(0)
            heard.clear()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert [event.retry_s for event in events[:5]] == [5.0, 10.0, 20.0, 40.0, 60.0]


async def test_a_try_that_was_asked_for_makes_the_next_pause_no_longer(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "nowhere", tmp_path / "mirror", FakeClock())
    async with follower.snapshots() as snapshots:
        waiting = asyncio.ensure_future(anext(snapshots))
        for _ in range(4):
            await asyncio.wait_for(follower.heard.wait(), 20)
            follower.heard.clear()
            follower.watch.look()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert {event.retry_s for event in follower.events if isinstance(event, Unreachable)} == {5.0}


async def test_the_mirror_is_tidied_when_a_commit_was_taken_and_nothing_waits(
    author: Author, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    author.commit(a="x: 1\n")
    follower = Follower(author, tmp_path / "mirror", SystemClock())

    def full() -> None:
        raise Retry("the mirror could not be packed: no space left", after=5.0)

    monkeypatch.setattr(follower.mirror, "tidy", full)
    async with follower.snapshots() as snapshots:
        await _next(snapshots)
        waiting = asyncio.ensure_future(anext(snapshots))
        await asyncio.wait_for(follower.heard.wait(), 20)
        assert follower.events == [Untidy("the mirror could not be packed: no space left")]
        commit = await asyncio.to_thread(author.commit, "goes on all the same")
        assert (await asyncio.wait_for(waiting, 20)).commit == commit


def test_the_refs_of_a_linked_working_tree_are_found(author: Author, tmp_path: Path) -> None:
    author.commit(a="x: 1\n")
    author.git("worktree", "add", "--quiet", str(tmp_path / "linked"), "-b", "other")
    bare = tmp_path / "bare.git"
    author.git("clone", "--quiet", "--bare", str(author.folder), str(bare))
    assert git_folder(author.folder) == author.folder / ".git"
    assert git_folder(tmp_path / "linked") == author.folder / ".git"
    assert git_folder(bare) == bare
    assert git_folder(tmp_path) is None
