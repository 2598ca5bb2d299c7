"""`policyd decide`: follows the bundle, compiles it, and keeps the workers that answer from it.

The parent answers nobody, so that it may take its time; a worker that ends is started again and sent everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import orjson
import structlog

from policyd.api.decide_settings import Decide
from policyd.base.clock import Clock
from policyd.base.errors import Stalled
from policyd.decider.builder import Builder, Update
from policyd.decider.follow import Follower
from policyd.decider.wire import Frames, Kind, frame, frames_of
from policyd.decider.worker import listening
from policyd.decisions.bundle import Unpacked
from policyd.decisions.document import DocumentError
from policyd.decisions.signature import Verifier

AGAIN_S = 0.5
"""Before a worker that ended is started again."""
END_S = 20.0
"""How long a worker may take to answer whom it has taken; then it is ended."""


class WorkerProcess:
    """A worker as its parent sees it."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, reader: asyncio.StreamReader) -> None:
        self.number = number
        self.process = process
        self.reader = reader
        self.writer: asyncio.StreamWriter | None = None
        self.updates: asyncio.Queue[Update] = asyncio.Queue()
        self.revision = ""


class Parent:
    """The followers of one bundle. `started` is told the address once every worker answers there.

    `json`: how the workers write their own logs.
    """

    def __init__(
        self,
        settings: Decide,
        source: str,
        verifier: Verifier,
        clock: Clock,
        *,
        version: str,
        json: bool = False,
        started: Callable[[str], None] = lambda address: None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._version = version
        self._json = json
        self._started = started
        self._log = structlog.get_logger("decide")
        self._builder = Builder()
        self._building = asyncio.Lock()
        self._workers: dict[int, WorkerProcess] = {}
        self._ready = [asyncio.Event() for _ in range(settings.workers)]
        self._trouble = ""
        self._follower = Follower(
            source, verifier, clock, token=settings.token, poll_s=settings.poll_s, trouble=self._say_trouble
        )
        self._host, self._port = settings.listen.rpartition(":")[0], int(settings.listen.rpartition(":")[2])

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`. Raises `Stalled` where the address or the log cannot be had."""
        try:
            # Held for as long as we run, so that the port stays ours while no worker listens.
            reserved = listening(self._host, self._port)
        except OSError as error:
            raise Stalled(f"cannot listen on {self._settings.listen}: {error.strerror}") from error
        with contextlib.closing(reserved):
            self._port = reserved.getsockname()[1]
            tasks = [asyncio.create_task(self._keep(number)) for number in range(self._settings.workers)]
            tasks.append(asyncio.create_task(self._follow()))
            tasks.append(asyncio.create_task(self._say_started()))
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait([stopping, *tasks[:-1]], return_when=asyncio.FIRST_COMPLETED)
                for task in tasks[:-1]:
                    if task.done():
                        task.result()
            finally:
                stopping.cancel()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _say_started(self) -> None:
        for ready in self._ready:
            await ready.wait()
        self._started(f"{self._host}:{self._port}")

    async def _follow(self) -> None:
        async for bundle in self._follower.bundles():
            await self._take(bundle)

    async def _take(self, bundle: Unpacked) -> None:
        async with self._building:
            try:
                update = await asyncio.to_thread(self._builder.build, bundle)
            except DocumentError as error:
                self._say_trouble(str(error))
                return
            for worker in self._workers.values():
                worker.updates.put_nowait(update)
        changed = len(update.changed)
        self._log.info("bundle", revision=bundle.revision, changed=changed, gone=len(update.gone))

    def _say_trouble(self, said: str) -> None:
        if said != self._trouble:
            self._trouble = said
            if said:
                self._log.error("bundle not taken: what is loaded goes on", error=said)
            else:
                self._log.info("bundle taken again")

    # Workers.

    async def _keep(self, number: int) -> None:
        """Have a worker of that number for as long as this runs."""
        while True:
            async with self._worker(number) as worker:
                await worker.process.wait()
                if not self._ready[number].is_set():
                    raise Stalled(f"decision worker {number} did not start", hint="its own words are above")
                self._log.error("worker ended", worker=number, code=worker.process.returncode)
            await self._clock.sleep(AGAIN_S)

    @asynccontextmanager
    async def _worker(self, number: int) -> AsyncIterator[WorkerProcess]:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "policyd.decider.worker",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        worker = WorkerProcess(number, process, reader)
        worker.writer = writer
        writer.write(frame(Kind.SETTINGS, self._settings_for(number)))
        async with self._building:  # between two updates, so that none is missed and none comes twice
            whole = self._builder.whole()
            if whole is not None:
                worker.updates.put_nowait(whole)
            self._workers[number] = worker
        tasks = [asyncio.create_task(self._send(worker, writer)), asyncio.create_task(self._hear(worker))]
        try:
            yield worker
        finally:
            del self._workers[number]
            await _ended(process)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.close()

    def _settings_for(self, number: int) -> bytes:
        settings = self._settings.model_dump(mode="json")
        said = {
            "settings": settings,
            "host": self._host,
            "port": self._port,
            "number": number,
            "version": self._version,
            "json": self._json,
        }
        return orjson.dumps(said)

    async def _send(self, worker: WorkerProcess, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                for each in frames_of(await worker.updates.get()):
                    writer.write(each)
                    await writer.drain()

    async def _hear(self, worker: WorkerProcess) -> None:
        frames = Frames()
        with contextlib.suppress(ConnectionError):
            while data := await worker.reader.read(65_536):
                for kind, body in frames.feed(data):
                    match kind:
                        case Kind.READY:
                            self._ready[worker.number].set()
                        case Kind.LOADED:
                            worker.revision = body.decode()
                            self._log.debug("loaded", worker=worker.number, revision=worker.revision)
                        case _:
                            self._log.error("worker", worker=worker.number, said=body.decode(errors="replace"))


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Let a worker answer whom it has taken, and see it ended."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
