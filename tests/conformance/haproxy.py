"""A real HAProxy as the sidecar of every service of many meshes: a frontend for each, as compiled for its own."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from policyd.compiler.memo import Memo
from policyd.compiler.naming import APP, INBOUND
from policyd.model.mesh import Mesh
from policyd.model.node import Node, nodes
from policyd_compilers.haproxy import COMPILER
from policyd_compilers.haproxy.names import INBOUND_FILE, PROCESS
from policyd_compilers.haproxy.validation import secret_files
from tests.compilers.world import serving_application
from tests.conformance.issuers import Issuers
from tests.conformance.meshes import WEB
from tests.conformance.proxy import Callers, Proxy, placed, wait_for

_SECTIONS = re.compile(rf"^(frontend {INBOUND}|backend {APP}|    default_backend {APP})$", re.MULTILINE)
_MACHINE = b"global\n    nbthread 1\n    maxconn 2000\n"


@contextmanager
def running(
    binary: Path, meshes: Sequence[Mesh], folder: Path, callers: Callers, issuers: Issuers
) -> Iterator[Proxy]:
    """A HAProxy that stands before every service of the meshes, and one application behind all of them."""
    where = placed(meshes)
    chosen = [(mesh, node) for mesh in where for node in nodes(mesh)]
    config, log = folder / "haproxy", folder / "haproxy.log"
    config.mkdir(exist_ok=True)
    for name, body in _files(chosen, callers).items():
        (config / name).write_bytes(body)
    with serving_application(chosen[0][1]), log.open("wb") as out:
        process = subprocess.Popen([binary, "-db", "-f", config], stdout=out, stderr=subprocess.STDOUT)
        try:
            for _, node in chosen:
                wait_for((node.endpoint.address, where[0].settings.inbound_port), process, log)
            yield Proxy(where, callers, issuers)
        finally:
            process.kill()
            process.wait()


def _files(chosen: Sequence[tuple[Mesh, Node]], callers: Callers) -> dict[str, bytes]:
    """One process, and the frontends of all; the names of sections, which are each node's own, are numbered."""
    memo, whole, inbound = Memo(), b"", []
    for number, (mesh, node) in enumerate(chosen):
        files = {each.name: each.body for each in COMPILER.compile(mesh, node, memo).artifacts}
        text, found = _SECTIONS.subn(rf"\1-{number}", files[INBOUND_FILE].decode())
        assert found == len(("frontend", "backend", "default_backend"))
        whole = files[PROCESS]
        inbound.append(text)
    made = {"00-machine.cfg": _MACHINE, PROCESS: whole, INBOUND_FILE: "\n".join(inbound).encode()}
    return made | dict(secret_files(callers.authority.secrets(WEB)))
