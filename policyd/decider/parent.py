"""`policyd decide`: follows the bundle, compiles it, and keeps the workers that answer from it (`workers`).

The parent answers nobody, so that it may take its time; a worker that ends is started again and sent everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import structlog

from policyd.api.decide_settings import Decide
from policyd.base.clock import Clock
from policyd.base.errors import Stalled
from policyd.decider.builder import Builder
from policyd.decider.differing import NONE, differing
from policyd.decider.follow import Follower
from policyd.decider.listening import listening
from policyd.decider.memory import Memory
from policyd.decider.wire import Kind, LogSettings, WorkerSettings, frame, frames_of
from policyd.decider.workers import Patience, Workers
from policyd.decisions.bundle import Unpacked
from policyd.decisions.document import DocumentError
from policyd.decisions.signature import Verifier

WORKER = (sys.executable, "-m", "policyd.decider.worker")


class Parent:
    """The followers of one bundle. `started` is told the address once every worker answers there.

    `memory` is what earlier runs served. `json`: how the workers write their own logs.
    """

    def __init__(
        self,
        settings: Decide,
        source: str,
        verifier: Verifier,
        clock: Clock,
        *,
        version: str,
        memory: Memory,
        json: bool = False,
        started: Callable[[str], None] = lambda address: None,
        worker: Sequence[str] = WORKER,
        patience: Patience | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._version = version
        self._differing = NONE
        self._json = json
        self._started = started
        self._memory = memory
        self._log = structlog.get_logger("decide")
        self._builder = Builder(memory.highest)
        self._trouble = ""
        self._follower = Follower(
            source, verifier, clock, token=settings.token, poll_s=settings.poll_s, trouble=self._say_trouble
        )
        self._host, self._port = settings.listen.rpartition(":")[0], int(settings.listen.rpartition(":")[2])
        self._workers = Workers(
            worker,
            settings.workers,
            settings=self._settings_for,
            whole=self._whole,
            clock=clock,
            patience=patience or Patience(),
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`. Raises `Stalled` where the address or the log cannot be had."""
        try:
            # Held for as long as we run, so that the port stays ours while no worker listens.
            reserved = listening(self._host, self._port)
        except OSError as error:
            raise Stalled(f"cannot listen on {self._settings.listen}: {error.strerror}") from error
        with contextlib.closing(reserved):
            self._port = reserved.getsockname()[1]
            tasks = [asyncio.create_task(self._workers.keep(number)) for number in range(self._settings.workers)]
            tasks.append(asyncio.create_task(self._follow()))
            if self._settings.controller:
                tasks.append(asyncio.create_task(self._follow_proxies()))
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
        await self._workers.all_ready()
        self._started(f"{self._host}:{self._port}")

    async def _follow(self) -> None:
        async for bundle in self._follower.bundles():
            await self._take(bundle)

    async def _follow_proxies(self) -> None:
        async for said in differing(self._settings.controller, self._settings.token, self._clock):
            async with self._workers.joining:
                self._differing = said
                self._workers.tell(Kind.DIFFERING, said)

    def _whole(self) -> Iterable[bytes]:
        """What a worker has to be sent that has nothing, as of now: frames may be made later."""
        update = self._builder.whole()
        return chain(frames_of(update) if update is not None else (), (frame(Kind.DIFFERING, self._differing),))

    async def _take(self, bundle: Unpacked) -> None:
        async with self._workers.joining:
            try:
                update = await asyncio.to_thread(self._builder.build, bundle)
            except DocumentError as error:
                self._say_trouble(str(error))
                return
            # Before anybody is answered from it: what was said once is never taken back by a restart.
            await asyncio.to_thread(self._memory.keep, bundle.serial)
            self._workers.put(update)
        changed = len(update.changed)
        self._log.info("bundle", revision=bundle.revision, changed=changed, gone=len(update.gone))

    def _say_trouble(self, said: str) -> None:
        if said != self._trouble:
            self._trouble = said
            if said:
                self._log.error("bundle not taken: what is loaded goes on", error=said)
            else:
                self._log.info("bundle taken again")

    def _settings_for(self, number: int) -> bytes:
        said, log = self._settings, self._settings.log
        settings = WorkerSettings(
            number=number,
            host=self._host,
            port=self._port,
            version=self._version,
            json=self._json,
            opa=said.opa,
            controller=said.controller,
            auth=said.auth.model_dump_json().encode() if said.auth.required else b"",
            fetch=said.fetch.model_dump_json().encode(),
            log=None if log is None else LogSettings(log.to, log.token, log.mask, log.drop, log.waiting_bytes),
        )
        return pickle.dumps(settings)
