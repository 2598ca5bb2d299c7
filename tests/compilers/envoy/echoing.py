"""Applications that speak plain TCP: what a test connects to behind two sidecars, and what it heard."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from policyd.model.node import Node


@dataclass
class Heard:
    """What the applications of a mesh heard; `first`: what each of them says before anything is said to it."""

    first: bytes = b""
    said: list[bytes] = field(default_factory=list)
    """Everything that one connection said, when it has ended."""
    opened: list[str] = field(default_factory=list)
    """The version that took each connection."""

    @contextmanager
    def serving(self, node: Node, _delayed: list[str]) -> Iterator[None]:
        """The application of one instance: says all again, and half-closes when its client has."""
        listener = socket.create_server((node.endpoint.app_address, node.endpoint.app_port))
        live: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    self.opened.append(node.version)
                    live.append(connection)
                    threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield
        finally:
            for each in (listener, *live):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    def _echo(self, connection: socket.socket) -> None:
        heard = []
        with suppress(OSError):
            connection.sendall(self.first)
            while said := connection.recv(1 << 16):
                heard.append(said)
                connection.sendall(said)
            connection.sendall(b"/bye")
            connection.shutdown(socket.SHUT_WR)
        self.said.append(b"".join(heard))
