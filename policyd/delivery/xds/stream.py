"""One connection of one proxy: bytes in, bytes out, and nothing decided here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from policyd.compiler.memo import Memo
from policyd.delivery.xds.conversation import Conversation
from policyd.delivery.xds.proxy import Proxy
from policyd.delivery.xds.subscriptions import Push
from policyd.delivery.xds.wire import DeltaDiscoveryRequest, encode_push, read_proxy_version, read_request

ServicerContext = Any
"""`grpc.aio.ServicerContext` of one call."""


@dataclass(slots=True)
class Pushed:
    """How much has been sent since the server started."""

    responses: int = 0
    resources: int = 0
    removals: int = 0
    bytes: int = 0

    def count(self, push: Push, size: int) -> None:
        """Add one response of `size` bytes."""
        self.responses += 1
        self.resources += len(push.resources)
        self.removals += len(push.removed)
        self.bytes += size


class Stream:
    """Carries requests of one call to `proxy` and its pushes back, until either side ends."""

    def __init__(self, context: ServicerContext, memo: Memo, pushed: Pushed) -> None:
        self._context = context
        self._memo = memo
        self._pushed = pushed
        self._wake = asyncio.Event()
        self._replaced = asyncio.Event()

    async def serve(
        self,
        first: DeltaDiscoveryRequest,
        requests: AsyncIterator[DeltaDiscoveryRequest],
        proxy: Proxy,
        begun: Callable[[Proxy], None],
    ) -> None:
        """Serve the call to its end. `begun` is called once the proxy knows of the stream."""
        fresh = not first.initial_resource_versions
        version = read_proxy_version(first)
        conversation = proxy.connect(self._wake.set, self._replaced.set, fresh=fresh, version=version)
        begun(proxy)
        tasks = [
            asyncio.create_task(self._read(first, requests, proxy, conversation)),
            asyncio.create_task(self._write(proxy, conversation)),
            asyncio.create_task(self._replaced.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            proxy.disconnect(conversation)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        if self._replaced.is_set():
            await self._context.abort(
                grpc.StatusCode.ABORTED, f"another stream was opened for the node `{proxy.node_id}`"
            )
        for outcome in ended:
            if isinstance(outcome, Exception) and not isinstance(outcome, grpc.aio.UsageError | grpc.RpcError):
                raise outcome

    async def _read(
        self,
        first: DeltaDiscoveryRequest,
        requests: AsyncIterator[DeltaDiscoveryRequest],
        proxy: Proxy,
        conversation: Conversation,
    ) -> None:
        proxy.receive(conversation, read_request(first))
        async for message in requests:
            proxy.receive(conversation, read_request(message))

    async def _write(self, proxy: Proxy, conversation: Conversation) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            for nonce, push in proxy.pushes(conversation):
                body = encode_push(nonce, push, self._memo)
                self._pushed.count(push, len(body))
                await self._context.write(body)
