"""The aggregated discovery server (delta xDS over gRPC): snapshots in, acknowledgements out.

Its life: `start`, then `apply` for every assignment, then `stop`. What is said to a proxy is decided in
`conversation`, what a refusal means in `proxy`.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

import grpc
import grpc.aio
import structlog

from policyd.base.clock import Clock
from policyd.base.errors import Stalled, UsageError
from policyd.compiler.memo import Memo
from policyd.delivery.ledger import Ledger
from policyd.delivery.outcome import Applied, Refusal, Refused
from policyd.delivery.snapshot import NodeSnapshot, reference_reader
from policyd.delivery.xds.deadlines import Deadlines
from policyd.delivery.xds.proxy import Proxy
from policyd.delivery.xds.stream import Pushed, ServicerContext, Stream
from policyd.delivery.xds.wire import DeltaDiscoveryRequest, parse_request

log = structlog.get_logger(__name__)

DELTA_ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
_MESSAGE_BYTES = 64 * 1024 * 1024
"""Large enough for the first request of a proxy that returns with 100,000 resources."""
OPTIONS = (
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Sidecars ping every 10 s (less jitter) and are silent otherwise; gRPC would cut them off at two in five minutes.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.so_reuseport", 0),
)
"""What the gRPC server is built with; gRPC ignores names that it does not know."""
_REMEMBERED = 20_000
"""Resources whose bytes are built before the memo forgets those that nobody asked for."""


class XdsServer:
    """Serves proxies on `address` (`host:port`, port 0 = any free one; loopback only until proxies are attested).

    `return_deadline_s` bounds the acknowledgement of what a proxy gets when it connects. `keep` writes down what the
    ledger has learnt: awaited before anything newer is sent, and before an assignment counts as acknowledged.
    `floor` takes out of a set that was acknowledged before what must not be served any more.
    Raises `UsageError` for an address that other hosts can reach.
    """

    def __init__(
        self,
        address: str,
        clock: Clock,
        ledger: Ledger,
        *,
        return_deadline_s: float = 30.0,
        keep: Callable[[], Awaitable[None]] | None = None,
        floor: Callable[[NodeSnapshot], NodeSnapshot] | None = None,
    ) -> None:
        self._host = _loopback_host(address)
        self._address = address
        self._clock = clock
        self._ledger = ledger
        self._deadline_s = return_deadline_s
        self._floor = floor
        self._keep = keep if keep is not None else _nothing
        self._memo = Memo()
        self._aged_at = 0
        self._read = reference_reader(self._memo)
        self._proxies: dict[str, Proxy] = {}
        self._deadlines = Deadlines(clock)
        self._connections = asyncio.Event()
        self._withholding = False
        self._server: Any = None
        self._port = 0
        self.pushed = Pushed()

    @property
    def address(self) -> str:
        """`host:port` as bound; valid after `start`."""
        return f"{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen. Raises `Stalled` when the address is taken."""
        server: Any = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers((_Methods(self._serve),))
        try:
            self._port = server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise Stalled(
                f"cannot listen on {self._address} for xDS: {error}", hint="is another controller running?"
            ) from error
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Close all streams. Proxies keep what they have and come back with their versions."""
        self._deadlines.stop()
        if self._server is not None:
            await self._server.stop(grace=0)
            self._server = None

    def connected(self) -> frozenset[str]:
        """Ids of the nodes with an open stream, assigned or not; strangers that are withheld are not among them."""
        return frozenset(node_id for node_id, proxy in self._proxies.items() if proxy.connected)

    def in_sync(self, node_id: str) -> bool:
        """Whether a node is connected and has acknowledged what it is assigned."""
        known = self._proxies.get(node_id)
        return known is not None and known.connected and known.converged and known.refusal is None

    def present(self) -> frozenset[str]:
        """Ids of all nodes with an open stream, whether anything may be sent to them or not."""
        return frozenset(node_id for node_id, proxy in self._proxies.items() if proxy.present)

    def withhold(self, strangers: bool) -> None:
        """Whether proxies that return with configuration of which there is no record are sent nothing.

        Those that were withheld are served from their next assignment on, once they are not any more.
        """
        self._withholding = strangers
        if not strangers:
            for proxy in self._proxies.values():
                proxy.admit()

    def holders(self) -> frozenset[str]:
        """Nodes that hold what this process has not given them: strangers, and all that are recalled."""
        recalled = {node_id for node_id, record in self._ledger.records.items() if record.recalled and record.whole}
        return frozenset(recalled | {node_id for node_id, proxy in self._proxies.items() if proxy.stranger})

    def proxy_version(self, node_id: str) -> str:
        """The program that runs as that node, such as `envoy 1.40.0`; empty until it has said so."""
        proxy = self._proxies.get(node_id)
        return proxy.version if proxy is not None else ""

    def refusals(self) -> Mapping[str, Refusal]:
        """By node id: why it does not have what it is assigned. Nodes that have it, or may yet, are not there."""
        return {node_id: proxy.refusal for node_id, proxy in self._proxies.items() if proxy.refusal is not None}

    async def wait_connected(self, node_ids: Iterable[str], timeout_s: float) -> None:
        """Return when all these nodes have a stream; raises `TimeoutError` after `timeout_s` of real time."""
        wanted = frozenset(node_ids)
        async with asyncio.timeout(timeout_s):
            while not wanted <= self.connected():
                await self._connections.wait()

    async def wait_present(self, node_ids: Iterable[str], timeout_s: float) -> None:
        """The same, of nodes that are withheld, too."""
        wanted = frozenset(node_ids)
        async with asyncio.timeout(timeout_s):
            while not wanted <= self.present():
                await self._connections.wait()

    async def wait_disconnected(self, node_ids: Iterable[str]) -> None:
        """Return when none of these nodes has a stream."""
        for node_id in node_ids:
            await self.proxy(node_id).gone()

    def expect(self, node_ids: Iterable[str]) -> None:
        """These nodes belong to the mesh, although nothing has been compiled for them yet."""
        for node_id in node_ids:
            self._ledger.record(node_id).known = True

    def proxy(self, node_id: str) -> Proxy:
        """What is known of one node; begun if it is new."""
        known = self._proxies.get(node_id)
        if known is None:
            known = self._proxies[node_id] = Proxy(
                node_id,
                self._clock,
                self._ledger,
                self._read,
                asked_again=self._allow_time,
                floor=self._floor,
                withholding=lambda: self._withholding,
            )
        return known

    async def apply(self, assignment: Mapping[str, NodeSnapshot], deadline_s: float) -> Applied | Refused:
        """Give each named node its snapshot and wait until every connected one has acknowledged or refused it.

        Nodes that are not named keep what they have. Applying the same content again sends nothing and returns
        the same result. A node that gives no answer within `deadline_s` has refused. A later call supersedes an
        earlier one for the nodes that both name.
        """
        self._age()
        await self._keep()
        for node_id in sorted(assignment):
            proxy = self.proxy(node_id)
            epoch = proxy.epoch
            proxy.assign(assignment[node_id])
            if proxy.connected and proxy.epoch != epoch:
                self._deadlines.start(proxy, deadline_s)
        for node_id, snapshot in assignment.items():
            await self.proxy(node_id).settled(snapshot)
        await self._keep()
        return self._outcome(assignment)

    def _outcome(self, assignment: Mapping[str, NodeSnapshot]) -> Applied | Refused:
        acknowledged: set[str] = set()
        absent: set[str] = set()
        superseded: set[str] = set()
        refusals: list[Refusal] = []
        for node_id, snapshot in sorted(assignment.items()):
            proxy = self.proxy(node_id)
            if proxy.assigned is None or proxy.assigned.digest != snapshot.digest:
                superseded.add(node_id)
            elif proxy.refusal is not None:
                refusals.append(proxy.refusal)
            elif proxy.converged:
                acknowledged.add(node_id)
            else:
                absent.add(node_id)
        if refusals:
            return Refused(tuple(refusals), frozenset(acknowledged), frozenset(absent), frozenset(superseded))
        return Applied(frozenset(acknowledged), frozenset(absent), frozenset(superseded))

    def forget(self, node_id: str) -> None:
        """A node has left the mesh for good. If it is still connected it keeps what it has."""
        proxy = self._proxies.get(node_id)
        if proxy is not None and not proxy.connected:
            del self._proxies[node_id]
            self._ledger.forget(node_id)

    async def _serve(self, requests: AsyncIterator[DeltaDiscoveryRequest], context: ServicerContext) -> None:
        first = await anext(requests, None)
        if first is None:
            return
        if not first.node.id:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first request must carry `node.id`")
        stream = Stream(context, self._memo, self.pushed)
        await stream.serve(first, requests, self.proxy(first.node.id), self._joined)

    def _joined(self, proxy: Proxy) -> None:
        if proxy.assigned is not None:
            self._allow_time(proxy)
        self._connections.set()
        self._connections = asyncio.Event()

    def _allow_time(self, proxy: Proxy) -> None:
        self._deadlines.start(proxy, self._deadline_s)

    def _age(self) -> None:
        if self._memo.builds - self._aged_at > _REMEMBERED:
            self._aged_at = self._memo.builds
            self._memo.age()


class _Methods:
    """A generic handler: one method is served; every other one is refused with words that help."""

    def __init__(self, serve: Callable[..., Any]) -> None:
        self._delta = grpc.stream_stream_rpc_method_handler(serve, request_deserializer=parse_request)

    def service(self, details: Any) -> Any:
        """The handler for a call."""
        if details.method == DELTA_ADS:
            return self._delta
        return grpc.stream_stream_rpc_method_handler(_refuse)


async def _nothing() -> None:
    """Nobody keeps what the ledger learns."""


async def _refuse(requests: AsyncIterator[bytes], context: ServicerContext) -> None:
    await context.abort(
        grpc.StatusCode.UNIMPLEMENTED,
        "only delta ADS is served: set `ads_config.api_type: DELTA_GRPC` and take every resource from `ads`",
    )


def _loopback_host(address: str) -> str:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise UsageError(f"`{address}` is not an address for xDS", hint="write `127.0.0.1:18000`")
    try:
        loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise UsageError(
            f"xDS on `{address}` would be reachable from other hosts, and proxies are not attested yet",
            hint="listen on a loopback address such as `127.0.0.1`",
        )
    return host
