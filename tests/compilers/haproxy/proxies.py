"""Real HAProxies as sidecars: each in a folder of its compiled files, with its SVID beside them."""

from __future__ import annotations

import csv
import socket
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

    def content(self, world: RealMesh, node: Node) -> bool:
        """A server that was not asked yet counts as up for HAProxy, and falls with its first check."""
        try:
            rows = statistics(world, node.id)
        except (FileNotFoundError, ConnectionRefusedError):
            return False  # it has not begun to listen
        checked = [row for row in rows if row["check_status"]]
        return all(row["status"] == "UP" and row["check_status"] in {"L7OK", "L4OK"} for row in checked)


def asked(world: RealMesh, node_id: str, command: str) -> str:
    """What the proxy's own socket says."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(folder_of(world, node_id) / STATS))
        connection.sendall(command.encode() + b"\n")
        said = b""
        while piece := connection.recv(65_536):
            said += piece
    return said.decode()


def statistics(world: RealMesh, node_id: str) -> list[dict[str, str]]:
    """A row for every frontend, backend and server."""
    return list(csv.DictReader(asked(world, node_id, "show stat").lstrip("# ").splitlines()))


def folder_of(world: RealMesh, node_id: str) -> Path:
    return world.folder / node_id.replace("/", "_")


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir()
    for name, body in files.items():
        (folder / name).write_bytes(body)
