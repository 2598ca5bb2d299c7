"""One worker: answers on the shared port, loads what the parent sends, and ends with it.

python -m policyd.decider.worker FD      FD is one end of a socket pair, see `wire`
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import orjson
import structlog
import uvloop

from policyd.api.credentials import Auth, Gatekeeper
from policyd.api.decide_settings import Decide
from policyd.api.oidc import OidcTokens, refresh
from policyd.base.collector import collect_seldom
from policyd.base.logs import configure_logs
from policyd.decider.answers import DataApi
from policyd.decider.edge import Edge
from policyd.decider.elsewhere import Other
from policyd.decider.exchange import Heads
from policyd.decider.limits import DEFAULT
from policyd.decider.loaded import Loaded
from policyd.decider.loading import Loading
from policyd.decider.log import DecisionLog
from policyd.decider.masks import Masks
from policyd.decider.openapi import openapi
from policyd.decider.service import DecisionService
from policyd.decider.sinks import Outlet, open_sink
from policyd.decider.wire import Frames, Kind, frame

TICK_S = 0.5
BACKLOG = 1024


class Channel(asyncio.Protocol):
    """The socket pair to the parent."""

    def __init__(self) -> None:
        self.settings: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.closed = asyncio.Event()
        self.differing: dict[str, Any] = {}
        """What the parent said of proxies; `told` is called each time."""
        self.told: Callable[[], None] = lambda: None
        self._loading: Loading | None = None
        self._frames = Frames()
        self._transport: Any = None
        self._early: list[tuple[Kind, bytes]] = []

    def connection_made(self, transport: Any) -> None:
        """The parent is there."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Settings first, then updates."""
        for kind, body in self._frames.feed(data):
            if kind is Kind.SETTINGS:
                self.settings.set_result(orjson.loads(body))
            elif kind is Kind.DIFFERING:
                self.differing = orjson.loads(body)
                self.told()
            elif self._loading is None:
                self._early.append((kind, body))
            else:
                self._loading.put(kind, body)

    def connection_lost(self, exc: Exception | None) -> None:
        """The parent has ended; so do we."""
        self.closed.set()

    def hold(self, held: bool) -> None:
        """Whether the parent has to wait with more."""
        (self._transport.pause_reading if held else self._transport.resume_reading)()

    def load_with(self, loading: Loading) -> None:
        """Where updates go from now on."""
        self._loading = loading
        for kind, body in self._early:
            loading.put(kind, body)
        self._early.clear()

    def say(self, kind: Kind, body: bytes = b"") -> None:
        """Tell the parent."""
        if not self.closed.is_set():
            self._transport.write(frame(kind, body))


