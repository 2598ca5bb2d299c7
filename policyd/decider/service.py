"""What a worker answers: health, its document, metrics, and the data API to those who may ask it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import orjson

from policyd.decider.answers import DataApi, Malformed, NotFound, plain_body
from policyd.decider.exchange import Exchange, Heads, error_body
from policyd.decider.queries import Query, read_query
from policyd.decider.quick import Quick
from policyd.decider.targets import TargetError, read_target

_HEALTH, _OPENAPI, _METRICS = "/health", "/openapi.json", "/metrics"
_V1, _V0, _BATCH = "/v1/data", "/v0/data", "/v1/batch/data"
_TEXT = b"Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"


class Gate(Protocol):
    """Who may ask what."""

    def admits(self, authorization: bytes, role: str) -> int:
        """0 where the caller may, else 401 or 403."""
        ...


class Elsewhere(Protocol):
    """An OPA that answers for paths which are not ours."""

    async def ask(self, exchange: Exchange) -> tuple[int, bytes, bytes]:
        """Its status, its content type and its body."""
        ...


class DecisionService:
    """Routes requests; see `policyd.decider.exchange.Service`."""

    def __init__(
        self,
        heads: Heads,
        data: DataApi,
        *,
        gate: Gate | None,
        elsewhere: Elsewhere | None,
        controller: Elsewhere | None = None,
        openapi: bytes,
        metrics: Callable[[], str],
    ) -> None:
        self._heads = heads
        self._data = data
        self._quick = Quick(data)
        self._gate = gate
        self._elsewhere = elsewhere
        self._controller = controller
        self._openapi = openapi
        self._metrics = metrics

    def quick(self, target: bytes, body: bytes, peer: bytes) -> bytes | None:
        """The response to a plain `POST` from everybody; `None` where `answer` has to look."""
        return self._quick.answer(target, body, peer) if self._gate is None else None

    def answer(self, exchange: Exchange) -> bytes | Awaitable[bytes]:
        """The response to one request."""
        if self._gate is None and exchange.method == b"POST":
            found = self._data.post(exchange)
            if found is not None:
                return found
        if exchange.method == b"HEAD":  # whoever asks so reads no body, and would take ours for the next answer
            return self._method_not_allowed(exchange, b"GET, POST")
        try:
            sent, path, query_text = read_target(exchange.target)
        except TargetError as error:
            return self._refused(exchange, 400, "invalid_parameter", str(error))
        if sent != exchange.target:
            exchange = exchange.aimed_at(sent)
        if path == _HEALTH:
            return self._health(exchange, read_query(query_text))
        if self._gate is not None:
            role = "read" if path in {_OPENAPI, _METRICS} else "decide"
            refused = self._gate.admits(exchange.authorization, role)
            if refused:
                return self._unauthorized(exchange, refused, role)
            if exchange.method == b"POST":
                found = self._data.post(exchange)
                if found is not None:
                    return found
        return self._route(exchange, path, read_query(query_text))

    def _route(self, exchange: Exchange, path: str, query: Query) -> bytes | Awaitable[bytes]:
        if path in {_OPENAPI, _METRICS}:
            if exchange.method != b"GET":
                return self._method_not_allowed(exchange, b"GET")
            if path == _OPENAPI:
                return self._heads.response(200, self._openapi, keep_alive=exchange.keep_alive)
            text = self._metrics().encode()
            return self._heads.response(200, text, keep_alive=exchange.keep_alive, headers=_TEXT)
        for prefix, methods, ask in (
            (_V1, (b"GET", b"POST"), self._data.data),
            (_V0, (b"POST",), self._data.v0),
            (_BATCH, (b"POST",), self._data.batch),
        ):
            if path == prefix or path.startswith(prefix + "/"):
                if exchange.method not in methods:
                    return self._method_not_allowed(exchange, b", ".join(methods))
                if query.at:
                    return self._at(exchange, prefix)
                try:
                    return ask(exchange, path[len(prefix) :].strip("/"), query)
                except NotFound:
                    return self._undefined(exchange, prefix, path, query)
        return self._heads.response(404, b"404 page not found\n", keep_alive=exchange.keep_alive, headers=_TEXT)

    def _undefined(self, exchange: Exchange, prefix: str, path: str, query: Query) -> bytes | Awaitable[bytes]:
        if self._elsewhere is not None:
            return self._forwarded(exchange, self._elsewhere)
        if prefix == _V0:
            return self._data.undefined_v0(exchange, path[len(prefix) :])
        if prefix == _BATCH:
            body = orjson.dumps({"responses": {}}) + b"\n"
            return self._heads.response(200, body, keep_alive=exchange.keep_alive)
        return self._data.undefined(exchange, path, query)

    def _at(self, exchange: Exchange, prefix: str) -> bytes | Awaitable[bytes]:
        """A question about other rules than the promoted ones, which only the controller has."""
        if prefix != _V1:
            return self._refused(exchange, 400, "invalid_parameter", f"`?at=` is asked at `{_V1}`")
        if self._controller is None:
            words = (
                "`?at=` asks for rules that only the controller has: ask its HTTP API, with the same path, "
                "or start this server with `--controller URL`"
            )
            return self._refused(exchange, 400, "invalid_parameter", words)
        exchange = exchange.aimed_at(exchange.target)  # what was read may be remembered, as it was
        try:
            exchange.body, exchange.encoding = plain_body(exchange), b""
        except Malformed as error:
            words = f"body contains malformed input document: {error}"
            return self._refused(exchange, 400, "invalid_parameter", words)
        return self._forwarded(exchange, self._controller)

    async def _forwarded(self, exchange: Exchange, elsewhere: Elsewhere) -> bytes:
        status, kind, body = await elsewhere.ask(exchange)
        headers = b"Content-Type: %b\r\n" % kind if kind else b""
        return self._heads.response(status, body, keep_alive=exchange.keep_alive, headers=headers)

    def _health(self, exchange: Exchange, query: Query) -> bytes:
        if exchange.method != b"GET":
            return self._method_not_allowed(exchange, b"GET")
        if query.bundles and self._data.loaded is None:
            body = orjson.dumps({"error": "one or more bundles are not activated"}) + b"\n"
            return self._heads.response(500, body, keep_alive=exchange.keep_alive)
        return self._heads.response(200, b"{}\n", keep_alive=exchange.keep_alive)

    def _method_not_allowed(self, exchange: Exchange, allowed: bytes) -> bytes:
        headers = b"Allow: %b\r\n" % allowed
        return self._heads.response(405, b"", keep_alive=exchange.keep_alive, headers=headers)

    def _unauthorized(self, exchange: Exchange, status: int, role: str) -> bytes:
        words = "no token, or one that is not known" if status == 401 else f"the token lacks the role `{role}`"
        headers = b"WWW-Authenticate: Bearer\r\n" if status == 401 else b""
        body = error_body("unauthorized", words)
        return self._heads.response(status, body, keep_alive=exchange.keep_alive, headers=headers)

    def _refused(self, exchange: Exchange, status: int, code: str, words: str) -> bytes:
        return self._heads.response(status, error_body(code, words), keep_alive=exchange.keep_alive)
