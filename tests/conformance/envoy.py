"""A real Envoy that is the sidecar of every service of many meshes, reached with real client certificates.

Each service has a listener at an address of its own, compiled as for its own Envoy. So one process judges all that a
run has drawn.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from policyd.compiler.memo import Memo
from policyd.compiler.naming import INBOUND
from policyd.compiler.protocol import ListenAddress
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.node import Node, nodes
from policyd.model.service import Endpoint, Service, Version
from policyd_compilers.envoy import COMPILER, static
from policyd_compilers.envoy.render import to_yaml
from tests.compilers.world import Authority, Connection, loopback, serving_application
from tests.conformance.issuers import Issuers
from tests.conformance.meshes import DOMAIN, WEB
from tests.conformance.sent import Sent

MESHES = 50
"""As many as have addresses in the net of one process."""


@dataclass(frozen=True)
class Judged:
    """What the proxy answered, and the instants between which it decided."""

    status: int
    began: datetime
    ended: datetime


class Callers:
    """Client certificates of one run: every identity that ever calls has one, signed by the mesh's root."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(DOMAIN)
        self._folder = folder
        self._known: dict[str, ssl.SSLContext] = {}

    def tls(self, identity: str) -> ssl.SSLContext:
        """What a client of that identity brings to a handshake."""
        known = self._known.get(identity)
        if known is None:
            secrets = self.authority.secrets(WEB, identity)
            pem = self._folder / f"caller-{len(self._known)}.pem"
            pem.write_bytes(secrets.certificate_chain + secrets.private_key)
            known = self._known[identity] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            known.check_hostname = False
            known.load_verify_locations(cadata=secrets.roots.decode())
            known.load_cert_chain(pem)
        return known


class Proxy:
    """One Envoy for some meshes; `judge` sends requests to one of them by its number."""

    def __init__(self, meshes: Sequence[Mesh], callers: Callers, issuers: Issuers) -> None:
        self._meshes, self._callers, self._issuers = meshes, callers, issuers

    def judge(self, number: int, sent: Sequence[Sent]) -> list[Judged]:
        """What becomes of the requests, in order. One connection serves all of the same caller to a destination."""
        judged: dict[int, Judged] = {}
        by_caller: dict[tuple[Name, str, str], list[int]] = {}
        for at, each in enumerate(sent):
            by_caller.setdefault((each.destination, each.source, each.ip), []).append(at)
        for (destination, source, ip), positions in by_caller.items():
            settings = self._meshes[number].settings
            endpoint = self._meshes[number].services[destination].versions[0].endpoints[0]
            address = (endpoint.address, settings.inbound_port)
            with Connection(address, self._callers.tls(source), coming_from=ip) as connection:
                for at in positions:
                    began = datetime.now(UTC)
                    status = connection.send_as_it_is(sent[at].method, self._raw(sent[at])).status
                    judged[at] = Judged(status, began, datetime.now(UTC))
        return [judged[at] for at in range(len(sent))]

    def _raw(self, sent: Sent) -> bytes:
        lines = [f"{sent.method} {sent.path} HTTP/1.1", *(f"host: {host}" for host in sent.hosts)]
        lines += [f"{name}: {value}" for name, value in sent.headers]
        lines += [f"authorization: {value}" for value in self._issuers.authorization(sent.token, sent.forged)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


@contextmanager
def running(
    binary: Path, meshes: Sequence[Mesh], folder: Path, callers: Callers, issuers: Issuers
) -> Iterator[Proxy]:
    """An Envoy that stands before every service of the meshes, and one application behind all of them."""
    placed = _placed(meshes)
    chosen = [(mesh, node) for mesh in placed for node in nodes(mesh)]
    config, log = folder / "envoy.yaml", folder / "envoy.log"
    config.write_text(to_yaml(_bootstrap(chosen, callers.authority)))
    arguments = ["-c", str(config), "--disable-hot-restart", "--concurrency", "1", "--log-level", "warn"]
    with serving_application(chosen[0][1]), log.open("wb") as err:
        process = subprocess.Popen([binary, *arguments], stdout=subprocess.DEVNULL, stderr=err)
        try:
            for _, node in chosen:
                _wait_for((node.endpoint.address, placed[0].settings.inbound_port), process, log)
            yield Proxy(placed, callers, issuers)
        finally:
            process.kill()
            process.wait()


def _placed(meshes: Sequence[Mesh]) -> list[Mesh]:
    """The meshes with every service at an address of its own, and the same application behind each."""
    net = loopback(os.getpid() + 60)
    numbers = iter(range(1, 250))

    def service(of: Service) -> Service:
        endpoint = Endpoint(f"{net}{next(numbers)}", f"{net}254", 8_080)
        return replace(of, versions=(Version("v1", (endpoint,)),))

    return [replace(mesh, services={name: service(each) for name, each in mesh.services.items()}) for mesh in meshes]


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


def _wait_for(address: tuple[str, int], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(address, timeout=1).close()
        except OSError:
            time.sleep(0.02)  # the kernel offers no event for "somebody listens now"
        else:
            return
    raise AssertionError(log.read_text())
