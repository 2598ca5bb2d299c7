"""An `opa` of our own: started on a free loopback port with an empty environment, ended with us.

Only we may talk to it: it asks every caller for a token that is made for each start and kept in a private folder.
What it may take of the machine is bounded: the time of an answer, and memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import secrets
import shutil
import socket
import tempfile
from pathlib import Path

from policyd.base.errors import Retry, Stalled
from policyd.guardrails.bundle import Bundle
from policyd.guardrails.engine import AGAIN_S, Json
from policyd.guardrails.opa import OpaEngine

_STARTS = 3
"""A port that was free may be taken before OPA binds it."""
_POLL_S = 0.02
MEMORY = 2 << 30
"""Bytes of data; 2,000 documents and all our rules take a twentieth of it."""
_AUTHZ = 'package system.authz\n\ndefault allow := false\n\nallow if input.identity == "{token}"\n'


class ManagedOpa:
    """Judges with a child process of its own; starts it at the first question, and again when it has died."""

    name = "opa"

    def __init__(self, binary: Path, *, deadline_s: float = 20.0, memory: int = MEMORY) -> None:
        self._binary = binary
        self._deadline_s = deadline_s
        self._memory = memory
        self._child: asyncio.subprocess.Process | None = None
        self._folder: Path | None = None
        self._engine: OpaEngine | None = None
        self._version = ""
        self._turn = asyncio.Lock()

    @property
    def version(self) -> str:
        """OPA's version; empty until it has answered once."""
        return self._version

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._child.pid if self._child is not None else None

    async def evaluate(self, bundle: Bundle, document: Json) -> Json:
        """Judge `document`; see `Engine.evaluate`. A rule that never has enough costs the child its life."""
        async with self._turn:
            engine = await self._started()
            try:
                answer = await engine.evaluate(bundle, document)
            except Retry:
                await self.close()
                raise
            except asyncio.CancelledError:
                await self.close()
                raise
            self._version = engine.version
            return answer

    async def close(self) -> None:
        """End the child process and delete its folder."""
        child, folder = self._child, self._folder
        self._child = self._folder = self._engine = None
        if child is not None:
            if child.returncode is None:
                child.kill()
            await child.wait()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    async def _started(self) -> OpaEngine:
        if self._engine is not None and self._child is not None and self._child.returncode is None:
            return self._engine
        for _ in range(_STARTS):
            await self.close()
            try:
                async with asyncio.timeout(self._deadline_s):
                    engine = await self._start()
            except TimeoutError:
                engine = None
            except OSError as error:
                await self.close()
                raise Stalled(f"`{self._binary}` cannot be started: {error.strerror}") from error
            if engine is not None:
                self._engine = engine
                return engine
        await self.close()
        raise Retry(f"`{self._binary}` does not come up", after=AGAIN_S, hint="run `opa run --server` by hand")

    async def _start(self) -> OpaEngine | None:
        """A running child, or `None` where it ended at once."""
        token, port = secrets.token_urlsafe(32), _free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="policyd-opa-"))
        authz = self._folder / "authz.rego"
        authz.write_text(_AUTHZ.format(token=token), encoding="utf-8")
        self._child = await asyncio.create_subprocess_exec(
            str(self._binary),
            *("run", "--server", "--addr", f"127.0.0.1:{port}", "--disable-telemetry", "--log-level", "error"),
            *("--authentication", "token", "--authorization", "basic", str(authz)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=self._folder,
            env={},
        )
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            resource.prlimit(self._child.pid, resource.RLIMIT_DATA, (self._memory, self._memory))
        while self._child.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(_POLL_S)
                continue
            writer.close()
            await writer.wait_closed()
            return OpaEngine(f"http://127.0.0.1:{port}", token=token, deadline_s=self._deadline_s)
        return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
