"""Heads of requests that were parsed before: a client that keeps its connection sends the same bytes again and again.

bytes from the start of a message -> KnownHeads.whole -> Exchange, or `None`: the parser reads them (`reading`)

A parser that begins a message reads equal bytes alike. So what it said about a head holds for every head of the same
bytes; with a body of the length that this head names, it is the same whole request but for the body. Nothing is
guessed: only what the parser took as one whole request is ever learned.
"""

from __future__ import annotations

from typing import NamedTuple

from policyd.decider.exchange import Exchange

MOST = 512
LONGEST = 2048
"""Bytes of one head; a token or two fit in."""
_END = b"\r\n\r\n"


class _Known(NamedTuple):
    """What the parser said about a head."""

    length: int
    """Of the body."""
    method: bytes
    target: bytes
    authorization: bytes
    encoding: bytes
    keep_alive: bool


class KnownHeads:
    """The heads of one worker, `most` of them and each of `longest` bytes at most.

    Whoever sends another head each time makes the table useless, not large: it is emptied when it is full.
    """

    def __init__(self, most: int = MOST, longest: int = LONGEST) -> None:
        self._most = most
        self._longest = longest
        self._known: dict[bytes, _Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def whole(self, data: bytes, peer: bytes) -> Exchange | None:
        """The request that `data` is, where it is one whole request with a known head and nothing behind it.

        `data` has to begin where a message does.
        """
        end = data.find(_END) + 4
        known = self._known.get(data[:end])
        if known is None:
            return None
        length, method, target, authorization, encoding, keep_alive = known
        if len(data) - end != length:
            return None
        return Exchange(
            method,
            target,
            peer,
            data[end:],
            authorization=authorization,
            encoding=encoding,
            keep_alive=keep_alive,
        )

    def learn(self, data: bytes, exchange: Exchange) -> None:
        """Remember the head of `data`, which the parser read as `exchange` and nothing else.

        The caller vouches that the request was plain: that its body came as it was sent (no chunks), and that nobody
        had to be told to go on.
        """
        end = data.find(_END) + 4
        length = len(data) - end
        if end > self._longest or length != len(exchange.body):
            return
        if len(self._known) >= self._most:
            self._known.clear()
        self._known[data[:end]] = _Known(
            length,
            exchange.method,
            exchange.target,
            exchange.authorization,
            exchange.encoding,
            exchange.keep_alive,
        )
