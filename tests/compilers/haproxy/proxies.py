"""Real HAProxies as sidecars: each in a folder of its compiled files, with its SVID beside them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from policyd.compiler.memo import Memo
from policyd.model.node import Node
from policyd_compilers.haproxy import COMPILER
from policyd_compilers.haproxy.validation import secret_files
from tests.compilers.world import RealMesh

STATS = "stats.sock"


@dataclass(frozen=True)
class HAProxies:
    """Starts HAProxies."""

    binary: Path

    def start(self, world: RealMesh, node: Node, memo: Memo) -> subprocess.Popen[bytes]:
        """One HAProxy; its standard output is the access log. What the machine adds stands in a file of its own."""
        compiled = COMPILER.compile(world.mesh, node, memo)
        folder = folder_of(world, node.id)
        machine = f"global\n    nbthread 1\n    stats socket {folder / STATS} mode 600 level operator\n"
        files = {artifact.name: artifact.body for artifact in compiled.artifacts}
        files |= {**secret_files(world.authority.secrets(node.service)), "00-machine.cfg": machine.encode()}
        write(folder, files)
        log = folder / "access.log"
        world.logs[node.id] = log
        with log.open("wb") as out, (folder / "errors.log").open("wb") as err:
            return subprocess.Popen([self.binary, "-db", "-f", folder], stdout=out, stderr=err)


def folder_of(world: RealMesh, node_id: str) -> Path:
    return world.folder / node_id.replace("/", "_")


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir()
    for name, body in files.items():
        (folder / name).write_bytes(body)
