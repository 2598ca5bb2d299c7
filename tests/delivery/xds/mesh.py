"""A mesh of one real Envoy: an outbound listener that calls its own mTLS inbound listener, which calls an app."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.load_balancing_policies.ring_hash.v3 import ring_hash_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf import json_format

from policyd.compiler.artifact import Artifact
from policyd.delivery.resource_types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from policyd.delivery.xds.secrets import svid_secret, trust_bundle_secret
from policyd.demo.world import free_port
from policyd.identity import SvidIssuer
from policyd.model.names import Name

WEB = Name("shop", "web")
IDENTITY = "spiffe://shop.example/ns/shop/svc/web"
NODE = "shop/web/v1/127.0.0.1"

# Types that only occur inside `Any`: they have to be in the pool before JSON names them.
_ANY = (http_connection_manager_pb2, ring_hash_pb2, router_pb2, tls_pb2, http_protocol_options_pb2)
_TYPES: dict[str, Any] = {
    CLUSTER: cluster_pb2.Cluster,
    ENDPOINT: endpoint_pb2.ClusterLoadAssignment,
    LISTENER: listener_pb2.Listener,
    ROUTE: route_pb2.RouteConfiguration,
}
_ADS = {"ads": {}, "resource_api_version": "V3"}


def resource(type_url: str, name: str, body: Mapping[str, Any]) -> Artifact:
    """A resource from its JSON form."""
    message = json_format.ParseDict(dict(body), _TYPES[type_url]())
    return Artifact(type_url, name, message.SerializeToString(deterministic=True))


def load(name: str, port: int) -> Artifact:
    endpoint = {"endpoint": {"address": socket_address(port)}}
    return resource(ENDPOINT, name, {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]})


def socket_address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster_body(name: str, **extra: Any) -> dict[str, Any]:
    eds = {"eds_config": {**_ADS, "initial_fetch_timeout": "2s"}}
    return {"name": name, "connect_timeout": "1s", "type": "EDS", "eds_cluster_config": eds, **extra}


def plain_cluster(name: str, **extra: Any) -> Artifact:
    return resource(CLUSTER, name, cluster_body(name, **extra))


def tls_cluster(name: str, **extra: Any) -> Artifact:
    context = {"@type": _any("UpstreamTlsContext"), "sni": "web.shop", "common_tls_context": _common_tls()}
    tls = {"name": "tls", "typed_config": context}
    return resource(CLUSTER, name, cluster_body(name, transport_socket=tls, **extra))


def _common_tls() -> dict[str, Any]:
    san = {"san_type": "URI", "matcher": {"exact": IDENTITY}}
    return {
        "tls_certificate_sds_secret_configs": [{"name": "svid", "sds_config": _ADS}],
        "combined_validation_context": {
            "default_validation_context": {"match_typed_subject_alt_names": [san]},
            "validation_context_sds_secret_config": {"name": "trust-bundle", "sds_config": _ADS},
        },
    }


def _any(name: str) -> str:
    return f"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{name}"


def listener(name: str, port: int, route: str, *, tls: bool, stat_prefix: str | None = None) -> Artifact:
    http = "envoy.extensions.filters"
    manager = {
        "@type": f"type.googleapis.com/{http}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": stat_prefix or name,
        "rds": {"route_config_name": route, "config_source": _ADS},
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"type.googleapis.com/{http}.http.router.v3.Router"}}
        ],
    }
    chain: dict[str, Any] = {"filters": [{"name": "http", "typed_config": manager}]}
    if tls:
        context = {
            "@type": _any("DownstreamTlsContext"),
            "require_client_certificate": True,
            "common_tls_context": _common_tls(),
        }
        chain["transport_socket"] = {"name": "tls", "typed_config": context}
    return resource(LISTENER, name, {"name": name, "address": socket_address(port), "filter_chains": [chain]})


def routes(name: str, cluster: str, *, version: str = "1", **match: Any) -> Artifact:
    """All requests go to `cluster`; `version` comes back in the header `x-routes`."""
    header = {"header": {"key": "x-routes", "value": version}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    host = {
        "name": "all",
        "domains": ["*"],
        "routes": [{"match": match or {"prefix": "/"}, "route": {"cluster": cluster}}],
        "response_headers_to_add": [header],
    }
    return resource(ROUTE, name, {"name": name, "virtual_hosts": [host]})


@dataclass
class Parts:
    """The resources of the node, part by part, so that a test can replace one."""

    issuer: SvidIssuer
    app_port: int
    inbound_port: int = field(default_factory=free_port)
    outbound_port: int = field(default_factory=free_port)

    def artifacts(self, *, peer: str = "peer", version: str = "1", **changed: Artifact) -> list[Artifact]:
        """The whole set: `peer` is the cluster that the outbound routes name, `version` marks them."""
        parts = {
            "svid": self.svid(),
            "bundle": trust_bundle_secret(self.issuer.bundle_pem),
            "app": plain_cluster("app"),
            "app_load": load("app", self.app_port),
            "peer": tls_cluster(peer),
            "peer_load": load(peer, self.inbound_port),
            "inbound": listener("inbound", self.inbound_port, "inbound", tls=True),
            "inbound_routes": routes("inbound", "app"),
            "outbound": listener("outbound", self.outbound_port, "outbound", tls=False),
            "outbound_routes": routes("outbound", peer, version=version),
        }
        return list((parts | changed).values())

    def svid(self) -> Artifact:
        svid = self.issuer.svid(WEB)
        return svid_secret(svid.certificate_chain_pem, svid.key_pem)


@asynccontextmanager
async def app() -> AsyncIterator[int]:
    """An application that says 200 to everything; yields its port."""
    body = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    connections: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(body)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.gather(*connections)  # the proxy has gone, so each of them ends


def bootstrap(xds_address: str) -> dict[str, Any]:
    host, _, port = xds_address.rpartition(":")
    grpc = {"envoy_grpc": {"cluster_name": "xds"}}
    address = {"socket_address": {"address": host, "port_value": int(port)}}
    options = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    xds = {
        "name": "xds",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "xds",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
    }
    return {
        "node": {"id": NODE, "cluster": "web"},
        "dynamic_resources": {
            "ads_config": {"api_type": "DELTA_GRPC", "transport_api_version": "V3", "grpc_services": [grpc]},
            "cds_config": _ADS,
            "lds_config": _ADS,
        },
        "static_resources": {"clusters": [xds]},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
    }


@asynccontextmanager
async def envoy(binary: Path, folder: Path, xds_address: str) -> AsyncIterator[None]:
    """A running Envoy that takes everything from `xds_address`."""
    config = folder / "envoy.json"
    config.write_text(json.dumps(bootstrap(xds_address)))
    with (folder / "envoy.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            str(binary),
            *("-c", str(config), "--disable-hot-restart", "--concurrency", "1", "-l", "info"),
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


@dataclass
class Load:
    """What a caller saw."""

    requests: int = 0
    failures: list[str] = field(default_factory=list)


@asynccontextmanager
async def under_load(port: int, *, fresh_connections: bool = False) -> AsyncIterator[Load]:
    """Four callers that never stop; half of the time on kept connections unless `fresh_connections`."""
    seen = Load()
    stop = asyncio.Event()

    async def call(client: httpx.AsyncClient) -> None:
        headers = {"connection": "close"} if fresh_connections else {}
        while not stop.is_set():
            try:
                response = await client.get(f"http://127.0.0.1:{port}/", headers=headers)
            except httpx.HTTPError as error:
                seen.failures.append(repr(error))
            else:
                if response.status_code != 200:
                    seen.failures.append(f"{response.status_code} {response.text}")
            seen.requests += 1

    async with httpx.AsyncClient(timeout=5) as client:
        callers = [asyncio.create_task(call(client)) for _ in range(4)]
        try:
            yield seen
        finally:
            stop.set()
            await asyncio.gather(*callers)
