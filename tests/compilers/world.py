"""A real mesh on loopback: sidecars of one data plane, compiled, with real SVIDs and applications that echo."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from policyd.compiler.memo import Memo
from policyd.compiler.protocol import Secrets
from policyd.identity import CertificateAuthority
from policyd.model.mesh import Mesh
from policyd.model.methods import METHODS
from policyd.model.names import Name, dns_name, spiffe_id
from policyd.model.node import Node, nodes
from policyd.model.service import Endpoint

_WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PEM = serialization.Encoding.PEM


class Authority:
    """Real SVIDs of one test run, and certificates for identities that no service of the mesh has."""

    def __init__(self, trust_domain: str) -> None:
        self._root = CertificateAuthority.throwaway(trust_domain, datetime.now(UTC))
        self.root_pem = self._root.bundle_pem

    def secrets(self, service: Name, identity: str = "") -> Secrets:
        """A leaf for a service, or for any identity."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = (identity or spiffe_id(self._root.trust_domain, service), dns_name(self._root.trust_domain, service))
        leaf = self._root._leaf(key.public_key(), *names, datetime.now(UTC), 3_600)
        pem = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return Secrets(leaf.public_bytes(PEM), pem, self.root_pem)


class _Echo(BaseHTTPRequestHandler):
    """Answers with what arrived, which version it is and at which address.

    Headers bid it to wait (`x-test-delay`, seconds), to answer with another status (`x-test-status`), or with 500 if
    it is the instance at that address (`x-test-failing`).
    """

    protocol_version = "HTTP/1.1"
    version = "?"
    waiting: list[str]
    """The paths of requests that are being delayed."""
    wbufsize = 1 << 16  # one write for headers and body: two would wait for a delayed acknowledgement

    def answer(self) -> None:
        if self.headers.get("upgrade"):
            self._switch()
            return
        length = int(self.headers.get("content-length") or 0)
        self.rfile.read(length)
        delay = float(self.headers.get("x-test-delay") or 0)
        if delay:
            self.waiting.append(self.path)
            threading.Event().wait(delay)
        seen = {"version": self.version, "instance": self.connection.getsockname()[0]}
        seen |= {"method": self.command, "path": self.path}
        body = json.dumps({**seen, "headers": {k.lower(): v for k, v in self.headers.items()}}).encode()
        failing = self.headers.get("x-test-failing") == seen["instance"]
        self.send_response(500 if failing else int(self.headers.get("x-test-status") or 200))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _switch(self) -> None:
        """Agree to any upgrade, then say everything again, louder."""
        self.send_response(101)
        self.send_header("connection", "upgrade")
        self.send_header("upgrade", self.headers["upgrade"])
        # RFC 6455, section 4.2.2: proxies look whether the answer is one to this very request.
        proof = hashlib.sha1(f"{self.headers['sec-websocket-key']}{_WEBSOCKET}".encode(), usedforsecurity=False)
        self.send_header("sec-websocket-accept", base64.b64encode(proof.digest()).decode())
        self.end_headers()
        self.wfile.flush()
        while heard := self.connection.recv(4_096):
            self.connection.sendall(heard.upper())
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    """A proxy may reset an idle connection, and a TLS handshake may be broken off: no news for the test's output."""

    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        self._open: set[Any] = set()
        super().__init__(*args)

    def finish_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            self._open.discard(request)

    def server_close(self) -> None:
        """Listen no more, and end what is open, as a process that is gone does: it may be kept alive for ever."""
        super().server_close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


