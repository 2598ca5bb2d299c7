"""The embedded engine's child process: rego-cpp behind length-prefixed JSON on standard input and output.

A process of its own, since native code that loops or crashes must not take the controller with it. It is started
by file name and imports nothing of policyd: the interpreter must be loaded before other native libraries.

    -> {"load": {"digest", "modules": [[path, text]], "query"}}     <- {"ok": version}
    -> {"judge": {"digest", "input"}}                               <- {"result": value} or {"error": text}
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import struct
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

from regopy import Input, Interpreter


class _Judge:
    """One interpreter with one prepared bundle."""

    def __init__(self) -> None:
        self._digest = ""
        self._interpreter: Any = None
        self._plan: Any = None

    def load(self, order: dict[str, Any]) -> dict[str, Any]:
        interpreter = Interpreter()
        interpreter.strict_built_in_errors = True
        for path, text in order["modules"]:
            interpreter.add_module(path, text)
        plan = interpreter.build(f"x = {order['query']}", [])
        if not plan.ok():
            return {"error": "the rules do not compile"}
        self._digest, self._interpreter, self._plan = order["digest"], interpreter, plan
        return {"ok": importlib.metadata.version("regopy")}

    def judge(self, order: dict[str, Any]) -> dict[str, Any]:
        if order["digest"] != self._digest:
            return {"error": f"bundle {order['digest']} is not loaded"}
        self._interpreter.set_input(Input(order["input"]))
        try:
            output = self._interpreter.query_bundle(self._plan)
        except json.JSONDecodeError:
            return {"error": "a rule failed, or said something that is not JSON"}
        if not output.ok():
            return {"error": str(output)}
        if not output.results or "x" not in output.results[0].bindings:
            return {"error": "the rules gave no answer"}
        return {"result": output.results[0].bindings["x"]}


def _read(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    head = stream.read(4)
    if len(head) < 4:
        return None
    body = stream.read(struct.unpack(">I", head)[0])
    message: dict[str, Any] = json.loads(body)
    return message, body


def _write(stream: BinaryIO, message: dict[str, Any]) -> None:
    body = json.dumps(message, ensure_ascii=False).encode()
    stream.write(struct.pack(">I", len(body)) + body)
    stream.flush()


def main() -> None:
    """Answer until standard input ends."""
    # The interpreter prints its complaints to standard output, into the middle of our frames.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    judge = _Judge()
    verbs: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"load": judge.load, "judge": judge.judge}
    gc.disable()  # what is read and built here has no cycles, and is a lot
    while (read := _read(sys.stdin.buffer)) is not None:
        message, body = read
        ((verb, order),) = message.items()
        try:
            if verb == "judge" and b"\\" in body:
                # Strings reach the interpreter verbatim: one with a quote could end its literal and forge results.
                # JSON escapes such a string; one that is encoded needs no escapes.
                raise ValueError("a string of the input is not encoded")
            answer = verbs[verb](order)
        except Exception as error:  # every failure is an answer; the parent decides
            answer = {"error": f"{type(error).__name__}: {error}"}
        _write(answers, answer)


if __name__ == "__main__":
    main()
