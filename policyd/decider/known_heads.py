"""Heads of requests that were parsed before: a client that keeps its connection sends the same bytes again and again.

bytes from the start of a message -> KnownHeads.find -> Known, or `None`: the parser reads them (`reading`)

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


class Known(NamedTuple):
    """What the parser said about a head."""

    head: bytes
    length: int
    """Of the body."""
    method: bytes
    target: bytes
    authorization: bytes
    encoding: bytes
    keep_alive: bool

    @property
    def plain(self) -> bool:
        """Whether it is a `POST` of what is not compressed, on a connection that stays."""
        return self.method == b"POST" and self.keep_alive and not self.encoding

    def exchange(self, data: bytes, peer: bytes) -> Exchange:
        """The request that `data` is, which begins with this head and is as long as it says."""
        return Exchange(
            self.method,
            self.target,
            peer,
            data[len(self.head) :],
            authorization=self.authorization,
            encoding=self.encoding,
            keep_alive=self.keep_alive,
        )


class KnownHeads:
    """The heads of one worker, `most` of them and each of `longest` bytes at most.

    Whoever sends another head each time makes the table useless, not large: it is emptied when it is full.
    """

    def __init__(self, most: int = MOST, longest: int = LONGEST) -> None:
        self._most = most
        self._longest = longest
        self._known: dict[bytes, Known] = {}
        self._by_size: dict[int, Known] = {}
        """The head that was met last in a request of that many bytes: one comparison, where another look-up would
        have to find the end of the head first."""

    def __len__(self) -> int:
        return len(self._known)

    def find(self, data: bytes) -> Known | None:
        """What is known of `data`, where it is one whole request with a known head and nothing behind it.

        `data` has to begin where a message does.
        """
        size = len(data)
        known = self._by_size.get(size)
        if known is not None and data.startswith(known.head):
            return known
        end = data.find(_END) + 4
        known = self._known.get(data[:end])
        if known is None or size - end != known.length:
            return None
        self._by_size[size] = known
        return known

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
            self._by_size.clear()
        head = data[:end]
        self._known[head] = Known(
            head,
            length,
            exchange.method,
            exchange.target,
            exchange.authorization,
            exchange.encoding,
            exchange.keep_alive,
        )
