"""The controller's own decision server: a child that follows the controller's bundle, started again when it ends.

The child is tethered: the kernel ends it with the controller, however that ends. It is told its settings, and a token
that is made for each start, in a file that only we may read.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import structlog

from policyd.api.credentials import Token
from policyd.api.decide_settings import Decide
from policyd.base.clock import Clock

AGAIN_S = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Before another start, the longer the more have failed."""
LOOK_S = 1.0
WELL_S = 5.0
LASTS_S = 30.0
"""A child that ran for so long did start well."""
END_S = 20.0
_TETHER = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG of linux/prctl.h
if os.getppid() != int(sys.argv[1]):  # the parent died before the kernel was told
    os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class DecisionServer:
    """`policyd decide` beside the controller. `trouble` is told why it does not run, empty words once it does."""

    def __init__(
        self,
        settings: Decide,
        *,
        folder: Path,
        key: Path,
        controller: str,
        clock: Clock,
        trouble: Callable[[str], None],
        floor: Callable[[], datetime | None],
    ) -> None:
        """`controller` is the address of the management API, `key` the public key of its bundles.

        A decision server never takes its floor down, whoever serves it an older bundle; where `floor` goes down since
        a person has accepted the clock, it is started again.
        """
        self._secret = secrets.token_urlsafe(32)
        remember = settings.remember or str(folder / "decide.newest")
        self._settings = settings.model_copy(
            update={
                "token": self._secret,
                "remember": remember,
                "controller": settings.controller or f"http://{controller}",
            }
        )
        self._folder = folder
        self._key = key
        self._bundle = f"http://{controller}/bundles/mesh.tar.gz"
        self._clock = clock
        self._trouble = trouble
        self._floor = floor
        self._child: asyncio.subprocess.Process | None = None
        self._log = structlog.get_logger("decision-server")

    @property
    def token(self) -> Token:
        """What the child shows when it asks for the bundle."""
        return Token(name="policyd decide", sha256=hashlib.sha256(self._secret.encode()).hexdigest())

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._child.pid if self._child is not None else None

    async def keep(self) -> None:
        """Have it run; never ends by itself. When cancelled, the child ends first, and answers whom it has taken."""
        failed = 0
        try:
            while True:
                since = self._clock.monotonic()
                self._child = await self._start()
                watching = asyncio.create_task(self._watch(self._child))
                code = await self._child.wait()
                watching.cancel()
                failed = 0 if self._clock.monotonic() - since > LASTS_S else failed + 1
                self._trouble(f"the decision server ended with {code}: its own words are in the log")
                self._log.error("decision server ended", code=code)
                await self._clock.sleep(AGAIN_S[min(failed, len(AGAIN_S)) - 1])
        finally:
            await self._end()

    async def _watch(self, child: asyncio.subprocess.Process) -> None:
        """Say that all is well once it lasts; end a child whose floor is one that was taken back."""
        since, highest = self._clock.monotonic(), self._floor()
        while True:
            await self._clock.sleep(LOOK_S)
            if self._clock.monotonic() - since > WELL_S:
                self._trouble("")
            floor = self._floor()
            if highest is not None and (floor is None or floor < highest):
                child.terminate()
                return
            highest = floor

    async def _start(self) -> asyncio.subprocess.Process:
        path = self._folder / "decide.json"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(self._settings.model_dump(mode="json", exclude_none=True), file)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _TETHER, str(os.getpid()), sys.executable, "-m", "policyd", "decide"),
            *("--bundle", self._bundle, "--key", str(self._key), "--settings", str(path)),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is None or child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(END_S):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()
