"""A raw delta ADS client, hand-made resources, and a server with a fake clock to talk to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc.aio
import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from google.rpc import status_pb2

from policyd.compiler.artifact import Artifact
from policyd.delivery.ledger import Event, Ledger
from policyd.delivery.resource_types import CLUSTER, ENDPOINT
from policyd.delivery.snapshot import NodeSnapshot
from policyd.delivery.xds.server import XdsServer
from policyd.testing.clock import FakeClock

PATIENCE_S = 10.0
"""How long a test waits for something that must happen."""
QUIET_S = 0.15
"""How long a test watches that nothing happens."""
_LARGE = (("grpc.max_receive_message_length", 64 * 1024 * 1024),)
_EOF: object = getattr(grpc.aio, "EOF")  # noqa: B009 -- the stubs do not know it


def cluster(name: str, *, connect_s: int = 1, eds: bool = True) -> Artifact:
    """A cluster whose content changes with `connect_s`."""
    message = cluster_pb2.Cluster(name=name)
    message.connect_timeout.seconds = connect_s
    if eds:
        message.type = cluster_pb2.Cluster.EDS
        message.eds_cluster_config.eds_config.ads.SetInParent()
    return Artifact(CLUSTER, name, message.SerializeToString(deterministic=True))


def endpoints(name: str, *ports: int) -> Artifact:
    """A load assignment on loopback."""
    message = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    locality = message.endpoints.add()
    for port in ports:
        address = locality.lb_endpoints.add().endpoint.address.socket_address
        address.address, address.port_value = "127.0.0.1", port
    return Artifact(ENDPOINT, name, message.SerializeToString(deterministic=True))


def plain(type_url: str, name: str, body: bytes = b"") -> Artifact:
    """A resource whose content the raw client does not look at."""
    return Artifact(type_url, name, body)


@dataclass
class Response:
    """A response as the tests compare it."""

    type_url: str
    versions: dict[str, str]
    removed: list[str]
    nonce: str

    @property
    def names(self) -> list[str]:
        return sorted(self.versions)


class RawClient:
    """Speaks the protocol by hand: nothing is acknowledged unless the test says so."""

    def __init__(self, call: Any, node_id: str) -> None:
        self._call = call
        self._node_id = node_id
        self._begun = False

    async def send(
        self,
        type_url: str,
        *,
        subscribe: Iterable[str] = (),
        unsubscribe: Iterable[str] = (),
        initial: Mapping[str, str] | None = None,
        nonce: str = "",
        error: str | None = None,
    ) -> None:
        request = discovery_pb2.DeltaDiscoveryRequest(
            type_url=type_url,
            resource_names_subscribe=subscribe,
            resource_names_unsubscribe=unsubscribe,
            initial_resource_versions=initial or {},
            response_nonce=nonce,
        )
        if not self._begun:
            request.node.id, request.node.user_agent_name = self._node_id, "envoy"
            version = request.node.user_agent_build_version.version
            version.major_number, version.minor_number = 1, 40
            self._begun = True
        if error is not None:
            request.error_detail.CopyFrom(status_pb2.Status(code=3, message=error))
        await self._call.write(request)

    async def receive(self) -> Response:
        message = await asyncio.wait_for(self._call.read(), PATIENCE_S)
        assert message is not _EOF, "the server ended the stream"
        assert message.nonce
        return Response(
            message.type_url,
            {resource.name: resource.version for resource in message.resources},
            sorted(message.removed_resources),
            message.nonce,
        )

    async def receive_and_ack(self) -> Response:
        response = await self.receive()
        await self.ack(response)
        return response

    async def ack(self, response: Response) -> None:
        await self.send(response.type_url, nonce=response.nonce)

    async def nack(self, response: Response, error: str) -> None:
        await self.send(response.type_url, nonce=response.nonce, error=error)

    async def silence(self) -> None:
        """Assert that the server has nothing to say."""
        read = asyncio.ensure_future(self._call.read())
        done, _ = await asyncio.wait([read], timeout=QUIET_S)
        if done:
            raise AssertionError(f"unexpected: {read.result()}")
        # A cancelled read would cancel the call, so that a quiet stream can only be closed afterwards.
        self._pending = read

    async def ended(self) -> tuple[Any, str]:
        """Code and details with which the server ends the call."""
        try:
            while await asyncio.wait_for(self._call.read(), PATIENCE_S) is not _EOF:
                pass
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
        return await self._call.code(), await self._call.details()

    def close(self) -> None:
        self._call.cancel()


@dataclass
class World:
    """A running server and what it reports."""

    server: XdsServer
    ledger: Ledger
    clock: FakeClock
    events: list[Event]

    @asynccontextmanager
    async def client(self, node_id: str = "shop/web/v1/127.0.0.1") -> AsyncIterator[RawClient]:
        async with grpc.aio.insecure_channel(self.server.address, options=_LARGE) as channel:
            call = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).DeltaAggregatedResources()
            client = RawClient(call, node_id)
            yield client
            client.close()

    async def give(self, *artifacts: Artifact, node_id: str = "shop/web/v1/127.0.0.1") -> Any:
        """Assign without waiting for anyone: the node is not connected."""
        return await self.server.apply({node_id: NodeSnapshot.of(node_id, artifacts)}, 5.0)

    def applying(
        self, *artifacts: Artifact, node_id: str = "shop/web/v1/127.0.0.1", deadline_s: float = 5.0
    ) -> asyncio.Task[Any]:
        """Assign to a connected node; the task ends with the result."""
        assignment = {node_id: NodeSnapshot.of(node_id, artifacts)}
        return asyncio.create_task(self.server.apply(assignment, deadline_s))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock = FakeClock()
    events: list[Event] = []
    ledger = Ledger([events.append])
    server = XdsServer("127.0.0.1:0", clock, ledger)
    await server.start()
    yield World(server, ledger, clock, events)
    await server.stop()
