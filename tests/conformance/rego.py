"""The reference Rego in the two engines that run it: a real OPA, and the embedded one."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from policyd.decisions.document import document
from policyd.guardrails.bundle import Bundle, Module, shipped_folder
from policyd.guardrails.embedded import EmbeddedEngine
from policyd.guardrails.encoding import encode
from policyd.model.mesh import Mesh
from tests.conformance.engines import Answer
from tests.conformance.sent import Sent

PACKAGE = "policyd.authz"
QUERY = "/v1/data/conformance/answers"
_HARMLESS = {ord('"'): "'", ord("\\"): "-"}
BATCH = Path(__file__).with_name("requests.rego")


def reference() -> Path:
    """Where the reference is."""
    return shipped_folder() / "policyd" / "authz"


class OpaEngine:
    """A real OPA, whose data is the mesh. A rule that fails is an error here, where it would be a refusal in use."""

    name = "opa"

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def answers(self, mesh: Mesh, sent: Sequence[Sent], at: datetime) -> list[Answer]:
        """See `Engine.answers`. Now is `at`, since the floor is."""
        self._client.put("/v1/data/mesh", json=document(mesh, at)).raise_for_status()
        asked = {"input": {"requests": [each.input for each in sent]}}
        reply = self._client.post(f"{QUERY}?strict-builtin-errors=true", json=asked)
        assert reply.status_code == 200, reply.text
        result = reply.json()["result"]
        assert len(result) == len(sent), "a decision is undefined"
        return [_answer(each) for each in result]


@contextmanager
def opa_server(binary: Path, folder: Path, authz: Path | None = None) -> Iterator[OpaEngine]:
    """An OPA with the reference (or with what is in the folder `authz`), until the end of the block."""
    address, log = folder / "opa.sock", folder / "opa.log"
    arguments = ["run", "--server", "--addr", f"unix://{address}", "--disable-telemetry", str(authz or reference())]
    with log.open("wb") as out:
        process = subprocess.Popen([binary, *arguments, str(BATCH)], stdout=out, stderr=out, env={}, cwd=folder)
    try:
        _wait_for(address, process, log)
        transport = httpx.HTTPTransport(uds=str(address))
        with httpx.Client(base_url="http://opa", transport=transport, timeout=60) as client:
            yield OpaEngine(client)
    finally:
        process.kill()
        process.wait()


def _wait_for(address: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(str(address))
            return
        time.sleep(0.02)  # the kernel offers no event for "somebody listens now"
    raise AssertionError(log.read_text())


class Embedded:
    """The embedded engine, in its child process; the mesh is one more module."""

    name = "embedded"

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._engine = EmbeddedEngine(deadline_s=60)
        self._modules = [
            Module(path.name, path.read_text(encoding="utf-8"))
            for path in sorted(reference().glob("*.rego"))
            if not path.name.endswith("_test.rego")
        ]

    def answers(self, mesh: Mesh, sent: Sequence[Sent], at: datetime) -> list[Answer]:
        """See `Engine.answers`."""
        said: Mapping[str, Any] = encode(document(mesh, at))
        lines = [f"{name} := {json.dumps(value, ensure_ascii=False)}" for name, value in said.items()]
        module = Module("mesh.rego", "package mesh\n\n" + "\n\n".join(lines) + "\n")
        bundle = Bundle((*self._modules, module), (PACKAGE,))
        return [
            _answer(self._loop.run_until_complete(self._engine.evaluate(bundle, _plain(mesh, each)))[PACKAGE])
            for each in sent
        ]

    def close(self) -> None:
        """End the child process."""
        self._loop.run_until_complete(self._engine.close())
        self._loop.close()


def _plain(mesh: Mesh, sent: Sent) -> Mapping[str, Any]:
    """The input as it travels to the embedded engine.

    Quotes and backslashes get there as other characters, which is the same to every comparison. In a query, and in an
    opaque path, which are compared with nothing, they have to be characters that may stand there.
    """
    service = mesh.services.get(sent.destination)
    path, mark, query = sent.path.partition("?")
    if service is not None and service.opaque_paths:
        path = path.translate(_HARMLESS)
    asked: Mapping[str, Any] = encode({**sent.input, "path": path + mark + query.translate(_HARMLESS)})
    return asked


def _answer(said: Mapping[str, Any]) -> Answer:
    assert said["allow"] is (said["outcome"] == "allow") is (said["status"] == 200)
    assert (said["outcome"] == "reject") is (said["status"] == 400)
    return Answer(said["status"], said["rule"], said["reason"], said["would"])
