"""From bytes to whole requests: what httptools' parser (llhttp) says, and what two parsers could read in two ways.

bytes of one client -> Reader.known, Reader.read -> whole exchanges, or the refusal that ends the connection

A head that was read before is not read again (`known_heads`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httptools

from policyd.decider.exchange import Exchange, Refusal
from policyd.decider.known_heads import Known, KnownHeads
from policyd.decider.limits import Limits

_VERSIONS = ("1.1", "1.0")
PATIENCE = 64
"""After so many heads in a row that were not known, a client's heads are neither looked up nor learned any more."""


class _Refused(Exception):
    """Ends parsing in the middle of a request."""


class Reader:
    """Reads what one client sends. `taken` is called with every whole request, in order.

    `go_on` is called where a client asks (`Expect: 100-continue`) whether it may send the body.
    """

    def __init__(
        self,
        peer: bytes,
        limits: Limits,
        known: KnownHeads,
        *,
        taken: Callable[[Exchange], None],
        go_on: Callable[[], None],
    ) -> None:
        self._peer = peer
        self._limits = limits
        self._known = known
        self._taken = taken
        self._go_on = go_on
        self._parser: Any = httptools.HttpRequestParser(self)
        self._current: Exchange | None = None
        self._whole: list[Exchange] = []
        self._chunks: list[bytes] = []
        self._head_bytes = 0
        self._body_bytes = 0
        self._in_head = True
        self._lengths = 0
        self._hosts = 0
        self._chunked = False
        self._expects = False
        self._url = b""
        self._refusal: Refusal | None = None
        self._idle = True
        self._strange = 0
        self._fresh = False
        self.began = False
        """A request has begun; whoever looks puts it back."""

    def known(self, data: bytes) -> Known | None:
        """What is known of `data`, where that is one whole request. Asked once of what comes, before `read`."""
        self._fresh = self._idle and self._strange < PATIENCE
        if not self._fresh:
            return None
        known = self._known.find(data)
        self._strange = 0 if known is not None else self._strange + 1
        return known

    def read(self, data: bytes, known: Known | None) -> Refusal | None:
        """Read on; `known` is what is known of `data`. Nothing can be read after a refusal."""
        if known is not None:
            self.began = True
            self._taken(known.exchange(data, self._peer))
            return None
        self._idle, self._whole = False, []
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
            if self._in_head and self._head_bytes > self._limits.head:
                self._refusal = Refusal(431, "the head of the request is too large")
        except httptools.HttpParserUpgrade:
            self._refusal = Refusal(400, "nothing here can be upgraded to")
        except httptools.HttpParserError as error:
            self._refusal = self._refusal or Refusal(400, f"not HTTP: {error}")
        if self._refusal is None:
            self._idle = self._current is None and self._head_bytes == 0
            if self._fresh and self._idle and len(self._whole) == 1 and not (self._chunked or self._expects):
                self._known.learn(data, self._whole[0])
        return self._refusal

    @property
    def half_read(self) -> bool:
        """Whether a request has begun and is not whole."""
        return self._current is not None

    # What the parser says.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._in_head, self._url = True, b""
        self._chunks, self._body_bytes, self._lengths, self._hosts = [], 0, 0, 0
        self._chunked = self._expects = False
        self._current = Exchange(b"", b"", self._peer)
        self.began = True

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header. Only those that matter are looked at."""
        look = _SPELT[name] if name in _SPELT else _HEADERS.get(name.lower())
        if look is not None:
            look(self, value)

    def _authorization(self, value: bytes) -> None:
        assert self._current is not None
        self._current.authorization = value

    def _host(self, value: bytes) -> None:
        del value  # it names us, whatever it says
        self._hosts += 1

    def _content_encoding(self, value: bytes) -> None:
        assert self._current is not None
        self._current.encoding = value

    def _content_length(self, value: bytes) -> None:
        self._lengths += 1
        if value.isdigit() and int(value[:20]) > self._limits.body:
            self._stop(413, "request body too large")

    def _transfer_encoding(self, value: bytes) -> None:
        if self._chunked or value.lower() != b"chunked":
            self._stop(501, "the only transfer coding is `chunked`")
        self._chunked = True

    def _expect(self, value: bytes) -> None:
        if value.lower() != b"100-continue":
            self._stop(417, "only `100-continue` can be expected")
        self._expects = True

    def on_headers_complete(self) -> None:
        """The head is whole: what two parsers could read in two ways is refused here."""
        self._in_head = False
        if self._parser.should_upgrade():
            self._stop(400, "nothing here can be upgraded to")
        version = self._parser.get_http_version()
        if version not in _VERSIONS:
            self._stop(505, "only versions 1.1 and 1.0 are spoken here")
        if self._hosts != 1 and (self._hosts or version == "1.1"):
            self._stop(400, "a request names one host")
        if self._lengths > 1 or (self._lengths and self._chunked):
            self._stop(400, "the length of the body is said twice")
        if self._expects:
            self._go_on()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body:
            self._stop(413, "request body too large")
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        exchange = self._current
        assert exchange is not None
        exchange.method = self._parser.get_method()
        exchange.target = self._url
        exchange.body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        exchange.keep_alive = self._parser.should_keep_alive()
        self._whole.append(exchange)
        self._taken(exchange)
        self._head_bytes, self._in_head, self._current = 0, True, None

    def _stop(self, status: int, message: str) -> None:
        self._refusal = Refusal(status, message)
        raise _Refused


_HEADERS: dict[bytes, Callable[[Reader, bytes], None]] = {
    b"authorization": Reader._authorization,  # noqa: SLF001
    b"host": Reader._host,  # noqa: SLF001
    b"content-encoding": Reader._content_encoding,  # noqa: SLF001
    b"content-length": Reader._content_length,  # noqa: SLF001
    b"transfer-encoding": Reader._transfer_encoding,  # noqa: SLF001
    b"expect": Reader._expect,  # noqa: SLF001
}
"""The headers that matter."""
_OTHERS = (b"content-type", b"user-agent", b"accept", b"accept-encoding", b"connection")
_SPELT = {spelt: _HEADERS.get(name) for name in (*_HEADERS, *_OTHERS) for spelt in (name, name.title())}
"""What most clients send, as most of them write it: found without another spelling being made."""
