"""The short way of a question answers and writes down what the long way does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policyd.decider.answers import DataApi
from policyd.decider.exchange import Exchange, Heads
from policyd.decider.loaded import Loaded
from policyd.decider.log import DecisionLog
from policyd.decider.masks import Masks
from policyd.decider.service import DecisionService
from policyd.decisions import Index
from policyd.model.access import Mode, Permit, Source
from policyd.model.names import Name
from policyd.model.paths import EVERYTHING, PathPattern
from policyd.model.tokens import TokenCondition
from policyd.testing import build
from tests.decider.meshes import READS, WEB, WRITES, question, shop
from tests.decider.server import COMMIT

ALLOW, WHOLE = b"/v1/data/policyd/authz/allow", b"/v1/data/policyd/authz"
PAYMENTS = Name("default", "payments")
PEER = b"127.0.0.1:7"
EVERYBODY = replace(build.rule("everybody", [], "GET /v1/**"), sources=(Source(anyone=True),))
NAMESPACE = replace(READS, sources=(Source(namespaces=("default",)),))
ENDED = replace(WRITES, expires=datetime(2020, 1, 1, tzinfo=UTC))
TOKEN = replace(READS, token=TokenCondition("idp", ()))
OBSERVED = replace(WRITES, mode=Mode.OBSERVE)
NO_PATH = replace(READS, permits=(Permit(("GET",), (PathPattern(("v1", "", "charges"), rest=False),)),))
"""What no intent says: a path that no request can have."""
NOBODY = replace(READS, sources=(Source(identities=("spiffe://Test/web", "web")),))
RULES = (
    (READS, WRITES),
    (NAMESPACE, WRITES),
    (EVERYBODY, READS),
    (ENDED,),
    (TOKEN, WRITES),
    (READS, OBSERVED),
    (NO_PATH, NOBODY),
    (),
)


class Kept:
    """A sink that keeps the lines."""

    lost, trouble = 0, ""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def put(self, lines: Sequence[bytes], size: int) -> None:
        assert size == sum(map(len, lines))
        self.lines += lines

    def close(self, patience_s: float) -> None:
        """Nothing waits."""


class World:
    """A service over one mesh, with a log or without one."""

    def __init__(self, mesh: Any, *, logged: bool = True, masks: Masks | None = None) -> None:
        self.kept, self.heads = Kept(), Heads()
        outlets: Any = (self.kept,)
        self.log = DecisionLog(outlets, masks, {"id": "100%"}) if logged else None
        self.data = DataApi(self.heads, log=self.log, version="0", batch=1)
        self.data.loaded = Loaded(
            Index.build(mesh), COMMIT, None, {PAYMENTS: {"default/reads": ('a"reasons":[].yaml:1:1', "team \u2028")}}
        )
        self.service = DecisionService(
            self.heads, self.data, gate=None, elsewhere=None, openapi=b"", metrics=lambda: ""
        )

    def short(self, body: bytes, target: bytes = ALLOW) -> bytes | None:
        async def ask() -> bytes | None:  # the log asks the loop for its time
            return self.service.quick(target, body, PEER)

        return asyncio.run(ask())

    def both(self, body: bytes, target: bytes = ALLOW) -> tuple[Any, Any] | None:
        """Answer, line and counter of the short way and of the long one; `None` where there is no short one."""
        return asyncio.run(self._both(body, target))

    async def _both(self, body: bytes, target: bytes) -> tuple[Any, Any] | None:
        counted = self.data.decided
        short = self.service.quick(target, body, PEER)
        if short is None:
            assert self.written() == []
            assert self.data.decided == counted
            return None
        first = plain(short), self.written(), self.data.decided - counted
        counted = self.data.decided
        long = self.service.answer(Exchange(b"POST", target, PEER, body))
        assert isinstance(long, bytes)
        return first, (plain(long), self.written(), self.data.decided - counted)

    def written(self) -> list[bytes]:
        if self.log is not None:
            self.log.flush()
        lines, self.kept.lines = self.kept.lines, []
        return [plain(line) for line in lines]


def plain(said: bytes) -> bytes:
    """Without what differs from one answer to the next."""
    said = re.sub(rb'"decision_id":"[0-9a-f-]{36}"', b'"decision_id":"ID"', said)
    said = re.sub(rb'"timestamp":"[0-9T:.-]{29}Z"', b'"timestamp":"T"', said)
    return re.sub(rb'("timer_server_handler_ns"|"req_id"):\d+', rb"\1:N", said)


REVOKED = shop(READS)
REVOKED = replace(REVOKED, access={to: replace(each, revoked=(WEB,)) for to, each in REVOKED.access.items()})
OPAQUE = shop(EVERYBODY, replace(READS, permits=(Permit(("GET",), (EVERYTHING,)),)))
OPAQUE = replace(OPAQUE, services={to: replace(each, opaque_paths=True) for to, each in OPAQUE.services.items()})
MESHES = (*(shop(*rules) for rules in RULES), REVOKED, OPAQUE)
WORLDS = [World(mesh, logged=bool(number % 2)) for number, mesh in enumerate(MESHES)]
SOURCES = st.sampled_from(
    [WEB, WEB + "/", "spiffe://Test/web", "web", "", "spiffe://test.example/ns/default/svc/x", 7]
)
SERVICES = st.sampled_from(["payments", "default/payments", "web", "nobody", "a/b/c", "", None])
METHODS = st.sampled_from(["GET", "POST", "TRACE", "get", "GET/v1", "", ["GET"]])
PATHS = st.sampled_from(
    [
        "/v1/charges",
        "/v1/charges/7",
        "/v1/charges/7?a=b",
        "/v1/charges/%2F",
        "/v1//charges",
        "/v1/charges/..",
        "/charges/7",
        "v1/charges",
        "",
        None,
    ]
)
MORE = st.sampled_from(
    [{}, {}, {}, {"host": "x"}, {"jwt": None}, {"destination": {"service": "payments", "port": 1}}]
)
LAYOUTS = st.sampled_from([orjson.dumps, lambda value: orjson.dumps(value, option=orjson.OPT_INDENT_2)])


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(WORLDS), SOURCES, SERVICES, METHODS, PATHS, MORE, LAYOUTS, st.sampled_from([ALLOW, WHOLE]))
@example(WORLDS[0], WEB, "payments", "POST/v1", "/charges", {}, orjson.dumps, WHOLE)
@example(WORLDS[6], WEB, "payments", "GET", "/v1//charges", {}, orjson.dumps, WHOLE)
@example(WORLDS[8], WEB, "payments", "GET", "/v1/charges/7", {}, orjson.dumps, WHOLE)
@example(WORLDS[9], WEB, "payments", "GET", "/v1//charges", {}, orjson.dumps, WHOLE)
@example(WORLDS[6], "web", "payments", "GET", "/v1/charges/7", {}, orjson.dumps, WHOLE)
def test_both_ways_say_the_same(
    world: World, source: Any, service: Any, method: Any, path: Any, more: dict[str, Any], layout: Any, target: bytes
) -> None:
    asked = {**question(source=source, service=service), "method": method, "path": path, **more}
    if (found := world.both(layout({"input": asked}), target)) is not None:
        short, long = found
        assert short == long


@pytest.mark.parametrize("target", [ALLOW, WHOLE])
@pytest.mark.parametrize("logged", [True, False])
@pytest.mark.parametrize("said", ["GET /v1/charges/7", "POST /v1/charges", "DELETE /v1/charges"])
def test_a_plain_question_goes_the_short_way(said: str, logged: bool, target: bytes) -> None:
    for rules in ((READS, WRITES), (NAMESPACE,)):
        found = World(shop(*rules), logged=logged).both(orjson.dumps({"input": question(said)}), target)
        assert found is not None
        short, long = found
        assert short == long
        assert len(short[1]) == logged


def test_a_method_does_not_become_part_of_a_path() -> None:
    odd = {**question(), "method": "POST/v1", "path": "/charges"}
    assert World(shop(WRITES)).short(orjson.dumps({"input": odd})) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"input":null}',
        b'{"input":"abcd"}',
        b'{"input":{"source":"a","destination":"b","method":"GET","path":"/"}}',
        orjson.dumps({"input": question(), "more": [[]]}),
        orjson.dumps({"inputs": question()}),
        orjson.dumps({"input": question()})[:-1],
    ],
)
def test_what_is_no_plain_question_goes_the_long_way(body: bytes) -> None:
    assert World(shop(READS)).short(body) is None


def test_the_long_way_says_what_only_it_knows() -> None:
    body = orjson.dumps({"input": question()})
    world = World(shop(READS))
    assert world.short(body) is not None
    assert world.short(body, b"/v1/data/policyd/authz/allow?pretty") is None
    world.data.differing = {"default/other": {"allow": 1, "of": 2}}
    assert world.short(body) is None
    world.data.differing, world.data.loaded = {}, None
    assert world.short(body) is None
    assert World(shop(READS), masks=Masks(("/input/path",), ())).short(body) is None


def test_a_line_names_the_commit_that_answered() -> None:
    body = orjson.dumps({"input": question()})
    world = World(shop(READS))
    assert world.short(body) is not None
    world.data.loaded = Loaded(Index.build(shop()), "d" * 40, None, {})
    answer = world.short(body)
    assert answer is not None
    assert b'"result":false' in answer
    assert [COMMIT.encode() in line for line in world.written()] == [True, False]
