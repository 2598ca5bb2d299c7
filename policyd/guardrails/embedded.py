"""The embedded engine: regopy in a child process with a deadline, for machines without OPA.

The child holds one prepared bundle. When it does not answer in time it is killed, and the next question starts a
new one: a rule that loops costs one deadline, never the controller.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

from policyd.base.errors import Retry, Stalled
from policyd.guardrails.bundle import ENTRY_QUERY, Bundle
from policyd.guardrails.complaints import readable
from policyd.guardrails.engine import AGAIN_S, Json

_WORKER = Path(__file__).with_name("worker.py")


class EmbeddedEngine:
    """Rego without OPA. `deadline_s` bounds one evaluation, start of the child and loading of rules included."""

    name = "embedded"

    def __init__(self, *, deadline_s: float = 20.0) -> None:
        self._deadline_s = deadline_s
        self._child: asyncio.subprocess.Process | None = None
        self._loaded = ""
        self._version = ""
        self._turn = asyncio.Lock()

    @property
    def version(self) -> str:
        """The version of regopy; empty until the engine has answered once."""
        return self._version

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._child.pid if self._child is not None else None

    async def evaluate(self, bundle: Bundle, document: Json) -> Json:
        """Judge `document`; see `Engine.evaluate`."""
        async with self._turn:
            try:
                async with asyncio.timeout(self._deadline_s):
                    return await self._judge(bundle, document)
            except TimeoutError:
                await self.close()
                raise Retry(
                    f"the embedded policy engine gave no answer within {self._deadline_s:g} s",
                    after=AGAIN_S,
                    hint="look for a rule that loops, or raise the deadline",
                ) from None
            except (OSError, asyncio.IncompleteReadError):
                await self.close()
                raise Retry("the embedded policy engine ended without an answer", after=AGAIN_S) from None
            except BaseException:
                # Cancelled or broken in the middle of an exchange: the next answer would be to this question.
                await self.close()
                raise

    async def close(self) -> None:
        """End the child process."""
        child, self._child, self._loaded = self._child, None, ""
        if child is None:
            return
        if child.stdin is not None:
            child.stdin.close()
        if child.returncode is None:
            child.kill()
        await child.wait()

    async def _judge(self, bundle: Bundle, document: Json) -> Json:
        child = await self._started()
        if self._loaded != bundle.digest:
            modules = [[module.path, module.text] for module in (*bundle.modules, bundle.entry)]
            order = {"digest": bundle.digest, "modules": modules, "query": ENTRY_QUERY}
            self._version = _answer(await _exchange(child, {"load": order}), "ok", bundle)
            self._loaded = bundle.digest
        reply = await _exchange(child, {"judge": {"digest": bundle.digest, "input": document}})
        result: Json = _answer(reply, "result", bundle)
        return result

    async def _started(self) -> asyncio.subprocess.Process:
        if self._child is None or self._child.returncode is not None:
            self._loaded = ""
            # `-I`: neither the environment nor the working directory can put code into the child.
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                str(_WORKER),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={key: os.environ[key] for key in ("LANG", "LC_ALL", "LD_LIBRARY_PATH") if key in os.environ},
            )
        return self._child


def _answer(reply: Json, field: str, bundle: Bundle) -> Any:
    if field not in reply:
        said = readable(str(reply.get("error", "no reason given")), bundle.modules)
        raise Stalled(
            f"the embedded policy engine could not judge: {said}",
            hint="`opa check --strict rego/` finds most mistakes; `guardrails: {engine: opa}` reads all of Rego",
        )
    return reply[field]


async def _exchange(child: asyncio.subprocess.Process, message: Json) -> Json:
    if child.stdin is None or child.stdout is None:
        raise OSError("the child has no pipes")
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    child.stdin.write(struct.pack(">I", len(body)) + body)
    await child.stdin.drain()
    (length,) = struct.unpack(">I", await child.stdout.readexactly(4))
    reply: Json = json.loads(await child.stdout.readexactly(length))
    return reply
