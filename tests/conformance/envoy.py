"""A real Envoy as the sidecar of every service of many meshes: a listener for each, compiled as for its own Envoy."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from policyd.compiler.memo import Memo
from policyd.compiler.naming import INBOUND
from policyd.compiler.protocol import ListenAddress
from policyd.model.mesh import Mesh
from policyd.model.node import Node, nodes
from policyd_compilers.envoy import COMPILER, static
from policyd_compilers.envoy.render import to_yaml
from tests.compilers.world import Authority, serving_application
from tests.conformance.issuers import Issuers
from tests.conformance.meshes import WEB
from tests.conformance.proxy import Callers, Proxy, placed, wait_for


@contextmanager
def running(
    binary: Path, meshes: Sequence[Mesh], folder: Path, callers: Callers, issuers: Issuers
) -> Iterator[Proxy]:
    """An Envoy that stands before every service of the meshes, and one application behind all of them."""
    where = placed(meshes)
    chosen = [(mesh, node) for mesh in where for node in nodes(mesh)]
    config, log = folder / "envoy.yaml", folder / "envoy.log"
    config.write_text(to_yaml(_bootstrap(chosen, callers.authority)))
    arguments = ["-c", str(config), "--disable-hot-restart", "--concurrency", "1", "--log-level", "warn"]
    with serving_application(chosen[0][1]), log.open("wb") as err:
        process = subprocess.Popen([binary, *arguments], stdout=subprocess.DEVNULL, stderr=err)
        try:
            for _, node in chosen:
                wait_for((node.endpoint.address, where[0].settings.inbound_port), process, log)
            yield Proxy(where, callers, issuers)
        finally:
            process.kill()
            process.wait()


def _bootstrap(chosen: Sequence[tuple[Mesh, Node]], authority: Authority) -> Any:
    """The bootstrap of the first sidecar, with the inbound listeners of all the others."""
    memo, secrets, whole = Memo(), authority.secrets(WEB), None
    for number, (mesh, node) in enumerate(chosen):
        artifacts = COMPILER.compile(mesh, node, memo).artifacts
        message = static.bootstrap(artifacts, node, ListenAddress("127.0.0.1", 0), secrets)
        (inbound,) = [each for each in message.static_resources.listeners if each.name == INBOUND]
        inbound.name = f"{INBOUND}-{number}"
        if whole is None:
            whole = message
            del whole.static_resources.listeners[:]
        whole.static_resources.listeners.append(inbound)
    return whole
