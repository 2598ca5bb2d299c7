"""Many subscribed xDS clients in one process: each asks for what an Envoy asks for, and acknowledges everything.

`python tests/bench/xds_clients.py ADDRESS < NODE_IDS`. Says `ready` once every client has its listeners and
clusters, and, when standard input ends, what they got since then, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import grpc.aio
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from policyd.compiler.artifact import Artifact
from policyd.delivery.references import read_references
from policyd.delivery.resource_types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET

CHANNELS = 8
"""Connections that the streams share; gRPC carries many on each."""


class Client:
    """One delta stream: wildcards for clusters and listeners, names for all that those refer to."""

    def __init__(self, call: Any, node_id: str) -> None:
        self._call = call
        self._node_id = node_id
        self._subscribed: dict[str, set[str]] = {ENDPOINT: set(), ROUTE: set(), SECRET: set()}
        self.ready = asyncio.Event()
        self.resources = 0
        self.responses = 0

    async def run(self) -> None:
        """Subscribe, and acknowledge until the stream ends."""
        first = discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER)
        first.node.id = self._node_id
        await self._call.write(first)
        await self._call.write(discovery_pb2.DeltaDiscoveryRequest(type_url=LISTENER))
        async for response in self._call:
            self.responses += 1
            self.resources += len(response.resources)
            ack = discovery_pb2.DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
            await self._call.write(ack)
            await self._follow(response)
            if response.type_url == ROUTE:
                self.ready.set()

    async def _follow(self, response: Any) -> None:
        """Subscribe to what new clusters and listeners refer to."""
        wanted: dict[str, set[str]] = {ENDPOINT: set(), ROUTE: set(), SECRET: set()}
        for resource in response.resources:
            if resource.resource.type_url in {CLUSTER, LISTENER}:
                used = read_references(Artifact(resource.resource.type_url, resource.name, resource.resource.value))
                wanted[ENDPOINT] |= used.endpoints
                wanted[ROUTE] |= {use.route for use in used.routes}
                wanted[SECRET] |= used.secrets
        for type_url, names in wanted.items():
            fresh = names - self._subscribed[type_url]
            if fresh:
                self._subscribed[type_url] |= fresh
                await self._call.write(
                    discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=sorted(fresh))
                )


async def main(address: str) -> None:
    """Run one client for each node id on standard input."""
    node_ids = sys.stdin.readline().split()
    # Equal arguments would make gRPC share one connection among all channels.
    channels = [grpc.aio.insecure_channel(address, options=[("policyd.channel", n)]) for n in range(CHANNELS)]
    stubs = [ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel) for channel in channels]
    clients = [
        Client(stubs[number % CHANNELS].DeltaAggregatedResources(), node) for number, node in enumerate(node_ids)
    ]
    running = [asyncio.create_task(client.run()) for client in clients]
    await asyncio.gather(*(client.ready.wait() for client in clients))
    for client in clients:
        client.resources = client.responses = 0
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(
        json.dumps(
            {
                "clients": len(clients),
                "responses": sum(client.responses for client in clients),
                "resources": sum(client.resources for client in clients),
            }
        ),
        flush=True,
    )
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    for channel in channels:
        await channel.close(None)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
