"""The fuzzing harness, run for some thousand inputs that look like HTTP: it finds what it is to find, and no more."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policyd.decider import documents
from tests.decider.edge_fuzz import LIMITS, Rig, check
from tests.decider.meshes import question
from tests.decider.test_edge import ASK, BODY, YES

TARGETS = [
    *("/v1/data/policyd/authz/allow", "/v1/data", "/v0/data/policyd/authz", "/v1/batch/data/policyd/authz/allow"),
    *("/health", "/health?bundles", "/metrics", "/openapi.json", "/nothing", "*", "http://x/v1/data", "//", "/\xff"),
    *(
        "/v1/data/policyd/authz?pretty&metrics",
        "/v1/data/policyd/authz?input=%7B%7D",
        "/v1/data?at=head",
        "/v1/data?%",
    ),
]
BATCH = json.dumps({"inputs": {"a": question(), "b": {}}, "common_input": {"method": "GET"}}).encode()
HEADERS = [
    *(
        "Host: x",
        "Host:",
        "host: y",
        "Content-Length: 0",
        "Content-Length: 3",
        "Content-Length: 99999999999999999999",
    ),
    *("content-length: +3", "Content-Length: 5000", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked"),
    *("transfer-encoding:\tchunked", "Connection: close", "Connection: keep-alive", "Connection: Upgrade"),
    *("Upgrade: websocket", "Expect: 100-continue", "Expect: wonders", "Content-Encoding: gzip", "Authorization: x"),
    *("X: " + "y" * 300, " folded", "no colon", ": no name", "A\x00: b", "Content-Encoding: identity"),
]
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b""])
METHODS = st.sampled_from(["GET", "POST", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "PRI", "post", "G\x00T", ""])
VERSIONS = st.sampled_from(["HTTP/1.1"] * 9 + ["HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/1.10", "http/1.1", ""])
BODIES = st.sampled_from(
    [BODY, BATCH, b"{}", b"", b"nope", b"[" * 600, b"3\r\nabc\r\n0\r\n\r\n", b"zz\r\n", b"0\n\n"]
)


@st.composite
def request(draw: st.DrawFn) -> bytes:
    """Something like a request."""
    if draw(st.integers(0, 3)) == 0:
        return ASK
    body, end = draw(BODIES | st.binary(max_size=40)), draw(ENDS)
    lines = [f"{draw(METHODS)} {draw(st.sampled_from(TARGETS))} {draw(VERSIONS)}", "Host: x"]
    lines += draw(st.lists(st.sampled_from(HEADERS), max_size=3))
    if draw(st.booleans()):
        lines.append(f"Content-Length: {len(body)}")
    return end.join(line.encode("latin-1") for line in lines) + end + end + body


@st.composite
def traffic(draw: st.DrawFn) -> bytes:
    """A few of them on one connection, with a bite taken out or put in."""
    sent = bytearray(b"".join(draw(st.lists(request(), min_size=1, max_size=5))))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(sent)))
        sent[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(sent)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    found = Rig()
    yield found
    found.close()


@settings(max_examples=2_000, deadline=None)
@given(sent=traffic(), cuts=st.lists(st.integers(0, 4_000), max_size=6))
def test_whatever_arrives_in_whatever_pieces_is_answered_alike_or_refused(
    rig: Rig, sent: bytes, cuts: list[int]
) -> None:
    check(rig, sent, cuts)


def test_every_question_is_answered_with_whatever_cuts_it(rig: Rig) -> None:
    for cut in range(len(ASK) + 1):
        assert [answer.body for answer in check(rig, ASK + ASK, [cut])] == [YES, YES]
    assert len(check(rig, ASK * 40, range(0, 40 * len(ASK), 7))) == 40


def test_the_harness_finds_a_bug_of_ours(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [answer.status for answer in check(rig, b"GET / HTTP/1.1\r\nX: " + b"y" * LIMITS.head, [9])] == [431]
    assert [answer.status for answer in check(rig, ASK, [])] == [200]

    def broken(*_: object) -> object:
        raise LookupError("planted")

    monkeypatch.setitem(documents.DOCUMENTS, "policyd/authz/allow", broken)
    with pytest.raises(AssertionError):
        check(rig, ASK, [])
