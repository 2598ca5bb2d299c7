"""HTTP/2 with nothing put right: pseudo-headers go out as they are given, one request after another."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from typing import Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

REFUSED = 400
"""What a stream that is reset, or a connection that is ended, without an answer counts as: nobody saw the request."""
_PIECE = 65_536


class Http2Connection:
    """One connection while it lasts, and another one when the server has ended it."""

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext, coming_from: str, asking_for: str = "") -> None:
        """`asking_for`: the name in the handshake (SNI)."""
        self._address, self._tls, self._coming_from = address, tls, (coming_from, 0)
        self._asking_for = asking_for or None
        self._socket: socket.socket | None = None
        self._speaks = _speaks()

    def status(self, headers: Sequence[tuple[str, str]]) -> int:
        """The status of the answer to one request without a body; `REFUSED` where there is none."""
        connection = self._socket or self._open()
        stream = self._speaks.get_next_available_stream_id()
        encoded = [(name.encode(), value.encode()) for name, value in headers]
        self._speaks.send_headers(stream, encoded, end_stream=True)
        status = REFUSED
        while True:
            connection.sendall(self._speaks.data_to_send())
            try:
                piece = connection.recv(_PIECE)
            except ConnectionError:
                piece = b""
            events = self._speaks.receive_data(piece) if piece else []
            for event in events:
                if isinstance(event, h2.events.ResponseReceived) and event.stream_id == stream:
                    status = int(dict(event.headers)[b":status"])
                elif isinstance(event, h2.events.DataReceived):
                    self._speaks.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
            if not piece or any(isinstance(event, h2.events.ConnectionTerminated) for event in events):
                self.close()
                return status
            ends = (h2.events.StreamEnded, h2.events.StreamReset)
            if any(isinstance(event, ends) and event.stream_id == stream for event in events):
                return status

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
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = made = self._tls.wrap_socket(plain, server_hostname=self._asking_for)
        assert made.selected_alpn_protocol() == "h2"
        self._speaks = _speaks()
        self._speaks.initiate_connection()
        return made


def _speaks() -> h2.connection.H2Connection:
    return h2.connection.H2Connection(
        h2.config.H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
    )
