"""A real OPA server for a test: started on a free port, asked over HTTP, ended with the test."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from policyd.demo.world import free_port

PATIENCE_S = 30.0


@contextlib.contextmanager
def opa_server(binary: Path, folder: Path, *arguments: str) -> Iterator[httpx.Client]:
    """`opa run --server` with more arguments; ready to answer. Raises `OpaRefusedError` where it ends instead."""
    address = f"127.0.0.1:{free_port()}"
    argv: Sequence[str] = (str(binary), "run", "--server", "--addr", address, "--disable-telemetry", *arguments)
    log = folder / "opa.log"
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, cwd=folder, env={})
    try:
        with httpx.Client(base_url=f"http://{address}", trust_env=False) as client:
            _wait(client, process, log)
            yield client
    finally:
        process.kill()
        process.wait()


class OpaRefusedError(Exception):
    """It did not start; the message is what it said."""


def _wait(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        if process.poll() is not None:
            raise OpaRefusedError(log.read_text())
        with contextlib.suppress(httpx.TransportError):
            if client.get("/health").status_code == 200:
                return
        time.sleep(0.02)
    raise OpaRefusedError(f"no answer: {log.read_text()}")
