"""Child processes that end with us: started in order, watched, stopped in reverse.

Each child gets its own process group and a log file; only processes that were started here are ever signalled. The
kernel is asked to end a child whose parent dies (`PR_SET_PDEATHSIG`), so that even a killed demonstration leaves
nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from policyd.base.errors import Stalled

_TETHER = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG of linux/prctl.h
if os.getppid() != int(sys.argv[1]):  # the parent died before the kernel was told
    os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
# A program of its own and not a `preexec_fn`: that one runs between fork and exec, where the fork handlers of gRPC
# (which a parent may have loaded) find their descriptors closed and abort the child.


@dataclass(frozen=True, slots=True)
class Child:
    """A running process, what it is called, and where it writes."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.returncode is None

    def last_words(self, lines: int = 5) -> str:
        """The end of its log, for an error message."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Processes:
    """The children of one demonstration."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parent = os.getpid()
        self._children: list[Child] = []

    async def start(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Child:
        """Start a child that logs to `<folder>/<name>.log`. Raises `Stalled` if there is no such program."""
        program = shutil.which(argv[0])
        if program is None:
            raise Stalled(f"`{argv[0]}` is not here")
        tethered = (sys.executable, "-I", "-S", "-c", _TETHER, str(self._parent), program, *argv[1:])
        log = self._folder / f"{name}.log"
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *tethered,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=dict(env) if env is not None else None,
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child

    def check(self) -> None:
        """Raise `Stalled`, with the last lines of its log, if any child has ended by itself."""
        for child in self._children:
            if not child.alive:
                status, words = child.process.returncode, child.last_words(12)
                raise Stalled(f"`{child.name}` ended with status {status}, its last words:\n{words}")

    async def stop(self, child: Child, *, kill: bool = False) -> None:
        """End one child: ask first (unless `kill`), insist after five seconds."""
        self._children.remove(child)
        await _end(child, kill=kill)

    async def stop_all(self) -> None:
        """End every child, the last started first."""
        while self._children:
            await _end(self._children.pop(), kill=False)


async def _end(child: Child, *, kill: bool) -> None:
    if not child.alive:
        return
    with contextlib.suppress(ProcessLookupError):
        child.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
    try:
        await asyncio.wait_for(child.process.wait(), timeout=5.0)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.process.kill()
        await child.process.wait()
