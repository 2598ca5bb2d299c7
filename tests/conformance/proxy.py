"""Requests to a real proxy that is the sidecar of every service of many meshes, with real client certificates.

    meshes -> placed(...) -> a data plane's `running` (envoy, haproxy) -> Proxy.judge(number, requests) -> Judged

Each service is at an address of its own, so that one process judges all that a run has drawn.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.service import Endpoint, Service, Version
from tests.compilers.world import Authority, Connection, loopback
from tests.conformance.http2 import Http2Connection
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
        self._known: dict[tuple[str, bool], ssl.SSLContext] = {}

    def tls(self, identity: str, *, http2: bool = False) -> ssl.SSLContext:
        """What a client of that identity brings to a handshake, with a wish for HTTP/2 if it has one."""
        known = self._known.get((identity, http2))
        if known is None:
            secrets = self.authority.secrets(WEB, identity)
            pem = self._folder / f"caller-{len(self._known)}.pem"
            pem.write_bytes(secrets.certificate_chain + secrets.private_key)
            known = self._known[identity, http2] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            known.check_hostname = False
            known.load_verify_locations(cadata=secrets.roots.decode())
            known.load_cert_chain(pem)
            if http2:
                known.set_alpn_protocols(["h2"])
        return known


class Proxy:
    """One Envoy for some meshes; `judge` sends requests to one of them by its number."""

    def __init__(self, meshes: Sequence[Mesh], callers: Callers, issuers: Issuers) -> None:
        self._meshes, self._callers, self._issuers = meshes, callers, issuers

    def judge(self, number: int, sent: Sequence[Sent]) -> list[Judged]:
        """What becomes of the requests, in order. One connection serves all of the same caller to a destination."""
        judged: dict[int, Judged] = {}
        by_caller: dict[tuple[Name, str, str, bool], list[int]] = {}
        for at, each in enumerate(sent):
            by_caller.setdefault((each.destination, each.source, each.ip, each.http2), []).append(at)
        for (destination, source, ip, http2), positions in by_caller.items():
            settings = self._meshes[number].settings
            endpoint = self._meshes[number].services[destination].versions[0].endpoints[0]
            address = (endpoint.address, settings.inbound_port)
            tls = self._callers.tls(source, http2=http2)
            with Http2Connection(address, tls, ip) if http2 else Connection(address, tls, coming_from=ip) as way:
                for at in positions:
                    began = datetime.now(UTC)
                    judged[at] = Judged(self._status(way, sent[at]), began, datetime.now(UTC))
        return [judged[at] for at in range(len(sent))]

    def _status(self, way: Connection | Http2Connection, sent: Sent) -> int:
        if isinstance(way, Connection):
            return way.send_as_it_is(sent.method, self._raw(sent)).status
        (host,) = sent.hosts
        asked = [(":method", sent.method), (":scheme", "https"), (":authority", host), (":path", sent.path)]
        return way.status([*asked, *sent.headers, *self._authorized(sent)])

    def _authorized(self, sent: Sent) -> list[tuple[str, str]]:
        return [("authorization", value) for value in self._issuers.authorization(sent.token, sent.forged)]

    def _raw(self, sent: Sent) -> bytes:
        lines = [f"{sent.method} {sent.path} HTTP/1.1", *(f"host: {host}" for host in sent.hosts)]
        lines += [f"{name}: {value}" for name, value in (*sent.headers, *self._authorized(sent))]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def placed(meshes: Sequence[Mesh]) -> list[Mesh]:
    """The meshes with every service at an address of its own, and the same application behind each."""
    net = loopback(os.getpid() + 60)
    numbers = iter(range(1, 250))

    def service(of: Service) -> Service:
        endpoint = Endpoint(f"{net}{next(numbers)}", f"{net}254", 8_080)
        return replace(of, versions=(Version("v1", (endpoint,)),))

    return [replace(mesh, services={name: service(each) for name, each in mesh.services.items()}) for mesh in meshes]


def wait_for(address: tuple[str, int], process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once somebody listens there; fails with the log if the process ends before."""
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
