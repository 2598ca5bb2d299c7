"""Real Envoys, one beside every instance, started from the bootstrap that the compiler writes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable
from pathlib import Path

import httpx

from policyd.base.errors import Stalled, UsageError
from policyd.compiler.protocol import Bootstraps, Compiler, ListenAddress
from policyd.delivery.binaries import envoy_command
from policyd.demo.processes import Child, Processes
from policyd.model.node import Node

ADMIN = "{service}-{version}-{address}.sock"
"""Each sidecar's admin socket, in the folder of sockets; the controller's settings carry the same template."""


class Sidecars:
    """The proxies of one mesh on this machine."""

    def __init__(self, binary: Path, compiler: Compiler, folder: Path, processes: Processes) -> None:
        if not isinstance(compiler, Bootstraps):
            raise UsageError(f"the proxies of `{compiler.name}` are not started from a bootstrap")
        self._binary = binary
        self._compiler = compiler
        self._folder = folder
        self._processes = processes
        self._running: dict[str, Child] = {}

    @property
    def admin_template(self) -> str:
        """The `admin` setting of a controller that watches these sidecars."""
        return f"unix:{self._folder / ADMIN}"

    def socket(self, name: str) -> Path:
        """The admin socket of the sidecar that is called `<service>-<version>-<address>`."""
        return self._folder / f"{name}.sock"

    async def start(self, nodes: Iterable[Node], xds: str) -> None:
        """Start an Envoy for each node; they take their configuration from the controller at `xds`."""
        for node in nodes:
            await self.start_one(node, xds)

    async def start_one(self, node: Node, xds: str) -> Child:
        """Start the Envoy of one node."""
        name = f"{node.service.name}-{node.version}-{node.endpoint.address}"
        bootstrap = self._folder / f"{name}.yaml"
        admin = self.socket(name)
        host, _, port = xds.rpartition(":")
        text = self._compiler.bootstrap(node, ListenAddress(host, int(port)), ListenAddress(path=str(admin)))
        await asyncio.to_thread(bootstrap.write_bytes, text)
        command = envoy_command(self._binary, bootstrap, concurrency=1)
        child = await self._processes.start(f"envoy-{name}", command)
        self._running[node.id] = child
        return child

    async def waiting_for_health(self) -> str:
        """Which sidecar has not found an instance well that it calls, in words; empty when there is none."""
        for name in sorted(child.name.removeprefix("envoy-") for child in self._running.values()):
            transport = httpx.AsyncHTTPTransport(uds=str(self.socket(name)))
            try:
                async with httpx.AsyncClient(transport=transport, base_url="http://envoy") as admin:
                    clusters = (await admin.get("/clusters", params={"format": "json"})).json()["cluster_statuses"]
            except httpx.TransportError as error:
                return f"`{name}` does not answer: {type(error).__name__}"
            for cluster in clusters:
                for host in cluster.get("host_statuses", ()):
                    if host["health_status"].get("failed_active_health_check"):
                        return f"`{name}` has not found `{cluster['name']}` well"
        return ""

    def signal(self, node_id: str, number: signal.Signals) -> None:
        """Send a signal to one Envoy, such as SIGSTOP to let it hang. Raises `Stalled` if it does not run."""
        child = self._running.get(node_id)
        if child is None:
            raise Stalled(f"no sidecar runs for `{node_id}`")
        child.process.send_signal(number)

    async def kill(self, node_id: str) -> None:
        """End one Envoy at once, as a crash would. Raises `Stalled` if it does not run."""
        child = self._running.pop(node_id, None)
        if child is None:
            raise Stalled(f"no sidecar runs for `{node_id}`")
        await self._processes.stop(child, kill=True)

    def __len__(self) -> int:
        return len(self._running)
