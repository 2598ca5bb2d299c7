"""Real Envoys that take what they run from a real xDS server, so that a test can change it under live connections."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from policyd.base.clock import SystemClock
from policyd.compiler.memo import Memo
from policyd.compiler.protocol import ListenAddress, Secrets
from policyd.delivery.binaries import envoy_command
from policyd.delivery.ledger import Ledger
from policyd.delivery.snapshot import NodeSnapshot
from policyd.delivery.xds.secrets import certificate_secret, svid_secret, trust_bundle_secret
from policyd.delivery.xds.server import XdsServer
from policyd.model.mesh import Mesh
from policyd.model.node import Node
from policyd_compilers.envoy import COMPILER
from tests.compilers.envoy.proxies import Envoys, socket_of
from tests.compilers.world import Authority, RealMesh

T = TypeVar("T")
PATIENCE_S = 20.0


@dataclass
class LiveEnvoys:
    """Starts Envoys that ask the server of this object; `serve` gives them another mesh."""

    binary: Path
    _loop: asyncio.AbstractEventLoop
    _server: XdsServer
    _memo: Memo = field(default_factory=Memo)
    _secrets: dict[str, Secrets] = field(default_factory=dict)
    _nodes: list[Node] = field(default_factory=list)
    shown: dict[str, bytes] = field(default_factory=dict)
    """Certificates with their keys (PEM) that gateways have, by name."""

    def start(self, world: RealMesh, node: Node, memo: Memo) -> subprocess.Popen[bytes]:
        """One Envoy, started as the demo starts them; its standard output is the access log."""
        self._nodes.append(node)
        self._secrets[node.id] = world.authority.secrets(node.service)
        host, _, port = self._server.address.rpartition(":")
        stem = node.id.replace("/", "_")
        config, log = world.folder / f"{stem}.yaml", world.folder / f"{stem}.log"
        admin = ListenAddress(path=str(socket_of(world, node)))
        config.write_bytes(COMPILER.bootstrap(node, ListenAddress(host, int(port)), admin))
        world.logs[node.id] = log
        command = [*envoy_command(self.binary, config, 1), "--file-flush-interval-msec", "20"]
        with log.open("wb") as out, (world.folder / f"{stem}.err").open("wb") as err:
            process = subprocess.Popen(command, stdout=out, stderr=err)
        self._await(self._server.wait_connected([node.id], PATIENCE_S))
        self.serve(world.mesh, [node])
        return process

    def content(self, world: RealMesh, node: Node) -> bool:
        """As static ones are."""
        return Envoys(self.binary).content(world, node)

    def serve(
        self, mesh: Mesh, nodes: Sequence[Node] = (), *, roots: bytes = b"", authority: Authority | None = None
    ) -> None:
        """Give every Envoy what `mesh` means for it; return when all have acknowledged.

        `roots`: another bundle. `authority`: from now on, who signs its leaf and makes its bundle.
        """
        assignment = {}
        for node in nodes or self._nodes:
            if authority is not None:
                self._secrets[node.id] = authority.secrets(node.service)
            secrets = self._secrets[node.id]
            artifacts = [
                *COMPILER.compile(mesh, node, self._memo).artifacts,
                svid_secret(secrets.certificate_chain, secrets.private_key),
                trust_bundle_secret(roots or secrets.roots),
            ]
            if mesh.services[node.service].gateway is not None:
                artifacts += [certificate_secret(name, pair, pair) for name, pair in self.shown.items()]
            assignment[node.id] = NodeSnapshot.of(node.id, artifacts)
        outcome = self._await(self._server.apply(assignment, PATIENCE_S))
        assert type(outcome).__name__ == "Applied", outcome

    def cut_off(self) -> None:
        """End the control plane: from now on the Envoys have only what they hold."""
        self._await(self._server.stop())

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S * 2)


@contextmanager
def live(binary: Path) -> Iterator[LiveEnvoys]:
    """A running xDS server, on a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = XdsServer("127.0.0.1:0", SystemClock(), Ledger())
    found = LiveEnvoys(binary, loop, server)
    try:
        found._await(server.start())
        yield found
        found._await(server.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
