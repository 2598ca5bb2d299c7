"""One request as the edge read it, and responses as bytes."""

from __future__ import annotations

import email.utils
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Protocol

import orjson


class Exchange:
    """A whole request of `peer` (`address:port`).

    `target` is what stands in the request line; header values are as they were sent.
    """

    __slots__ = ("authorization", "body", "encoding", "keep_alive", "method", "peer", "target")

    def __init__(
        self,
        method: bytes,
        target: bytes,
        peer: bytes,
        body: bytes = b"",
        *,
        authorization: bytes = b"",
        encoding: bytes = b"",
        keep_alive: bool = True,
    ) -> None:
        self.method = method
        self.target = target
        self.peer = peer
        self.body = body
        self.authorization = authorization
        self.encoding = encoding
        self.keep_alive = keep_alive

    def aimed_at(self, target: bytes) -> Exchange:
        """The same with another target; the old one stays what was read."""
        return Exchange(
            self.method,
            target,
            self.peer,
            self.body,
            authorization=self.authorization,
            encoding=self.encoding,
            keep_alive=self.keep_alive,
        )


class Service(Protocol):
    """What answers requests."""

    def answer(self, exchange: Exchange) -> bytes | Awaitable[bytes]:
        """The whole response; later, where something else has to be asked first. What it raises becomes a 500."""
        ...

    def quick(self, target: bytes, body: bytes, peer: bytes) -> bytes | None:
        """The same for a plain `POST`, where there is a short way; `None` where only `answer` knows, or it raised."""
        ...


class Heads:
    """The heads of responses. The date is set by who looks at the clock, once a second."""

    def __init__(self) -> None:
        self.ok = b""
        self._date = b""
        self.set_date(0.0)

    def set_date(self, now: float) -> None:
        """Write the instant `now` (seconds since the epoch) into every response from here on."""
        self._date = email.utils.formatdate(now, usegmt=True).encode()
        self.ok = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: %b\r\nContent-Length: " % self._date

    def result(self, decision: bytes, result: bytes) -> bytes:
        """The response of the data API that says a result, as JSON, and the decision's id if there is one."""
        if decision:  # an id has a fixed length, and so has all but the result
            return b'%b%d\r\n\r\n{"decision_id":"%b","result":%b}\n' % (self.ok, 65 + len(result), decision, result)
        return b'%b%d\r\n\r\n{"result":%b}\n' % (self.ok, 12 + len(result), result)

    def response(self, status: int, body: bytes, *, keep_alive: bool = True, headers: bytes = b"") -> bytes:
        """A response; `headers` are whole lines. Without one for the type, a body is JSON."""
        phrase = HTTPStatus(status).phrase.encode()
        if body and b"Content-Type:" not in headers:
            headers = b"Content-Type: application/json\r\n" + headers
        close = b"" if keep_alive else b"Connection: close\r\n"
        return b"HTTP/1.1 %d %b\r\n%b%bDate: %b\r\nContent-Length: %d\r\n\r\n%b" % (
            status,
            phrase,
            headers,
            close,
            self._date,
            len(body),
            body,
        )


class Refusal:
    """The last answer on a connection: what the client sent is not taken."""

    __slots__ = ("message", "status")

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message

    def response(self, heads: Heads) -> bytes:
        """As it is sent."""
        code = "internal_error" if self.status >= 500 else "invalid_parameter"
        return heads.response(self.status, error_body(code, self.message), keep_alive=False)


def error_body(code: str, message: str) -> bytes:
    """An error as OPA writes it."""
    return orjson.dumps({"code": code, "message": message}, option=orjson.OPT_INDENT_2) + b"\n"
