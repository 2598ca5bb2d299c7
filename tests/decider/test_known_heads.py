"""Heads that were read before: the table says what the parser says, knows no more than it may, changes no answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policyd.decider.edge import Connection, Edge
from policyd.decider.exchange import Exchange, Heads, Refusal
from policyd.decider.known_heads import KnownHeads
from policyd.decider.limits import Limits
from policyd.decider.reading import PATIENCE, Reader

LINES = st.sampled_from(
    [
        b"Host: x",
        b"host: y",
        b"Authorization: Bearer one",
        b"authorization: Bearer two",
        b"Content-Type: application/json",
        b"Content-Encoding: gzip",
        b"Content-Encoding: identity",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Expect: 100-continue",
        b"Transfer-Encoding: chunked",
        b"Content-Length: 3",
        b"Content-Length: 0",
        b"Content-Length: 12",
        b"Content-Length: x",
        b"X: \xff",
        b"X:\t a ",
        b"X : a",
        b" folded",
        b"",
    ]
)
STARTS = st.sampled_from(
    [
        b"POST /v1/data/policyd/authz/allow HTTP/1.1",
        b"GET /health HTTP/1.1",
        b"GET /health?bundles HTTP/1.0",
        b"HEAD / HTTP/1.1",
        b"CONNECT x:80 HTTP/1.1",
        b"POST /a b HTTP/1.1",
        b"POST / HTTP/2.0",
        b"POST /",
        b"",
    ]
)
BODIES = st.sampled_from(
    [b"", b"abc", b"\r\n\r\n", b"0\r\n\r\n", b"twelve bytes", b"a\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n"]
)


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A head and a body, mostly of one request, with more lines at any place and sometimes an odd end of a line."""
    body = draw(BODIES)
    lines = [b"Host: x", b"Content-Length: %d" % len(body)]
    for line in draw(st.lists(LINES, max_size=3)):
        lines.insert(draw(st.integers(0, len(lines))), line)
    lines = [draw(st.one_of(st.just(b"POST / HTTP/1.1"), STARTS)), *lines, b""]
    odd = draw(st.one_of(st.none(), st.integers(0, len(lines) - 1)))
    ends = [draw(st.sampled_from([b"\n", b"\r", b"\r\n\r\n"])) if at == odd else b"\r\n" for at in range(len(lines))]
    return b"".join(line + end for line, end in zip(lines, ends, strict=True)), body


def read(data: bytes, known: KnownHeads) -> tuple[list[tuple[Any, ...]], bool]:
    """What a new parser reads, and whether that is all there is to `data`."""
    taken: list[Exchange] = []
    reader = Reader(b"peer", Limits(), known, taken=taken.append, go_on=lambda: None)
    refusal: Refusal | None = reader.read(data, reader.known(data))
    return [fields(exchange) for exchange in taken], refusal is None and reader._idle


def fields(exchange: Exchange) -> tuple[Any, ...]:
    return tuple(getattr(exchange, name) for name in Exchange.__slots__)


@settings(max_examples=500)
@given(messages(), st.one_of(st.none(), BODIES), st.one_of(st.just(b""), BODIES))
def test_a_known_head_is_read_as_the_parser_reads_it(
    message: tuple[bytes, bytes], other: bytes | None, behind: bytes
) -> None:
    head, body = message
    known = KnownHeads()
    read(head + body, known)
    data = head + (body[::-1] if other is None else other) + behind
    for _ in range(2):  # by the head, then by the size
        found = known.find(data)
        if found is not None:
            assert read(data, KnownHeads()) == ([fields(found.exchange(data, b"peer"))], True)


@pytest.mark.parametrize(
    "plain",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\r\n\r\n",
        b"GET /health HTTP/1.0\r\n\r\n",
    ],
)
def test_a_plain_request_is_known_from_then_on(plain: bytes) -> None:
    known = KnownHeads()
    assert known.find(plain) is None
    expected, _ = read(plain, known)
    found = known.find(plain)
    assert found is not None
    assert [fields(found.exchange(plain, b"peer"))] == expected


def test_heads_of_requests_of_one_size_are_told_apart() -> None:
    known = KnownHeads()
    plain = [b"POST /%b HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na" % target for target in (b"a", b"b")]
    for each in plain:
        read(each, known)
    for each in plain * 2:
        found = known.find(each)
        assert found is not None
        assert found.head == each[:-1]
    assert known.find(plain[0] + b"b") is None


@pytest.mark.parametrize(
    "said",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n" % (b"x" * 2048),
    ],
)
def test_what_is_no_single_plain_request_with_a_short_head_is_never_known(said: bytes) -> None:
    known = KnownHeads()
    read(said, known)
    assert len(known) == 0


def test_the_table_is_bounded() -> None:
    known = KnownHeads(most=8)
    for number in range(100):
        read(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number, known)
        assert 1 <= len(known) <= 8
    assert known.find(b"GET /99 HTTP/1.1\r\nHost: x\r\n\r\n") is not None