class Worker:
    """Everything of one worker, put together."""

    def __init__(self, channel: Channel, said: dict[str, Any]) -> None:
        self._channel = channel
        self._settings = Decide.model_validate_json(orjson.dumps(said["settings"]))
        self._address: tuple[str, int] = (said["host"], said["port"])
        self._number = int(said["number"])
        self._version = str(said["version"])
        self._heads = Heads()
        self._log = self._open_log()
        self._data = DataApi(self._heads, log=self._log, version=self._version, batch=DEFAULT.batch)
        auth: Auth = self._settings.auth
        self._oidc = OidcTokens(auth.oidc) if auth.oidc is not None else None
        opa, controller = self._settings.opa, self._settings.controller
        self._opa = Other("the OPA behind this server", opa) if opa else None
        self._controller = Other("the controller", controller, authorized=True) if controller else None
        service = DecisionService(
            self._heads,
            self._data,
            gate=Gatekeeper(auth, self._oidc) if auth.required else None,
            elsewhere=self._opa,
            controller=self._controller,
            openapi=openapi(self._version, at=bool(controller)),
            metrics=self._metrics,
        )
        self._edge = Edge(service, self._heads, DEFAULT)

    async def run(self, stop: asyncio.Event) -> None:
        """Answer until `stop`, or until the parent ends; everybody who asked has an answer then."""
        loop = asyncio.get_running_loop()

        def broken(error: Exception) -> None:
            structlog.get_logger("decide").error("an update cannot be loaded", exc_info=error)
            stop.set()  # another worker is sent everything anew

        self._channel.load_with(Loading(self._swapped, self._channel.hold, broken))
        self._channel.told = self._differ
        self._differ()
        listener = listening(*self._address)
        server = await loop.create_server(self._edge.connect, sock=listener, backlog=BACKLOG)
        self._channel.say(Kind.READY)
        tasks = [loop.create_task(self._tick())]
        if self._oidc is not None and self._settings.auth.oidc is not None:
            tasks.append(
                loop.create_task(refresh(self._oidc, self._settings.auth.oidc, self._settings.fetch.allowed))
            )
        for task in tasks:
            task.add_done_callback(lambda done: _ended(done, stop))
        await stop.wait()
        await asyncio.sleep(0)  # who is connected already, and not accepted yet, is
        server.close()
        await self._edge.drain()
        for task in tasks:
            task.cancel()
        if self._log is not None:
            await asyncio.to_thread(self._log.close)
        for other in filter(None, (self._opa, self._controller)):
            await other.close()

    def _swapped(self, loaded: Loaded) -> None:
        self._data.loaded = loaded
        self._channel.say(Kind.LOADED, loaded.revision.encode())

    def _differ(self) -> None:
        self._data.differing = self._channel.differing

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._heads.set_date(time.time())
            self._edge.sweep(loop.time())
            await asyncio.sleep(TICK_S)

    def _open_log(self) -> DecisionLog | None:
        said = self._settings.log
        if said is None:
            return None
        bound = said.waiting_bytes
        outlets = tuple(Outlet(open_sink(to, token=said.token), waiting_bytes=bound) for to in said.to)
        masks = Masks(said.mask, said.drop) if said.mask or said.drop else None
        labels = {"app": "policyd", "id": f"{socket.gethostname()}/{self._number}", "version": self._version}
        return DecisionLog(outlets, masks, labels)

    def _metrics(self) -> str:
        """The counters of one worker, in the format of Prometheus."""
        label = f'{{worker="{self._number}"}}'
        values = {
            "policyd_decisions_total": self._data.decided,
            "policyd_decision_log_lost_total": self._log.lost if self._log is not None else 0,
            "policyd_decision_log_dropped_total": self._log.dropped if self._log is not None else 0,
            "policyd_decider_connections": len(self._edge.connections),
            "policyd_decider_loaded": int(self._data.loaded is not None),
        }
        lines: list[str] = []
        for name, value in values.items():
            lines += [f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}", f"{name}{label} {value}"]
        return "\n".join(lines) + "\n"


def _ended(task: asyncio.Task[None], stop: asyncio.Event) -> None:
    """What a worker lives by has ended by itself: answer whom we have, and let the parent start another one."""
    if not task.cancelled() and (error := task.exception()) is not None:
        structlog.get_logger("decide").error("worker cannot go on", exc_info=error)
        stop.set()


def listening(host: str, port: int) -> socket.socket:
    """A socket on the port that all workers share. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


async def serve(descriptor: int) -> None:
    """Run a worker over the socket pair whose end is `descriptor`."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    # An interrupt at the terminal reaches all; the parent says when to end.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    ours = socket.socket(fileno=descriptor)
    _, channel = await loop.create_connection(Channel, sock=ours)
    closing = loop.create_task(channel.closed.wait())
    closing.add_done_callback(lambda _: stop.set())
    first: list[asyncio.Future[Any]] = [channel.settings, loop.create_task(stop.wait())]
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    if not channel.settings.done():
        return  # the parent has ended, or wants us to, before it said anything
    said = channel.settings.result()
    configure_logs(json=bool(said["json"]))  # to standard error: decisions may be written to standard output
    try:
        worker = Worker(channel, said)
    except OSError as error:
        channel.say(Kind.FAILED, str(error).encode())
        raise SystemExit(1) from error
    await worker.run(stop)
    closing.cancel()


def main() -> None:
    """The process."""
    collect_seldom()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(int(sys.argv[1])))
    sys.stdout.flush()
    os._exit(0)  # a thread that still writes to something that hangs must not keep the process


if __name__ == "__main__":
    main()
