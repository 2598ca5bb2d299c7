"""A real `policyd decide` for a test: started on a free port, following a bundle in a file, ended with the test."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec

from policyd.daemon.publishing import reference_rules
from policyd.decisions.bundle import pack, provenance_document
from policyd.decisions.document import document
from policyd.decisions.signature import Signer
from policyd.demo.world import free_port
from policyd.identity.authority import key_pem
from policyd.model.mesh import Mesh
from policyd.model.provenance import Key, Provenance

PATIENCE_S = 30.0
POLL_S = 0.05
"""How often a server looks at its bundle, where a test does not say: what waits for the next one waits for this."""
COMMIT = "c" * 40
SIGNER = Signer(key_pem(ec.generate_private_key(ec.SECP256R1())))


def wait_for(what: Callable[[], bool]) -> None:
    """Return once `what` holds. Raises `AssertionError` where it never does."""
    ends = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < ends, "waited for too long"
        time.sleep(0.01)


@dataclass
class Server:
    """A running server. `folder` holds its bundle (`mesh.tar.gz`), its key and its log."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    said: Path
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=30.0)

    def ask(self, path: str, asked: Any = None, **more: Any) -> Any:
        """What `POST /v1/data/<path>` answers to an input."""
        return self.client.post(f"/v1/data/{path}", json={"input": asked}, **more).json()

    def ready(self, revision: str = "") -> bool:
        """Whether it answers, from that revision."""
        with contextlib.suppress(httpx.TransportError):
            if self.client.get("/health?bundles").status_code != 200:
                return False
            return not revision or self.ask("policyd/authz/commit", {})["result"] == revision
        assert self.process.poll() is None, self.said.read_text()
        return False

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def log(self, name: str = "decisions.log") -> list[dict[str, Any]]:
        """The events in a log of its."""
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def stop(self) -> int:
        """End it in good order; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


def publish(
    folder: Path,
    mesh: Mesh,
    commit: str = COMMIT,
    said: dict[Key, Provenance] | None = None,
    *,
    serial: int = 0,
    **more: Any,
) -> None:
    """Put another bundle where the server looks, at once and whole."""
    packed = pack(
        document(mesh, **more), provenance_document(commit, said or {}), reference_rules(), SIGNER, serial=serial
    )
    (folder / "next").write_bytes(packed.body)
    (folder / "next").rename(folder / "mesh.tar.gz")


@contextlib.contextmanager
def serving(
    folder: Path, *arguments: str, settings: dict[str, Any] | None = None, source: str = "", ready: bool = True
) -> Iterator[Server]:
    """`policyd decide` on the bundle in `folder`, or from `source`."""
    port = free_port()
    (folder / "key.pem").write_bytes(SIGNER.public_pem)
    (folder / "decide.yaml").write_text(json.dumps({"poll_s": POLL_S, **(settings or {})}))
    argv = (
        *(sys.executable, "-m", "policyd", "decide", "--bundle", source or str(folder / "mesh.tar.gz")),
        *("--key", str(folder / "key.pem"), "--settings", str(folder / "decide.yaml")),
        *("--listen", f"127.0.0.1:{port}", *arguments),
    )
    said = folder / "said.txt"
    with said.open("ab") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, cwd=folder, env=dict(os.environ))
    server = Server(folder, port, process, said)
    try:
        if ready:
            wait_for(server.ready)
        yield server
    finally:
        server.client.close()
        if process.poll() is None:
            process.terminate()
        process.wait(PATIENCE_S)
