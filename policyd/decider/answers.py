"""OPA's data API over what is loaded: `/v1/data`, `/v0/data` and batches, with its words for what goes wrong.

Source of shapes and status codes: OPA's REST API, and what OPA 1.22 answers (`tests/decider/test_beside_opa.py` asks
both); for batches, the Batch Query API of Enterprise OPA.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from policyd.decider.documents import DOCUMENTS, Document, utc_now
from policyd.decider.exchange import Exchange, Heads, error_body
from policyd.decider.live import live_of
from policyd.decider.loaded import Loaded
from policyd.decider.log import NO_INPUT, DecisionIds, DecisionLog
from policyd.decider.queries import PLAIN, Query

_WARNING = {"code": "api_usage_warning", "message": "'input' key missing from the request"}
_DEEP = 200
"""So many brackets, and it is worth a look whether it is nested as deeply; orjson writes 254 levels."""
_MEMBERS = 16
"""Of a gzipped body, one behind the other (RFC 1952, section 2.2); each costs a copy of what is behind it."""
_MERGED = 16 * 1024 * 1024
"""Bytes that the inputs of a batch may take with what they have in common: each is written into the log whole."""
_TURN_S = 0.0005
"""How long a batch may keep everybody else waiting."""


class Malformed(ValueError):
    """The body or the parameter cannot be read."""


class NotFound(Exception):
    """Nothing of ours is at that path."""


@dataclass(frozen=True, slots=True)
class Route:
    """A document at a path: as people write it, and as JSON for the log."""

    path: str
    quoted: bytes
    document: Document


class DataApi:
    """Answers questions from `loaded`; nothing is loaded at first, and every document undefined."""

    def __init__(self, heads: Heads, *, log: DecisionLog | None, version: str, batch: int) -> None:
        self.loaded: Loaded | None = None
        self.differing: Mapping[str, Any] = {}
        """The services whose proxies do not all decide as promoted now; see `differing`."""
        self.heads = heads
        self.log = log
        self._version = version
        self._batch = batch
        self.ids = DecisionIds()
        self.decided = 0
        self._routes = {path: Route(path, orjson.dumps(path), found) for path, found in DOCUMENTS.items()}
        self._plain = {f"/v1/data/{path}".removesuffix("/").encode(): route for path, route in self._routes.items()}

    def post(self, exchange: Exchange) -> bytes | None:
        """The answer to a `POST` of the plain kind, the one that all but a few requests are; `None` for any other."""
        route = self._plain.get(exchange.target)
        if route is None or exchange.encoding:
            return None
        return self._v1(exchange, route, PLAIN, exchange.body)

    def data(self, exchange: Exchange, path: str, query: Query) -> bytes:
        """`/v1/data/<path>`. Raises `NotFound` where the path is not in the table."""
        route = self._routes.get(path)
        if route is None:
            raise NotFound(path)
        if exchange.method == b"GET":
            return self._get(exchange, route, query)
        try:
            body = plain_body(exchange)
        except Malformed as error:
            return self._refused(exchange, f"body contains malformed input document: {error}")
        return self._v1(exchange, route, query, body)

    def undefined(self, exchange: Exchange, path: str, query: Query) -> bytes:
        """What is answered for a path that is not in the table."""
        del path
        return self._ok(exchange, {"decision_id": self.ids.next().decode()} if self.log else {}, query)

    def _v1(self, exchange: Exchange, route: Route, query: Query, body: bytes) -> bytes:
        started = time.perf_counter_ns()
        try:
            asked = _json(body)["input"]
        except (ValueError, TypeError, LookupError):
            asked = None  # looked at more closely
        if asked is None:
            try:
                asked = _input_of(body)
            except Malformed as error:
                return self._refused(exchange, f"body contains malformed input document: {error}")
        return self._answer(exchange, route, query, asked, started, warn=asked is NO_INPUT)

    def _get(self, exchange: Exchange, route: Route, query: Query) -> bytes:
        started = time.perf_counter_ns()
        asked = NO_INPUT
        if query.input is not None:
            try:
                asked = _json(query.input.encode())
            except Malformed as error:
                return self._refused(exchange, f"parameter contains malformed input document: {error}")
        return self._answer(exchange, route, query, asked, started, warn=False)

    def _answer(
        self, exchange: Exchange, route: Route, query: Query, asked: Any, started: int, *, warn: bool
    ) -> bytes:
        loaded = self.loaded  # read once, so that the answer and its revision agree
        result = self._decide(loaded, route, asked)
        decision, handled = b"", time.perf_counter_ns() - started
        if self.log is not None:
            decision = self.ids.next()
            self.log.add(decision, route.quoted, asked, result, handled, bundles=_bundles(loaded), peer=exchange.peer)
        live = live_of(self.differing, asked) if self.differing else None
        if result is not None and query is PLAIN and not warn and live is None and exchange.keep_alive:
            return self.heads.result(decision, result)
        answer: dict[str, Any] = {"decision_id": decision.decode()} if decision else {}
        if query.provenance:
            answer["provenance"] = self._provenance(loaded)
        if query.explain and loaded is not None:
            answer["explanation"] = DOCUMENTS["policyd/authz/reasons"](
                loaded, None if asked is NO_INPUT else asked, utc_now()
            )
        if query.metrics:
            answer["metrics"] = {"timer_server_handler_ns": handled}
        if result is not None:
            answer["result"] = orjson.Fragment(result) if not query.pretty else orjson.loads(result)
        if live is not None:
            answer["live"] = live
        if warn:
            answer["warning"] = _WARNING
        return self._ok(exchange, answer, query)

    def v0(self, exchange: Exchange, path: str, query: Query) -> bytes:
        """`/v0/data/<path>`: the input is the whole body, the answer the bare result. Raises `NotFound`."""
        started = time.perf_counter_ns()
        route = self._routes.get(path)
        if route is None:
            raise NotFound(path)
        try:
            body = plain_body(exchange)
            asked = _json(body) if body.strip() else None
        except Malformed as error:
            words = f"unexpected parse error for input: body contains malformed input document: {error}"
            return self._refused(exchange, words)
        loaded = self.loaded
        result = self._decide(loaded, route, asked)
        if self.log is not None:
            decision, handled = self.ids.next(), time.perf_counter_ns() - started
            self.log.add(decision, route.quoted, asked, result, handled, bundles=_bundles(loaded), peer=exchange.peer)
        if result is None:
            return self.undefined_v0(exchange, path)
        if query.pretty:
            result = orjson.dumps(orjson.loads(result), option=orjson.OPT_INDENT_2)
        return self.heads.response(200, result + b"\n", keep_alive=exchange.keep_alive)

    def undefined_v0(self, exchange: Exchange, path: str) -> bytes:
        """What `/v0/data` answers for a path that is not in the table, or while nothing is loaded."""
        words = f"document missing: {'.'.join(['data', *filter(None, path.split('/'))])}"
        return self.heads.response(404, error_body("undefined_document", words), keep_alive=exchange.keep_alive)

    def batch(self, exchange: Exchange, path: str, query: Query) -> bytes | Awaitable[bytes]:
        """`/v1/batch/data/<path>`: many inputs, one revision. Raises `NotFound`."""
        route = self._routes.get(path)
        if route is None:
            raise NotFound(path)
        try:
            asked = _object(plain_body(exchange))
            inputs, common = asked.get("inputs", {}), asked.get("common_input", {})
            if not isinstance(inputs, dict) or not isinstance(common, dict):
                raise Malformed("`inputs` and `common_input` are objects")
        except Malformed as error:
            return self._refused(exchange, f"body contains malformed input document: {error}")
        if len(inputs) > self._batch:
            return self._refused(exchange, f"a batch has no more than {self._batch} inputs")
        if len(inputs) * len(orjson.dumps(common)) > _MERGED:
            return self._refused(exchange, f"`common_input` is too large for {len(inputs)} inputs")
        return self._decide_all(exchange, route, query, inputs, common)

    async def _decide_all(
        self, exchange: Exchange, route: Route, query: Query, inputs: Mapping[str, Any], common: Mapping[str, Any]
    ) -> bytes:
        started = time.perf_counter_ns()
        loaded = self.loaded
        batch, answers = self.ids.next(), {}
        turn = time.perf_counter()
        for key, own in inputs.items():
            asked = _merged(common, own)
            decision, since = self.ids.next(), time.perf_counter_ns()
            result = self._decide(loaded, route, asked)
            if self.log is not None:
                bundles, peer, handled = _bundles(loaded), exchange.peer, time.perf_counter_ns() - since
                self.log.add(decision, route.quoted, asked, result, handled, bundles=bundles, peer=peer, batch=batch)
            answer = {"decision_id": decision.decode()} if self.log is not None else {}
            live = live_of(self.differing, asked) if self.differing else None
            said = answer if live is None else {**answer, "live": live}
            answers[key] = said if result is None else {**said, "result": orjson.loads(result)}
            if time.perf_counter() - turn > _TURN_S:
                await asyncio.sleep(0)
                turn = time.perf_counter()
        whole: dict[str, Any] = {"batch_decision_id": batch.decode()} if self.log is not None else {}
        if query.metrics:
            whole["metrics"] = {"timer_server_handler_ns": time.perf_counter_ns() - started}
        if query.provenance:
            whole["provenance"] = self._provenance(loaded)
        return self._ok(exchange, {**whole, "responses": answers}, query)

    def _decide(self, loaded: Loaded | None, route: Route, asked: Any) -> bytes | None:
        """The value of a document as JSON; `None` where it is undefined, since nothing is loaded yet."""
        self.decided += 1
        if loaded is None:
            return None
        value = route.document(loaded, None if asked is NO_INPUT else asked, utc_now())
        if value is False:
            return b"false"
        return b"true" if value is True else orjson.dumps(value)

    def _provenance(self, loaded: Loaded | None) -> dict[str, Any]:
        bundles = {} if loaded is None else {"bundles": {"mesh": {"revision": loaded.revision}}}
        blank = {"build_commit": "", "build_timestamp": "", "build_hostname": ""}
        return {"version": self._version, **blank, **bundles}

    def _ok(self, exchange: Exchange, answer: Mapping[str, Any], query: Query) -> bytes:
        option = orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if query.pretty else 0)
        return self.heads.response(200, orjson.dumps(answer, option=option), keep_alive=exchange.keep_alive)

    def _refused(self, exchange: Exchange, words: str) -> bytes:
        return self.heads.response(400, error_body("invalid_parameter", words), keep_alive=exchange.keep_alive)


def _bundles(loaded: Loaded | None) -> bytes:
    return b"{}" if loaded is None else loaded.bundles


def plain_body(exchange: Exchange, limit: int = 1024 * 1024) -> bytes:
    """The body as it was before it was compressed; `limit` bytes at most. Raises `Malformed`."""
    encoding = exchange.encoding.lower()
    if encoding in {b"", b"identity"}:
        return exchange.body
    if encoding not in {b"gzip", b"x-gzip"}:
        raise Malformed("the only content coding is `gzip`")
    body, rest = b"", exchange.body
    for _ in range(_MEMBERS):
        unpacking = zlib.decompressobj(wbits=31)
        try:
            body += unpacking.decompress(rest, limit + 1 - len(body))
        except zlib.error as error:
            raise Malformed(f"gzip: {error}") from error
        if len(body) > limit or not unpacking.eof:
            raise Malformed("gzip: too large, or cut off")
        rest = unpacking.unused_data
        if not rest:
            return body
    raise Malformed(f"gzip: more than {_MEMBERS} members")


def _input_of(body: bytes) -> Any:
    """`input` of a body; `NO_INPUT` where it is not there, or null."""
    asked = _object(body).get("input")
    return NO_INPUT if asked is None else asked


def _object(body: bytes) -> dict[str, Any]:
    value = _json(body) if body and not body.isspace() else None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed("an object was expected")
    return value


def _json(text: bytes) -> Any:
    """What can be read, and written down as well: that goes less deep. Raises `Malformed`."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Malformed(str(error)) from error
    # What is nested so deeply has as many brackets that close.
    if len(text) > 2 * _DEEP and text.count(b"[") + text.count(b"{") > _DEEP:
        try:
            orjson.dumps(value)
        except TypeError as error:
            raise Malformed("it is nested too deeply") from error
    return value


def _merged(common: Any, own: Any) -> Any:
    """`own` laid over `common`, object by object."""
    if not isinstance(common, dict) or not isinstance(own, dict):
        return own
    return {**common, **{key: _merged(common[key], value) if key in common else value for key, value in own.items()}}
