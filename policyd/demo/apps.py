"""The shop's applications: one process that answers on every instance's own loopback address.

What an application does is data (`Behaviour`): what it calls through its sidecar before it answers, and how often it
fails on purpose. A failure on purpose carries the header `x-injected-error`, so that a lost request can be told from
one that was meant. Applications know nothing of policyd: they send plain HTTP to `HTTP_PROXY`, as any program would.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

INJECTED = "x-injected-error"
"""The header on answers that failed on purpose."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One instance: where it listens, what it calls for each request, which share of answers (0..1) fails."""

    service: str
    version: str
    address: str
    port: int
    proxy: str
    calls: tuple[tuple[str, str], ...] = ()
    """(method, URL) of the calls made, in turn, through the sidecar before answering."""
    failing: float = 0.0
    slow_s: float = 0.0
    """How long every answer takes at the least."""


class Instance:
    """Answers for one instance; made once per address."""

    def __init__(self, behaviour: Behaviour, seed: int) -> None:
        self._behaviour = behaviour
        self._dice = random.Random(seed)  # noqa: S311 - chance for a demonstration, not for secrets
        self._numbers = itertools.count(1)
        limits = httpx.Limits(max_keepalive_connections=16)
        self._client = httpx.AsyncClient(proxy=behaviour.proxy, timeout=5.0, limits=limits, trust_env=False)

    async def answer(self, request: Request) -> Response:
        """Call what has to be called, then answer; a failed call becomes a 502 that says which."""
        me = {"service": self._behaviour.service, "version": self._behaviour.version}
        if request.url.path == "/healthz":
            return JSONResponse(me)
        await asyncio.sleep(self._behaviour.slow_s)
        if self._dice.random() < self._behaviour.failing:
            return JSONResponse({**me, "error": "on purpose"}, status_code=500, headers={INJECTED: "yes"})
        for method, url in self._behaviour.calls:
            trouble = await self._call(method, url)
            if trouble:
                return JSONResponse({**me, "error": trouble}, status_code=502)
        return JSONResponse({**me, "number": next(self._numbers)}, headers={"x-version": self._behaviour.version})

    async def _call(self, method: str, url: str) -> str:
        try:
            reply = await self._client.request(method, url)
        except httpx.HTTPError as error:
            return f"{method} {url}: {type(error).__name__}"
        return "" if reply.status_code < 400 else f"{method} {url}: {reply.status_code}"

    async def close(self) -> None:
        """Let go of the connections to the sidecar."""
        await self._client.aclose()


def application(behaviours: tuple[Behaviour, ...]) -> Starlette:
    """One ASGI application for all instances; which one answers is told by the address that was called."""
    instances = {(b.address, b.port): Instance(b, seed) for seed, b in enumerate(behaviours)}

    async def answer(request: Request) -> Response:
        host, port = request.scope["server"]
        return await instances[host, port].answer(request)

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "PUT", "DELETE"])])


async def serve(behaviours: tuple[Behaviour, ...]) -> None:
    """Listen on every instance's address and answer until the process is told to stop."""
    sockets = [_listen(behaviour.address, behaviour.port) for behaviour in behaviours]
    config = uvicorn.Config(application(behaviours), log_level="warning", access_log=False, lifespan="off")
    await uvicorn.Server(config).serve(sockets=sockets)


def _listen(address: str, port: int) -> socket.socket:
    # Named as TCP, or asyncio leaves Nagle's algorithm on for what it accepts, and every answer waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(256)
    return listener


def encode(behaviours: tuple[Behaviour, ...]) -> str:
    """Behaviours as the one command-line argument of this module's process."""
    return json.dumps([asdict(behaviour) for behaviour in behaviours])


def decode(text: str) -> tuple[Behaviour, ...]:
    """The reverse of `encode`."""
    return tuple(_behaviour(item) for item in json.loads(text))


def _behaviour(item: Mapping[str, object]) -> Behaviour:
    calls = tuple((method, url) for method, url in item["calls"])  # type: ignore[attr-defined]
    return Behaviour(**{**item, "calls": calls})  # type: ignore[arg-type]


if __name__ == "__main__":
    asyncio.run(serve(decode(sys.argv[1])))
