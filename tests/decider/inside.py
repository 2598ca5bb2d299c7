"""The HTTP edge and what answers behind it, in the process of a test: for what cannot be done to a whole server."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from dataclasses import dataclass

from policyd.decider.answers import DataApi
from policyd.decider.edge import Edge
from policyd.decider.exchange import Heads
from policyd.decider.limits import DEFAULT, Limits
from policyd.decider.loaded import Loaded
from policyd.decider.openapi import openapi
from policyd.decider.service import DecisionService, Elsewhere
from policyd.decisions import Index
from tests.decider.meshes import READS, shop
from tests.decider.server import COMMIT


@functools.cache
def _loaded() -> Loaded:
    return Loaded(Index.build(shop(READS)), COMMIT, None, {})


@functools.cache
def _openapi() -> bytes:
    return openapi("0")


def edge(*, limits: Limits = DEFAULT, elsewhere: Elsewhere | None = None) -> Edge:
    """An edge that answers from the shop. Needs a running loop."""
    heads = Heads()
    data = DataApi(heads, log=None, version="0", batch=limits.batch)
    data.loaded = _loaded()
    service = DecisionService(
        heads, data, gate=None, elsewhere=elsewhere, openapi=_openapi(), metrics=lambda: "# nothing\n"
    )
    return Edge(service, heads, limits)


@dataclass
class Client:
    """A connection to it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, target: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to a `POST`."""
        self.writer.write(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (target.encode(), len(body)))
        self.writer.write(body)
        return await self.answer()

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer. Raises `TimeoutError` where there is none."""
        async with asyncio.timeout(30):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
            return int(head.split(b" ", 2)[1]), await self.reader.readexactly(length)


@contextlib.asynccontextmanager
async def listening(of: Edge) -> AsyncIterator[int]:
    """The port at which `of` answers."""
    server = await asyncio.get_running_loop().create_server(of.connect, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(of.connections):
            connection.abort()
        await server.wait_closed()


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    """A client, let go at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