@dataclass
class Reply:
    """What came back; `body` is the JSON, where it is JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Connection:
    """HTTP/1.1 with nothing normalised: the target goes out byte for byte, on one connection while it lasts."""

    def __init__(
        self,
        address: tuple[str, int],
        tls: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
        coming_from: str = "",
        asking_for: str = "",
    ) -> None:
        """`asking_for`: the name in the handshake (SNI)."""
        self._address, self._tls, self._offered, self._asking_for = address, tls, session, asking_for or None
        self._coming_from = (coming_from, 0) if coming_from else None
        self._socket: socket.socket | None = None

    @property
    def session(self) -> ssl.SSLSession | None:
        """The TLS session of the connection, to be offered by another one."""
        assert isinstance(self._socket, ssl.SSLSocket)
        return self._socket.session

    @property
    def resumed(self) -> bool:
        """Whether the server took the session that was offered."""
        assert isinstance(self._socket, ssl.SSLSocket)
        return bool(self._socket.session_reused)

    def send(
        self, method: str, target: str, host: str = "payments.pay", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """One request, once more on a new connection if the last one had been closed."""
        lines = [f"{method} {target} HTTP/1.1", f"host: {host}", *(f"{k}: {v}" for k, v in (headers or {}).items())]
        return self.send_as_it_is(method, ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def send_as_it_is(self, method: str, raw: bytes) -> Reply:
        """One request, byte for byte; `method` tells whether the reply can have a body."""
        if self._socket is not None:
            try:
                return self._exchange(self._socket, method, raw)
            except (OSError, http.client.HTTPException):
                self.close()
        return self._exchange(self._open(), method, raw)

    def upgrade(self, target: str, protocol: str, host: str, **headers: str) -> tuple[int, socket.socket]:
        """Ask for another protocol: the status, and the socket, which speaks it if the status is 101."""
        asked = {"connection": "upgrade", "upgrade": protocol, "sec-websocket-version": "13", **headers}
        asked.setdefault("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        lines = [f"GET {target} HTTP/1.1", f"host: {host}", *(f"{name}: {value}" for name, value in asked.items())]
        connection = self._open()
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            assert byte, "closed without an answer"
            head += byte
        return int(head.split()[1]), connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> socket.socket:
        plain = socket.create_connection(self._address, timeout=10, source_address=self._coming_from)
        # Else a request waits for the acknowledgement of the handshake's last part, which is delayed.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = plain
        if self._tls is not None:
            self._socket = self._tls.wrap_socket(plain, session=self._offered, server_hostname=self._asking_for)
        return self._socket

    def _exchange(self, connection: socket.socket, method: str, raw: bytes) -> Reply:
        connection.sendall(raw)
        response = http.client.HTTPResponse(connection, method=method)
        response.begin()
        text = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
        if response.will_close:
            self.close()
        try:
            return Reply(response.status, headers, json.loads(text))
        except ValueError:
            return Reply(response.status, headers, text.decode(errors="replace"))


@dataclass
class RealMesh:
    """Running sidecars and applications of a mesh."""

    mesh: Mesh
    authority: Authority
    folder: Path
    logs: dict[str, Path] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    applications: dict[str, ExitStack] = field(default_factory=dict)
    delayed: dict[Name, list[str]] = field(default_factory=dict)

    def app_of(self, endpoint: Endpoint) -> Connection:
        """A connection as an instance's application opens it: to its own sidecar's outbound listener."""
        return Connection((endpoint.address, self.mesh.settings.outbound_port))

    def peer_of(self, endpoint: Endpoint, caller: Name, identity: str = "", coming_from: str = "") -> Connection:
        """A connection as another sidecar opens it, with the caller's certificate, at any address of this host."""
        address = (endpoint.address, self.mesh.settings.inbound_port)
        return Connection(address, self.tls_of(caller, identity), coming_from=coming_from)

    def tls_of(self, caller: Name, identity: str = "", of: Authority | None = None) -> ssl.SSLContext:
        """What a client with the caller's certificate, signed by the mesh's root or by another one, brings."""
        return self._tls(ssl.PROTOCOL_TLS_CLIENT, (of or self.authority).secrets(caller, identity))

    @contextmanager
    def posing(self, endpoint: Endpoint, service: Name) -> Iterator[None]:
        """A server where an instance's sidecar would be, with the certificate of `service`."""
        handler = type("Posing", (_Echo,), {"do_GET": _Echo.answer, "waiting": []})
        server = _Server((endpoint.address, self.mesh.settings.inbound_port), handler)
        tls = self._tls(ssl.PROTOCOL_TLS_SERVER, self.authority.secrets(service))
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.set_alpn_protocols(["http/1.1"])
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        with _serving(server):
            yield

    def _tls(self, protocol: Any, secrets: Secrets) -> ssl.SSLContext:
        pem = self.folder / f"peer-{time.monotonic_ns()}.pem"
        pem.write_bytes(secrets.certificate_chain + secrets.private_key)
        tls = ssl.SSLContext(protocol)
        tls.check_hostname = False
        tls.load_verify_locations(cadata=secrets.roots.decode())
        tls.load_cert_chain(pem)
        return tls

    def waiting(self, service: Name, path: str) -> list[str]:
        """The requests for a path that the service's applications have been told to delay."""
        return [seen for seen in self.delayed.get(service, ()) if seen == path]

    def stop_application(self, node_id: str) -> None:
        """End the application of one instance; its sidecar stays."""
        self.applications[node_id].close()

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something that another process does and offers no event for."""
        deadline = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < deadline, "it did not come about"
            time.sleep(0.02)

    def logged(self, node_id: str, path: str) -> dict[str, Any]:
        """The access log's line for a path, once it has been written."""
        return self._lines([self.logs[node_id]], path, 1)[0]

    def arrived(self, path: str, at_least: int) -> list[dict[str, Any]]:
        """The lines of all inbound logs for a path, once there are so many."""
        return self._lines(self.logs.values(), path, at_least, "inbound")

    def _lines(self, logs: Iterable[Path], path: str, at_least: int, listener: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []

        def there() -> bool:
            lines = [line for log in logs for line in log.read_text().splitlines() if line[-1:] == "}"]
            found[:] = [line for line in map(json.loads, lines) if line["path"] == path]
            found[:] = [line for line in found if line["listener"] == (listener or line["listener"])]
            return len(found) >= at_least

        self.until(there)
        return found


class Sidecars(Protocol):
    """How the proxies of one data plane are started."""

    def start(self, world: RealMesh, node: Node, memo: Memo) -> subprocess.Popen[bytes]:
        """Start the sidecar of `node`, which logs JSON lines to the file in `world.logs`."""
        ...

    def content(self, world: RealMesh, node: Node) -> bool:
        """Whether every instance that the sidecar of `node` checks has passed; its own application is one of them."""
        ...


Serving = Callable[[Node, list[str]], AbstractContextManager[None]]
"""How the application of an instance is started; the list takes the paths that it delays."""


def loopback(pid: int) -> str:
    """A prefix of loopback addresses of this process's own."""
    return f"127.{64 + pid % 64}.{pid // 64 % 256}."


@contextmanager
def running(
    mesh: Mesh, sidecars: Sidecars, only: set[Name] | None = None, serving: Serving | None = None
) -> Iterator[RealMesh]:
    """Start an application and a sidecar for every instance (of `only`), and wait until all listen and are content.

    Applications echo, unless `serving` starts others.

    A caller that listens before its callee does has its first check refused, and sends nothing there until the next.
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        world = RealMesh(mesh, Authority(mesh.settings.trust_domain), Path(name))
        memo = Memo()
        chosen = [node for node in nodes(mesh) if only is None or node.service in only]
        for node in chosen:
            application = world.applications[node.id] = stack.enter_context(ExitStack())
            application.enter_context(
                (serving or serving_application)(node, world.delayed.setdefault(node.service, []))
            )
            process = world.processes[node.id] = sidecars.start(world, node, memo)
            stack.callback(_end, process)
        for node in chosen:
            edge = mesh.services[node.service].gateway
            port = mesh.settings.outbound_port if edge is None else edge.ports[0]
            _wait_for(node.endpoint.address, port, world.processes[node.id])
        world.until(lambda: all(sidecars.content(world, node) for node in chosen))
        yield world


@contextmanager
def serving_application(node: Node, waiting: list[str] | None = None) -> Iterator[None]:
    """The application of an instance, which answers with what arrived; `waiting` are the paths that it delays."""
    with _serving(_application(node, [] if waiting is None else waiting)):
        yield


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _application(node: Node, waiting: list[str]) -> _Server:
    said = {"version": node.version, "waiting": waiting}
    handler = type("Echo", (_Echo,), {**said, **{f"do_{method}": _Echo.answer for method in METHODS}})
    return _Server((node.endpoint.app_address, node.endpoint.app_port), handler)


@contextmanager
def _serving(server: _Server) -> Iterator[None]:
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _wait_for(address: str, port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, "the proxy ended"
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            time.sleep(0.02)  # the kernel offers no event for "somebody listens now"
        else:
            return
    raise AssertionError(f"nothing listens on {address}:{port}")
