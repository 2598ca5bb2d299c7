"""Real Envoys as sidecars: static bootstraps of compiled resources."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import httpx

from policyd.compiler.memo import Memo
from policyd.compiler.protocol import ListenAddress
from policyd.model.node import Node
from policyd_compilers.envoy import COMPILER, static
from policyd_compilers.envoy.render import to_yaml
from tests.compilers.world import RealMesh


@dataclass(frozen=True)
class Envoys:
    """Starts Envoys."""

    binary: Path

    def start(self, world: RealMesh, node: Node, memo: Memo) -> subprocess.Popen[bytes]:
        """One Envoy; its standard output is the access log."""
        compiled = COMPILER.compile(world.mesh, node, memo)
        message = static.bootstrap(
            compiled.artifacts,
            node,
            ListenAddress(path=str(socket_of(world, node))),
            world.authority.secrets(node.service),
        )
        stem = node.id.replace("/", "_")
        config, log = world.folder / f"{stem}.yaml", world.folder / f"{stem}.log"
        config.write_text(to_yaml(message))
        world.logs[node.id] = log
        arguments = ["-c", str(config), "--disable-hot-restart", "--concurrency", "1", "--log-level", "warn"]
        arguments += ["--file-flush-interval-msec", "20"]
        with log.open("wb") as out, (world.folder / f"{stem}.err").open("wb") as err:
            return subprocess.Popen([self.binary, *arguments], stdout=out, stderr=err)

    def content(self, world: RealMesh, node: Node) -> bool:
        """An instance that was not asked yet counts as failed for Envoy."""
        transport = httpx.HTTPTransport(uds=str(socket_of(world, node)))
        with httpx.Client(transport=transport, base_url="http://admin") as admin:
            clusters = admin.get("/clusters", params={"format": "json"}).json()["cluster_statuses"]
        hosts = (host for cluster in clusters for host in cluster.get("host_statuses", ()))
        return not any(host["health_status"].get("failed_active_health_check") for host in hosts)


def socket_of(world: RealMesh, node: Node) -> Path:
    """Where the Envoy of a node answers questions about itself."""
    return world.folder / f"{node.id.replace('/', '_')}.sock"
