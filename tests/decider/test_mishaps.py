"""A bug of ours, planted in a document: a 500 for who asked, a traceback in the log, and everybody else goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from policyd.decider import documents
from policyd.decider.exchange import Exchange
from tests.decider.inside import connected, edge, listening
from tests.decider.meshes import question

ASKED = json.dumps({"input": question()}).encode()
BATCH = json.dumps({"inputs": {"a": question(), "b": question()}}).encode()
ALLOW, BROKEN = "/v1/data/policyd/authz/allow", "/v1/data/policyd/authz/rule"


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> object:
        raise LookupError("planted, not for clients")

    monkeypatch.setitem(documents.DOCUMENTS, "policyd/authz/rule", broken)


@pytest.mark.parametrize(
    ("target", "body"),
    [
        (BROKEN, ASKED),
        (BROKEN + "?pretty", ASKED),
        ("/v0/data/policyd/authz/rule", ASKED),
        ("/v1/batch/data/policyd/authz/rule", BATCH),
    ],
)
async def test_what_fails_within_us_is_an_error_and_the_connection_goes_on(target: str, body: bytes) -> None:
    async with listening(edge()) as port, connected(port) as one, connected(port) as other:
        with capture_logs() as logged:
            assert await other.ask(ALLOW, ASKED) == (200, b'{"result":true}\n')
            status, said = await one.ask(target, body)
            assert (status, json.loads(said)["code"]) == (500, "internal_error")
            assert b"planted" not in said
            for client in (one, other):
                assert await client.ask(ALLOW, ASKED) == (200, b'{"result":true}\n')
    (event,) = logged
    assert event["target"] == target
    assert event["exc_info"][0] is LookupError
    assert event["exc_info"][2].tb_next is not None


async def test_a_pipeline_is_answered_on_behind_what_failed() -> None:
    def ask(target: str) -> bytes:
        return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (target.encode(), len(ASKED), ASKED)

    async with listening(edge()) as port, connected(port) as client:
        with capture_logs():
            client.writer.write(ask(ALLOW) + ask(BROKEN) + ask(ALLOW))
            assert [(await client.answer())[0] for _ in range(3)] == [200, 500, 200]


async def test_who_wanted_it_closed_has_the_error_and_then_the_end() -> None:
    async with listening(edge()) as port, connected(port) as client:
        with capture_logs():
            head = b"POST %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" % BROKEN.encode()
            client.writer.write(head + b"Content-Length: %d\r\n\r\n%b" % (len(ASKED), ASKED))
            assert (await client.answer())[0] == 500
            assert await client.reader.read() == b""


class _Broken:
    async def ask(self, exchange: Exchange) -> tuple[int, bytes, bytes]:
        """Fails as nobody expects."""
        raise ZeroDivisionError(exchange.target)


async def test_what_fails_on_its_way_to_another_server_is_an_error_too() -> None:
    async with listening(edge(elsewhere=_Broken())) as port, connected(port) as client:
        with capture_logs() as logged:
            assert (await client.ask("/v1/data/team/hello", b"{}"))[0] == 500
            assert await client.ask(ALLOW, ASKED) == (200, b'{"result":true}\n')
    assert logged[0]["exc_info"][0] is ZeroDivisionError
