"""The HTTP edge, by raw bytes: what is malformed, large, slow or endless costs nobody but who sent it."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.decider.meshes import READS, question, shop
from tests.decider.server import Server, publish, serving

HOST = b"Host: x\r\n"
BODY = json.dumps({"input": question()}).encode()
TARGET = b"/v1/data/policyd/authz/allow"
ASK = b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (TARGET, HOST, len(BODY), BODY)
YES = b'{"result":true}\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("edge")
    publish(folder, shop(READS))
    with serving(folder) as found:
        yield found


@pytest.fixture(scope="module")
def slow(server: Server) -> Iterator[socket.socket]:
    """A client that sends half of its question when the tests begin, and nothing more."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(ASK[: len(ASK) // 2])
        yield connection


@pytest.fixture
def wire(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        yield connection


def head(*lines: bytes, method: bytes = b"POST", target: bytes = TARGET) -> bytes:
    return b"%b %b HTTP/1.1\r\n%b%b\r\n" % (method, target, HOST, b"".join(line + b"\r\n" for line in lines))


def all_of(wire: socket.socket) -> bytes:
    """Everything until the server closes."""
    found = bytearray()
    while data := wire.recv(65_536):
        found += data
    return bytes(found)


def until(wire: socket.socket, enough: bytes, times: int = 1) -> bytes:
    found = bytearray()
    while found.count(enough) < times:
        data = wire.recv(65_536)
        assert data, bytes(found)
        found += data
    return bytes(found)


@pytest.mark.usefixtures("slow")
def test_a_question_byte_by_byte_is_answered(wire: socket.socket) -> None:
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in ASK:
        wire.sendall(bytes([byte]))
    assert until(wire, YES).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00", 400),
        (head(b"Content-Length: 3", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n", 400),
        (head(b"Transfer-Encoding: chunked", b"Content-Length: 3") + b"3\r\nabc\r\n0\r\n\r\n", 400),
        (head(b"Content-Length: 3", b"Content-Length: 4") + b"abcd", 400),
        (head(b"Content-Length: 3", b"Content-Length: 3") + b"abc", 400),
        (head(b"Content-Length: -1") + b"abc", 400),
        (head(b"Content-Length: 3, 3") + b"abc", 400),
        (head(b"Content-Length: 0x3") + b"abc", 400),
        (head(b"Content-Length : 3") + b"abc", 400),
        (head(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", 501),
        (head(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n", 501),
        (head(b"Transfer-Encoding: chunked") + b"zz\r\nabc\r\n", 400),
        (head(b"Transfer-Encoding: chunked") + b"3\nabc\n0\n\n", 400),
        (ASK.replace(b"\r\n", b"\n"), 400),
        (b"POST " + TARGET + b" HTTP/1.1\nHost: x\r\nContent-Length: 0\r\n\r\n", 400),
        (ASK.replace(HOST, b""), 400),
        (ASK.replace(HOST, HOST * 2), 400),
        (head(b"X: a\x00b"), 400),
        (head(b"X: a", b" folded"), 400),
        (head(b"Expect: a miracle", b"Content-Length: 1"), 417),
        (head(b"Connection: Upgrade", b"Upgrade: websocket", method=b"GET"), 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"CONNECT payments:80 HTTP/1.1\r\nHost: payments:80\r\n\r\n", 400),
        (b"POST " + TARGET + b"\r\n\r\n", 505),
        (head(b"Content-Length: 10485760") + b"x" * 1000, 413),
        (head(b"Content-Length: 99999999999999999999999999"), 400),
        (head(b"Transfer-Encoding: chunked") + b"200000\r\n" + b"x" * 0x200000 + b"\r\n", 413),
        (head(b"X: " + b"x" * 1024 * 1024), 431),
        (head(*[b"X-%d: y" % number for number in range(60_000)]), 431),
        (b"GET /" + b"x" * 1024 * 1024 + b" HTTP/1.1\r\n\r\n", 431),
    ],
)
def test_what_is_malformed_or_too_large_is_refused_and_ends_the_connection(
    wire: socket.socket, sent: bytes, status: int
) -> None:
    with contextlib.suppress(ConnectionError):  # the refusal may be there before all of it is sent
        wire.sendall(sent)
    answer = all_of(wire)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    assert b"Connection: close\r\n" in answer
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"input":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"input":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
        b"[" * 50_000,
        b'{"input": NaN}',
        b'{"input": {"a": "\xed\xa0\x80"}}',
        b"\xff\xfe{\x00}\x00",
    ],
)
def test_a_body_that_cannot_be_read_is_an_error_and_the_connection_goes_on(wire: socket.socket, body: bytes) -> None:
    wire.sendall(head(b"Content-Length: %d" % len(body)) + body + ASK)
    answer = until(wire, YES)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b'"code": "invalid_parameter"' in answer


@pytest.mark.parametrize("target", [TARGET, b"/nothing", b"/health", b"/metrics"])
def test_who_reads_no_body_gets_none(wire: socket.socket, target: bytes) -> None:
    wire.sendall(head(method=b"HEAD", target=target) + ASK)
    first, _, rest = until(wire, YES).partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 405 ")
    assert rest.startswith(b"HTTP/1.1 200 ")


def test_who_asks_first_whether_to_go_on_is_told_to(wire: socket.socket) -> None:
    wire.sendall(head(b"Expect: 100-continue", b"Content-Length: %d" % len(BODY)))
    assert until(wire, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.sendall(BODY)
    until(wire, YES)


def test_who_asks_first_with_too_much_is_told_not_to(wire: socket.socket) -> None:
    wire.sendall(head(b"Expect: 100-continue", b"Content-Length: 10485760"))
    assert all_of(wire).startswith(b"HTTP/1.1 413 ")


def test_a_chunked_question_is_read(wire: socket.socket) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:7], BODY[7:])) + b"0\r\n\r\n"
    wire.sendall(head(b"Transfer-Encoding: chunked") + chunks)
    until(wire, YES)


def test_a_deep_pipeline_is_answered_in_order_while_others_are_served(server: Server, wire: socket.socket) -> None:
    number = 5_000
    refused = ASK.replace(b"GET /v1/charges", b"PUT /v1/charges").replace(b'"GET"', b'"PUT"')
    wire.sendall((ASK + refused) * 50)
    answers = until(wire, b"}\n", 100)
    assert re.findall(rb'"result":(true|false)', answers) == [b"true", b"false"] * 50
    wire.setblocking(False)
    sent, answered, others = 0, bytearray(), 0
    pipeline = memoryview(ASK * number)
    while answered.count(YES) < number:
        with contextlib.suppress(BlockingIOError):
            sent += wire.send(pipeline[sent : sent + 65_536]) if sent < len(pipeline) else 0
        with contextlib.suppress(BlockingIOError):
            answered += wire.recv(65_536)
        if others < 20:
            assert server.ask("policyd/authz/allow", question())["result"] is True
            others += 1
    assert others > 0


@pytest.mark.slow
def test_a_client_that_never_reads_costs_a_bounded_amount_and_is_let_go(server: Server) -> None:
    def rss() -> int:
        (worker,) = server.workers()
        return int(Path(f"/proc/{worker}/statm").read_text().split()[1]) * 4096

    server.ask("policyd/authz/allow", question())
    before = rss()
    with socket.create_connection(("127.0.0.1", server.port), timeout=2) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sent = 0
        ends = time.monotonic() + 60
        with contextlib.suppress(TimeoutError):  # it takes no more
            while time.monotonic() < ends:
                sent += wire.send(ASK * 200)
        assert sent < 32 * 1024 * 1024
        assert server.ask("policyd/authz/allow", question())["result"] is True
        assert rss() - before < 16 * 1024 * 1024
        wire.settimeout(60)
        with contextlib.suppress(ConnectionError):  # who reads at last has what was sent; then the connection is gone
            all_of(wire)


@pytest.mark.slow
def test_a_client_that_is_slow_is_let_go_and_told_why(server: Server, slow: socket.socket) -> None:
    assert server.ask("policyd/authz/allow", question())["result"] is True
    assert all_of(slow).startswith(b"HTTP/1.1 408 ")


def test_who_closes_one_side_has_its_answers(wire: socket.socket) -> None:
    wire.sendall(ASK * 300)
    wire.shutdown(socket.SHUT_WR)
    assert all_of(wire).count(YES) == 300


@pytest.mark.parametrize(
    ("version", "connection", "closes"),
    [
        (b"1.1", b"close", True),
        (b"1.0", b"close", True),
        (b"1.0", b"keep-alive", False),
        (b"1.1", b"keep-alive", False),
    ],
)
def test_a_connection_is_kept_where_both_want_it(
    wire: socket.socket, version: bytes, connection: bytes, closes: bool
) -> None:
    ask = ASK.replace(b"HTTP/1.1", b"HTTP/" + version).replace(HOST, HOST + b"Connection: " + connection + b"\r\n")
    wire.sendall(ask)
    until(wire, YES)
    if closes:
        assert all_of(wire) == b""
    else:
        wire.sendall(ask)
        until(wire, YES)
