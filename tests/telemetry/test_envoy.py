"""The reader against a real Envoy: what is counted, what is not, and what a reset looks like."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from policyd.base.clock import SystemClock
from policyd.telemetry.buckets import quantile
from policyd.telemetry.counters import Outcomes, Tick, difference
from policyd.telemetry.envoy import EnvoyStats, parse_stats
from policyd.telemetry.source import Reading

NODE = "default/web/v1/127.0.0.1"
CLUSTER = "default/checkout/v1"
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
RBAC = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"
ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
}


class Application:
    """Answers 500 to `/bad`, 503 to every second request for `/flaky`, 200 to the rest, after a set delay."""

    def __init__(self) -> None:
        self.flaky = 0
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1]
            status = b"200 OK"
            if path == b"/bad":
                status = b"500 Internal Server Error"
            elif path == b"/flaky":
                self.flaky += 1
                status = b"503 Service Unavailable" if self.flaky % 2 else b"200 OK"
            elif path == b"/slow":
                await asyncio.sleep(0.06)
            writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class Sidecar:
    """One Envoy whose clusters come from a file, so that a test can change them like CDS does."""

    def __init__(self, binary: Path, folder: Path, app_port: int) -> None:
        self._binary = binary
        self._folder = folder
        self._app_port = app_port
        self.admin = folder / "admin.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def set_cluster(self, connect_timeout: str) -> None:
        address = {"socket_address": {"address": "127.0.0.1", "port_value": self._app_port}}
        cluster = {
            "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            "name": CLUSTER,
            "connect_timeout": connect_timeout,
            "load_assignment": {
                "cluster_name": CLUSTER,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
            },
        }
        fresh = self._folder / "cds.new"
        fresh.write_text(json.dumps({"resources": [cluster]}))
        fresh.rename(self._folder / "cds.json")

    def start(self) -> None:
        self.set_cluster("1s")
        (self._folder / "bootstrap.json").write_text(json.dumps(self._bootstrap()))
        self._process = subprocess.Popen(
            [
                *(self._binary, "-c", self._folder / "bootstrap.json"),
                *("--disable-hot-restart", "--concurrency", "1", "--log-path", self._folder / "envoy.log"),
            ],
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def _bootstrap(self) -> dict[str, Any]:
        retrying = {"retry_on": "5xx", "num_retries": 1, "retry_back_off": {"base_interval": "0.001s"}}
        per_route = {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
            "rbac": {
                "rules_stat_prefix": "access_",
                "rules": {
                    "action": "DENY",
                    "policies": {
                        "closed": {
                            "permissions": [{"url_path": {"path": {"prefix": "/closed"}}}],
                            "principals": [{"any": True}],
                        }
                    },
                },
            },
        }
        canonical = {
            "@type": RBAC,
            "rules_stat_prefix": "canon_",
            "rules": {
                "action": "DENY",
                "policies": {
                    "not-canonical": {
                        "permissions": [{"url_path": {"path": {"suffix": "//"}}}],
                        "principals": [{"any": True}],
                    }
                },
            },
        }
        host = {
            "name": "all",
            "domains": ["*"],
            "typed_per_filter_config": {"envoy.filters.http.rbac": per_route},
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": CLUSTER, "retry_policy": retrying}}],
        }
        manager = {
            "@type": HCM,
            "stat_prefix": "inbound",
            "route_config": {"validate_clusters": False, "virtual_hosts": [host]},
            "http_filters": [
                {"name": "policyd.canonical", "typed_config": canonical},
                {"name": "envoy.filters.http.rbac", "typed_config": {"@type": RBAC, "rules": {"action": "ALLOW"}}},
                ROUTER,
            ],
        }
        return {
            "node": {"id": NODE, "cluster": "test"},
            "admin": {"address": {"pipe": {"path": str(self.admin)}}},
            "stats_flush_interval": "0.2s",
            "dynamic_resources": {"cds_config": {"path_config_source": {"path": str(self._folder / "cds.json")}}},
            "static_resources": {
                "listeners": [
                    {
                        "name": "inbound",
                        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                        "filter_chains": [
                            {
                                "filters": [
                                    {
                                        "name": "envoy.filters.network.http_connection_manager",
                                        "typed_config": manager,
                                    }
                                ]
                            }
                        ],
                    }
                ]
            },
        }

    async def ready(self) -> None:
        """Return once the listener is open and the cluster is there."""
        transport = httpx.AsyncHTTPTransport(uds=str(self.admin))
        async with httpx.AsyncClient(base_url="http://admin", transport=transport) as client, asyncio.timeout(20):
            while True:
                try:
                    live = (await client.get("/ready")).status_code == 200
                    listeners = (await client.get("/listeners", params={"format": "json"})).json()
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)
                    continue
                if live and listeners.get("listener_statuses"):
                    address = listeners["listener_statuses"][0]["local_address"]["socket_address"]
                    self.url = f"http://{address['address']}:{address['port_value']}"
                    return
                await asyncio.sleep(0.05)


class Bench:
    """A sidecar, the application behind it, and a reader."""

    def __init__(self, sidecar: Sidecar, app: Application, reader: EnvoyStats) -> None:
        self.sidecar, self.app, self.reader = sidecar, app, reader

    async def call(self, path: str, times: int = 1) -> list[int]:
        async with httpx.AsyncClient(base_url=self.sidecar.url, trust_env=False) as client:
            return [(await client.get(path)).status_code for _ in range(times)]

    async def read(self) -> Reading:
        return await self.reader.read([NODE])

    async def until(self, before: Reading, holds: Callable[[Tick], bool]) -> Tick:
        """The tick since `before`, once it is as expected; fails after ten seconds."""
        async with asyncio.timeout(10):
            while True:
                tick = difference(before, await self.read())
                if holds(tick):
                    return tick
                await asyncio.sleep(0.05)


@pytest.fixture
async def bench(envoy_binary: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    app = Application()
    await app.start()
    sidecar = Sidecar(envoy_binary, tmp_path, app.port)
    sidecar.start()
    reader = EnvoyStats({NODE: f"unix:{sidecar.admin}"}, SystemClock())
    try:
        await sidecar.ready()
        yield Bench(sidecar, app, reader)
    finally:
        await reader.aclose()
        sidecar.stop()
        await app.stop()


def calls(tick: Tick) -> Outcomes:
    return tick.nodes[NODE].clusters.get(CLUSTER, Outcomes())


async def test_final_outcomes_are_counted_and_retried_attempts_are_not(bench: Bench) -> None:
    before = await bench.read()
    assert await bench.call("/", 3) == [200, 200, 200]
    assert await bench.call("/flaky", 2) == [200, 200]  # each of them a 503 first
    assert bench.app.flaky == 4
    assert await bench.call("/bad") == [500]  # and so was the second try
    tick = await bench.until(before, lambda tick: calls(tick).requests == 6)
    assert (calls(tick).errors, calls(tick).retries) == (1, 3)


async def test_an_application_that_is_gone_is_an_error(bench: Bench) -> None:
    before = await bench.read()
    await bench.app.stop()
    assert await bench.call("/") == [503]
    tick = await bench.until(before, lambda tick: calls(tick).requests == 1)
    assert calls(tick).errors == 1


async def test_denials_of_access_are_counted_and_malformed_requests_are_not_among_them(bench: Bench) -> None:
    before = await bench.read()
    assert await bench.call("/closed", 2) == [403, 403]
    assert await bench.call("/strange//") == [403]
    assert await bench.call("/") == [200]
    tick = await bench.until(before, lambda tick: tick.nodes[NODE].inbound == Outcomes(4, 2))
    assert calls(tick).requests == 1


async def test_latencies_come_as_whole_numbers_in_buckets(bench: Bench) -> None:
    before = await bench.read()
    await bench.call("/slow", 4)

    def timed(tick: Tick) -> bool:
        latency = calls(tick).latency
        return latency is not None and latency.total == 4

    latency = calls(await bench.until(before, timed)).latency
    assert latency is not None
    median = quantile(latency, 0.5)
    assert median is not None
    assert 50 <= median <= 250


async def test_a_cluster_that_changed_by_cds_is_left_out_of_that_tick(bench: Bench) -> None:
    await bench.call("/bad", 5)
    before = await bench.read()
    assert before.nodes[NODE].clusters[CLUSTER].errors == 5
    bench.sidecar.set_cluster("2s")
    # What was counted before the change is never seen as negative, nor as if nothing had happened.
    await bench.until(before, lambda tick: CLUSTER not in tick.nodes[NODE].clusters)
    after = await bench.read()
    await bench.call("/", 2)
    tick = await bench.until(after, lambda tick: calls(tick).requests == 2)
    assert calls(tick).errors == 0


async def test_a_proxy_that_is_gone_is_absent_and_never_zero(bench: Bench) -> None:
    await bench.call("/")
    before = await bench.read()
    bench.sidecar.stop()
    after = await bench.read()
    assert after.nodes == {}
    assert difference(before, after).nodes == {}
    assert (await bench.reader.read(["default/unknown/v1/127.0.0.9"])).nodes == {}


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"stats": [{"name": "a"}]}', b'{"stats": [{"name": "a", "value": "x"}]}']
)
def test_what_is_no_statistics_is_not_read_as_silence(body: bytes) -> None:
    with pytest.raises(ValueError):
        parse_stats(body)
