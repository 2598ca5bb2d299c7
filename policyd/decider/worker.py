"""One worker: answers on the shared port, loads what the parent sends, and ends with it.

python -m policyd.decider.worker FD      FD is one end of a socket pair, see `wire`
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
import structlog
import uvloop

from policyd.base.collector import collect_seldom
from policyd.base.logs import configure_logs
from policyd.decider.answers import DataApi
from policyd.decider.edge import Edge
from policyd.decider.exchange import Heads
from policyd.decider.limits import DEFAULT
from policyd.decider.listening import listening
from policyd.decider.loaded import Loaded
from policyd.decider.loading import Loading
from policyd.decider.log import DecisionLog
from policyd.decider.masks import Masks
from policyd.decider.openapi import openapi
from policyd.decider.outlet import Outlet, open_sink
from policyd.decider.service import DecisionService, Gate
from policyd.decider.wire import Frames, Kind, WorkerSettings, frame

if TYPE_CHECKING:
    from policyd.decider.elsewhere import Other

TICK_S = 0.5
BACKLOG = 1024


class Channel(asyncio.Protocol):
    """The socket pair to the parent."""

    def __init__(self) -> None:
        self.settings: asyncio.Future[WorkerSettings] = asyncio.get_running_loop().create_future()
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
                self.settings.set_result(pickle.loads(body))  # noqa: S301  (see `wire`: the parent wrote it)
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

    def __init__(self, channel: Channel, settings: WorkerSettings) -> None:
        self._channel = channel
        self._settings = settings
        self._heads = Heads()
        self._log = self._open_log()
        self._log_trouble = ""
        self._data = DataApi(self._heads, log=self._log, version=settings.version, batch=DEFAULT.batch)
        gate, self._refreshed = _gate(settings)
        self._opa = _other("the OPA behind this server", settings.opa)
        self._controller = _other("the controller", settings.controller, authorized=True)
        service = DecisionService(
            self._heads,
            self._data,
            gate=gate,
            elsewhere=self._opa,
            controller=self._controller,
            openapi=openapi(settings.version, at=bool(settings.controller)),
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
        listener = listening(self._settings.host, self._settings.port)
        server = await loop.create_server(self._edge.connect, sock=listener, backlog=BACKLOG)
        self._channel.say(Kind.READY)
        tasks = [loop.create_task(self._tick())]
        if self._refreshed is not None:
            tasks.append(loop.create_task(self._refreshed()))
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
            self._say_of_the_log(self._log)
            if self._log.lost:
                structlog.get_logger("decide").error("decisions are not in the log", lost=self._log.lost)
        for other in filter(None, (self._opa, self._controller)):
            await other.close()

    def _swapped(self, loaded: Loaded) -> None:
        self._data.loaded = loaded
        self._channel.say(Kind.LOADED, loaded.revision.encode())

    def _differ(self) -> None:
        self._data.differing = self._channel.differing

    def _say_of_the_log(self, log: DecisionLog) -> None:
        """When it cannot be written any more, and when it can be again."""
        if (trouble := log.trouble) == self._log_trouble:
            return
        self._log_trouble = trouble
        own = structlog.get_logger("decide")
        if trouble:
            own.error("the decision log cannot be written", why=trouble, lost=log.lost)
        else:
            own.info("the decision log is written again", lost=log.lost)

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if self._log is not None:
                self._say_of_the_log(self._log)
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
        labels = {
            "app": "policyd",
            "id": f"{socket.gethostname()}/{self._settings.number}",
            "version": self._settings.version,
        }
        return DecisionLog(outlets, masks, labels)

    def _metrics(self) -> str:
        """The counters of one worker, in the format of Prometheus."""
        label = f'{{worker="{self._settings.number}"}}'
        values = {
            "policyd_decisions_total": self._data.decided,
            "policyd_decision_log_lost_total": self._log.lost if self._log is not None else 0,
            "policyd_decision_log_waiting_bytes": self._log.waiting if self._log is not None else 0,
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


# What only some workers need is loaded by those: clients of HTTP, settings and tokens are as large as all the rest.


def _gate(settings: WorkerSettings) -> tuple[Gate | None, Callable[[], Coroutine[Any, Any, None]] | None]:
    """Who may ask, and what keeps the keys fresh by which tokens are signed."""
    if not settings.auth:
        return None, None
    from policyd.api.credentials import Auth, Gatekeeper  # noqa: PLC0415
    from policyd.api.fetch_settings import Fetch  # noqa: PLC0415
    from policyd.api.oidc import OidcTokens, refresh  # noqa: PLC0415

    said = Auth.model_validate_json(settings.auth)
    if said.oidc is None:
        return Gatekeeper(said), None
    tokens, allowed = OidcTokens(said.oidc), Fetch.model_validate_json(settings.fetch).allowed
    return Gatekeeper(said, tokens), partial(refresh, tokens, said.oidc, allowed)


def _other(name: str, url: str, *, authorized: bool = False) -> Other | None:
    """A server that answers for this one."""
    if not url:
        return None
    from policyd.decider.elsewhere import Other  # noqa: PLC0415

    return Other(name, url, authorized=authorized)


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
    configure_logs(json=said.json)  # to standard error: decisions may be written to standard output
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