def test_who_sends_another_head_each_time_is_not_looked_up_for_ever() -> None:
    taken: list[Exchange] = []
    known = KnownHeads()
    reader = Reader(b"peer", Limits(), known, taken=taken.append, go_on=lambda: None)
    for number in range(PATIENCE + 10):
        data = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number
        reader.read(data, reader.known(data))
    assert len(taken) == PATIENCE + 10
    assert len(known) == PATIENCE


class Echo:
    """Answers with what was asked."""

    def answer(self, exchange: Exchange) -> bytes:
        return b"%r\n" % (fields(exchange),)

    def quick(self, target: bytes, body: bytes, peer: bytes) -> bytes | None:
        return None


class Short(Echo):
    """Knows a short way for every plain request."""

    def __init__(self) -> None:
        self.quickly = 0

    def answer(self, exchange: Exchange) -> bytes:
        return b"%r\n" % ((exchange.target, exchange.body, exchange.peer),)

    def quick(self, target: bytes, body: bytes, peer: bytes) -> bytes:
        self.quickly += 1
        return b"%r\n" % ((target, body, peer),)


class Failing(Short):
    """Has a bug on its short way."""

    def quick(self, target: bytes, body: bytes, peer: bytes) -> bytes:
        super().quick(target, body, peer)
        raise RuntimeError("planted")


class Wire:
    """What a transport is to a connection; `written` is what the client sees. A fake of uvloop's TCP transport."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def get_extra_info(self, name: str) -> tuple[str, int]:
        assert name == "peername"
        return "127.0.0.1", 1

    def set_write_buffer_limits(self, high: int) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    abort = close


def connected(edge: Edge) -> tuple[Connection, Wire]:
    connection, wire = edge.connect(), Wire()
    connection.connection_made(wire)
    return connection, wire


ASKS = [
    b"POST /a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %d\r\nContent-Length: 7\r\n\r\nbody %02d" % (n % 2, n)
    for n in range(4)
]


@pytest.mark.parametrize("service", [Echo, Short, Failing])
async def test_requests_cut_anywhere_are_answered_alike_whether_their_heads_are_known_or_not(
    service: type[Echo],
) -> None:
    said = b"".join(ASKS)
    edge = Edge(service(), Heads(), Limits())
    connection, wire = connected(edge)
    connection.data_received(said)
    expected = wire.written
    assert expected.count(b"\n") == len(ASKS)
    for each in ASKS:
        connected(edge)[0].data_received(each)
    assert len(edge.known) == 2
    for cut in range(len(said) + 1):
        connection, wire = connected(edge)
        connection.data_received(said[:cut])
        connection.data_received(said[cut:])
        assert wire.written == expected, cut
    one_by_one, wire = connected(edge)
    for each in ASKS:
        one_by_one.data_received(each)
    assert wire.written == expected


@pytest.mark.parametrize("service", [Echo, Short])
async def test_a_connection_with_known_requests_ends_in_time_as_any_other_does(service: type[Echo]) -> None:
    limits = Limits(request_s=10.0, idle_s=75.0)
    edge = Edge(service(), Heads(), limits)
    connection, wire = connected(edge)
    connection.data_received(ASKS[0])
    edge.sweep(start := asyncio.get_running_loop().time() + 5.0)
    connection.data_received(ASKS[2])
    assert connection.deadline == start + limits.idle_s
    connection.data_received(ASKS[2][:20])
    assert connection.deadline == start + limits.request_s
    edge.sweep(start + limits.request_s)
    assert wire.written.endswith(b"}\n")
    assert b"HTTP/1.1 408 " in wire.written
    assert wire.closed


async def test_the_short_way_is_for_plain_requests_of_whom_nothing_waits() -> None:
    service = Short()
    edge = Edge(service, Heads(), Limits())
    connection, wire = connected(edge)
    connection.data_received(ASKS[0])  # not known yet
    assert service.quickly == 0
    connection.data_received(ASKS[0])
    assert service.quickly == 1
    for other in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        ASKS[0].replace(b"Host: x", b"Host: x\r\nConnection: close"),
        ASKS[0].replace(b"Host: x", b"Host: x\r\nContent-Encoding: gzip"),
    ):
        for _ in range(2):
            connected(edge)[0].data_received(other)
    edge.stopping = True
    connection.data_received(ASKS[0])
    assert service.quickly == 1
    assert wire.closed


async def test_the_last_known_request_closes_the_connection_where_its_head_says_so() -> None:
    edge = Edge(Echo(), Heads(), Limits())
    closing = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for _ in range(2):
        connection, wire = connected(edge)
        connection.data_received(closing)
        assert wire.closed
        assert wire.written.count(b"\n") == 1
    assert len(edge.known) == 1
