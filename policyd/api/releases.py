"""`/v1/releases`, `/v1/status`, `/v1/events`, health: what the controller is doing, and the verbs a person has."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from policyd.api.bad_request import BadRequest
from policyd.api.bodies import answer, from_a_browser, read_object, refusal
from policyd.api.control import ControlPlane
from policyd.api.metrics import ControllerMetrics
from policyd.base.errors import PolicydError
from policyd.rollout.event import Event
from policyd.rollout.machine import Command


class ControlEndpoint:
    """Answers for one controller."""

    def __init__(self, control: ControlPlane, metrics: ControllerMetrics) -> None:
        self._control = control
        self._metrics = metrics

    async def status(self, request: Request) -> Response:
        """Everything."""
        return answer(self._control.status(), pretty="pretty" in request.query_params)

    async def releases(self, request: Request) -> Response:
        """All releases in flight and the newest of those that are over."""
        return answer({"releases": self._control.status().releases}, pretty="pretty" in request.query_params)

    async def release(self, request: Request) -> Response:
        """One release, by id."""
        for record in self._control.status().releases:
            if record.id == request.path_params["id"]:
                return answer(record)
        return refusal(BadRequest(f"no release `{request.path_params['id']}`", code="not_found", status=404))

    async def command(self, request: Request) -> Response:
        """`POST /v1/releases/{id}/{promote|abort|pause|resume}`; answers with the release."""
        if "origin" in request.headers:
            return from_a_browser()
        release, verb = request.path_params["id"], request.path_params["verb"]
        try:
            return answer(await self._control.command(release, Command(verb)))
        except ValueError:
            words = ", ".join(f"`{known}`" for known in Command)
            return refusal(BadRequest(f"`{verb}` is none of {words}", code="not_found", status=404))
        except KeyError:
            return refusal(BadRequest(f"no release `{release}`", code="not_found", status=404))
        except PolicydError as error:
            return refusal(BadRequest(str(error), code="conflict", status=409, hint=error.hint))

    async def accept_clock(self, request: Request) -> Response:
        """`POST /v1/clock/accept`: rules end by the clock as it is now, whatever it said before."""
        if "origin" in request.headers:
            return from_a_browser()
        try:
            await self._control.accept_clock()
        except PolicydError as error:
            return refusal(BadRequest(str(error), code="conflict", status=409, hint=error.hint))
        return answer({"accepted": True})

    async def recover(self, request: Request) -> Response:
        """`POST /v1/recover`: what was promoted before the store was lost (`{"promoted": COMMIT}`), or a new root."""
        if "origin" in request.headers:
            return from_a_browser()
        try:
            asked = await read_object(request)
            promoted, new_root = asked.get("promoted", ""), asked.get("new_root", False)
            if not isinstance(promoted, str):
                raise BadRequest("`promoted` is not a string", hint="`HEAD`, or the id of a commit")
            if not isinstance(new_root, bool):
                raise BadRequest("`new_root` is neither true nor false")
            if not promoted and not new_root:
                raise BadRequest("neither `promoted` nor `new_root` is asked for")
            return answer(await self._control.recover(promoted, new_root=new_root))
        except BadRequest as error:
            return refusal(error)
        except PolicydError as error:
            return refusal(BadRequest(str(error), code="conflict", status=409, hint=error.hint))

    async def self_check(self, request: Request) -> Response:
        """`POST /v1/self-check`: compare with a controller that remembers nothing, now."""
        if "origin" in request.headers:
            return from_a_browser()
        try:
            return answer(await self._control.self_check())
        except PolicydError as error:
            return refusal(BadRequest(str(error), code="conflict", status=409, hint=error.hint))

    async def events(self, _: Request) -> Response:
        """Server-sent events, from now on."""
        return StreamingResponse(_lines(self._control.events()), media_type="text/event-stream")

    async def healthz(self, _: Request) -> Response:
        """Whether the process answers at all."""
        return answer({"ok": True})

    async def readyz(self, _: Request) -> Response:
        """Whether proxies get their configuration from here."""
        why_not = self._control.ready()
        return answer({"ready": not why_not, "reason": why_not}, status=503 if why_not else 200)

    async def metrics(self, _: Request) -> Response:
        """Prometheus's text format."""
        self._control.measure()
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _lines(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    yield b": connected\n\n"
    async for event in events:
        yield b"event: " + event.kind.value.encode() + b"\ndata: " + orjson.dumps(event, default=str) + b"\n\n"
