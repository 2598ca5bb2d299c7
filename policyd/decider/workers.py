"""The workers of a decision server, as their parent sees them: started, sent every update, started again, ended.

A worker may hang, or die, at any point of its life: every wait for one has its bound in `Patience`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from policyd.base.clock import Clock
from policyd.base.errors import Stalled
from policyd.decider.wire import Frames, Kind, Update, frame, frames_of

WORDS_S = 1.0
"""How long the last words of a worker that has ended are waited for."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a parent waits, in seconds."""

    start_s: float = 30.0
    """Until a worker listens."""
    end_s: float = 20.0
    """Until a worker has answered whom it has taken; then it is killed."""
    again_s: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0, 10.0)
    """Before another start, the longer the more have failed."""
    lasts_s: float = 30.0
    """A worker that lived for so long did start well."""


@dataclass(eq=False, slots=True)
class _Worker:
    number: int
    process: asyncio.subprocess.Process
    updates: asyncio.Queue[Iterable[bytes]] = field(default_factory=asyncio.Queue)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    said: str = ""
    """Its own words about why it cannot go on."""


class Workers:
    """`argv` starts a worker that finds its end of a socket pair behind the last argument.

    `settings` is what a worker is told first, by its number; `whole` gives all frames for one that has nothing.
    """

    def __init__(
        self,
        argv: Sequence[str],
        number: int,
        *,
        settings: Callable[[int], bytes],
        whole: Callable[[], Iterable[bytes]],
        clock: Clock,
        patience: Patience,
    ) -> None:
        self._argv = argv
        self._settings = settings
        self._whole = whole
        self._clock = clock
        self._patience = patience
        self._log = structlog.get_logger("decide")
        self._workers: dict[int, _Worker] = {}
        self._ready = [asyncio.Event() for _ in range(number)]
        self.joining = asyncio.Lock()
        """Held while an update is made and given out, so that a worker that joins misses none and gets none twice."""

    def put(self, update: Update) -> None:
        """Have every worker load it. Call it with `joining` held."""
        for worker in self._workers.values():
            worker.updates.put_nowait(frames_of(update))

    def tell(self, kind: Kind, body: bytes) -> None:
        """Send every worker one frame. Call it with `joining` held."""
        for worker in self._workers.values():
            worker.updates.put_nowait((frame(kind, body),))

    async def all_ready(self) -> None:
        """Return once each number has had a worker that listens."""
        for ready in self._ready:
            await ready.wait()

    async def keep(self, number: int) -> None:
        """Have a worker of that number for as long as this runs. Raises `Stalled` where the first does not start."""
        failed, again_s = 0, self._patience.again_s
        while True:
            since = self._clock.monotonic()
            why = await self._live(number)
            if not self._ready[number].is_set():
                raise Stalled(f"decision worker {number} did not start: {why}")
            failed = 0 if self._clock.monotonic() - since > self._patience.lasts_s else failed + 1
            self._log.error("worker ended", worker=number, why=why)
            await self._clock.sleep(again_s[min(failed, len(again_s)) - 1])

    async def _live(self, number: int) -> str:
        """The life of one worker; returns how it ended."""
        try:
            async with self._started(number) as worker:
                ended = asyncio.create_task(worker.process.wait())
                ready = asyncio.create_task(worker.ready.wait())
                try:
                    first: list[asyncio.Future[Any]] = [ended, ready]
                    await asyncio.wait(first, timeout=self._patience.start_s, return_when=asyncio.FIRST_COMPLETED)
                    if not ended.done() and not ready.done():
                        return worker.said or f"it did not listen within {self._patience.start_s:g} s"
                    code = await ended
                finally:
                    ended.cancel()
                    ready.cancel()
        except OSError as error:
            return error.strerror or str(error)
        else:
            return worker.said or f"it ended with {code}; its own words, if it had any, are above"

    @asynccontextmanager
    async def _started(self, number: int) -> AsyncIterator[_Worker]:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *self._argv,
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
        except BaseException:
            ours.close()
            raise
        worker = _Worker(number, process)
        tasks: list[asyncio.Task[None]] = []
        writer: asyncio.StreamWriter | None = None
        try:
            reader, writer = await asyncio.open_connection(sock=ours)
            tasks = [asyncio.create_task(self._hear(worker, reader)), asyncio.create_task(self._send(worker, writer))]
            async with self.joining:
                worker.updates.put_nowait(self._whole())
                self._workers[number] = worker
            yield worker
        finally:
            self._workers.pop(number, None)
            await self._ended(process)
            if tasks:
                await asyncio.wait(tasks[:1], timeout=WORDS_S)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            (ours.close if writer is None else writer.transport.abort)()

    async def _send(self, worker: _Worker, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(frame(Kind.SETTINGS, self._settings(worker.number)))
            while True:
                for each in await worker.updates.get():
                    writer.write(each)
                    await writer.drain()

    async def _hear(self, worker: _Worker, reader: asyncio.StreamReader) -> None:
        frames = Frames()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                for kind, body in frames.feed(data):
                    match kind:
                        case Kind.READY:
                            worker.ready.set()
                            self._ready[worker.number].set()
                        case Kind.LOADED:
                            self._log.debug("loaded", worker=worker.number, revision=body.decode())
                        case _:
                            worker.said = body.decode(errors="replace")

    async def _ended(self, process: asyncio.subprocess.Process) -> None:
        """Let a worker answer whom it has taken, and see it ended."""
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._patience.end_s):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
