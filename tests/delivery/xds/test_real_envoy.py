"""The protocol against a real Envoy that carries real traffic over mutual TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from policyd.base.clock import SystemClock
from policyd.compiler.artifact import Artifact
from policyd.delivery.acknowledged import AcknowledgedSets
from policyd.delivery.ledger import Ledger
from policyd.delivery.outcome import NO_ANSWER, Applied, Refused
from policyd.delivery.resource_types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from policyd.delivery.snapshot import NodeSnapshot, consistent
from policyd.delivery.xds.server import XdsServer
from policyd.identity import CertificateAuthority, SvidIssuer

from .mesh import (
    NODE,
    WEB,
    Parts,
    app,
    envoy,
    listener,
    load,
    plain_cluster,
    routes,
    tls_cluster,
    under_load,
)

pytestmark = pytest.mark.e2e
DEADLINE_S = 15.0


@dataclass
class Live:
    """A running Envoy and the server that it follows."""

    server: XdsServer
    ledger: Ledger
    parts: Parts

    async def apply(self, artifacts: list[Artifact], deadline_s: float = DEADLINE_S) -> Applied | Refused:
        snapshot = NodeSnapshot.of(NODE, artifacts)
        assert consistent(snapshot) == ()
        return await self.server.apply({NODE: snapshot}, deadline_s)

    async def call(self) -> httpx.Response:
        async with httpx.AsyncClient(timeout=5) as client:
            return await client.get(f"http://127.0.0.1:{self.parts.outbound_port}/")


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    clock = SystemClock()
    authority = CertificateAuthority.open(tmp_path / "ca", "shop.example", clock.now(), 86_400)
    return Parts(SvidIssuer(authority, clock, 3_600), app_port=0)


@pytest.fixture
async def live(envoy_binary: Path, tmp_path: Path, parts: Parts) -> AsyncIterator[Live]:
    ledger = Ledger()
    server = XdsServer("127.0.0.1:0", SystemClock(), ledger)
    await server.start()
    async with app() as app_port, envoy(envoy_binary, tmp_path, server.address):
        parts.app_port = app_port
        await server.wait_connected([NODE], DEADLINE_S)
        yield Live(server, ledger, parts)
        await server.stop()


def applied(outcome: Applied | Refused) -> None:
    assert outcome == Applied(frozenset({NODE})), outcome


async def test_the_first_configuration_is_acknowledged_and_serves(live: Live) -> None:
    applied(await live.apply(live.parts.artifacts()))
    response = await live.call()
    assert (response.status_code, response.text) == (200, "ok")


async def test_a_changed_route_is_live_when_it_is_acknowledged(live: Live) -> None:
    applied(await live.apply(live.parts.artifacts(version="1")))
    before = live.server.pushed.resources
    applied(await live.apply(live.parts.artifacts(version="2")))
    assert (await live.call()).headers["x-routes"] == "2"
    assert live.server.pushed.resources == before + 1


async def test_a_refused_resource_brings_back_the_last_good_set_and_traffic_does_not_notice(live: Live) -> None:
    applied(await live.apply(live.parts.artifacts(version="good")))
    bad = routes("outbound", "peer", version="bad", safe_regex={"regex": "(["})
    sent = live.server.pushed.responses
    async with under_load(live.parts.outbound_port) as seen:
        outcome = await live.apply(live.parts.artifacts(outbound_routes=bad))
        assert isinstance(outcome, Refused)
        assert (outcome.first.type_url, outcome.first.resource) == (ROUTE, "outbound")
        assert outcome.first.error_detail
        assert outcome.first.proxy.startswith("envoy 1.")
        await asyncio.sleep(0.2)
        assert live.server.pushed.responses == sent + 2  # the change, and the way back
        assert (await live.call()).headers["x-routes"] == "good"
        applied(await live.apply(live.parts.artifacts(version="better")))
    assert (await live.call()).headers["x-routes"] == "better"
    assert seen.requests > 0
    assert seen.failures == []


async def test_a_mixed_refusal_takes_the_good_part_back_too(live: Live) -> None:
    applied(await live.apply(live.parts.artifacts()))
    taken = socket.create_server(("127.0.0.1", 0))
    clash = listener("clash", taken.getsockname()[1], "outbound", tls=False)
    changed = listener("outbound", live.parts.outbound_port, "outbound", tls=False, stat_prefix="changed")
    async with under_load(live.parts.outbound_port) as seen:
        outcome = await live.apply(live.parts.artifacts(clash=clash, outbound=changed))
        assert isinstance(outcome, Refused)
        assert (outcome.first.type_url, outcome.first.resources) == (LISTENER, ("clash",))
        assert "Address already in use" in outcome.first.error_detail
        applied(await live.apply(live.parts.artifacts()))
        assert (await live.call()).status_code == 200
    # The listener that was changed went back in place: its port was open all the time.
    assert seen.failures == []
    taken.close()


async def test_a_cluster_that_gets_no_answer_is_taken_out_and_the_node_goes_on(live: Live) -> None:
    """A cluster warms, unacknowledged, until its first health check is decided: here that takes a minute."""
    applied(await live.apply(live.parts.artifacts(version="1")))
    deaf = socket.create_server(("127.0.0.1", 0))
    check = {
        "timeout": "60s",
        "interval": "60s",
        "healthy_threshold": 1,
        "unhealthy_threshold": 1,
        "http_health_check": {"path": "/"},
    }
    silent = plain_cluster("silent", health_checks=[check])
    endpoint = load("silent", deaf.getsockname()[1])
    async with under_load(live.parts.outbound_port) as seen:
        outcome = await live.apply(live.parts.artifacts(version="2", extra=silent, load=endpoint), 1.0)
        assert isinstance(outcome, Refused)
        assert (outcome.first.type_url, outcome.first.resources) == (CLUSTER, ("silent",))
        assert outcome.first.error_detail == NO_ANSWER
        assert (await live.call()).headers["x-routes"] == "1"
        applied(await live.apply(live.parts.artifacts(version="3")))
        assert (await live.call()).headers["x-routes"] == "3"
    assert seen.failures == []
    deaf.close()


async def test_a_cluster_that_fails_late_is_refused_or_taken_out(live: Live) -> None:
    """A ring that cannot be built fails when the load balancer is made. Whatever Envoy says, the node is safe."""
    applied(await live.apply(live.parts.artifacts(version="1")))
    ring = {"minimum_ring_size": 2048, "maximum_ring_size": 16}
    broken = tls_cluster("peer", lb_policy="RING_HASH", ring_hash_lb_config=ring)
    async with under_load(live.parts.outbound_port) as seen:
        outcome = await live.apply(with_peer(live, broken), 2.0)
        assert isinstance(outcome, Refused)
        assert outcome.first.resources == ("peer",)
        applied(await live.apply(live.parts.artifacts(version="2")))
    assert (await live.call()).headers["x-routes"] == "2"
    assert seen.failures == []


async def test_after_a_restart_of_the_server_nothing_equal_is_sent_again(live: Live) -> None:
    artifacts = live.parts.artifacts()
    applied(await live.apply(artifacts))
    async with under_load(live.parts.outbound_port) as seen:
        address = live.server.address
        await live.server.stop()
        again = XdsServer(address, SystemClock(), Ledger())
        await again.start()
        await again.apply({NODE: NodeSnapshot.of(NODE, artifacts)}, DEADLINE_S)
        await again.wait_connected([NODE], DEADLINE_S)
        applied(await again.apply({NODE: NodeSnapshot.of(NODE, artifacts)}, DEADLINE_S))
        assert again.pushed.resources == 0
        changed = NodeSnapshot.of(NODE, live.parts.artifacts(version="2"))
        applied(await again.apply({NODE: changed}, DEADLINE_S))
        assert again.pushed.resources == 1
        await again.stop()
    assert seen.failures == []


async def test_a_refusal_right_after_a_restart_of_the_server_goes_back_to_what_was_acknowledged(
    live: Live, tmp_path: Path
) -> None:
    """The new process has assigned nothing but what is refused: the way back is on disk."""
    applied(await live.apply(live.parts.artifacts(version="good")))
    before = AcknowledgedSets(tmp_path / "acknowledged.sqlite", SystemClock())
    await before.keep(live.ledger)
    before.close()
    bad = routes("outbound", "peer", version="bad", safe_regex={"regex": "(["})
    changed = listener("outbound", live.parts.outbound_port, "outbound", tls=False, stat_prefix="changed")
    refused = NodeSnapshot.of(NODE, live.parts.artifacts(outbound=changed, outbound_routes=bad))
    async with under_load(live.parts.outbound_port) as seen:
        address = live.server.address
        await live.server.stop()
        ledger, after = Ledger(), AcknowledgedSets(tmp_path / "acknowledged.sqlite", SystemClock())
        after.recall(ledger)
        again = XdsServer(address, SystemClock(), ledger, keep=lambda: after.keep(ledger))
        await again.apply({NODE: refused}, DEADLINE_S)
        await again.start()
        await again.wait_connected([NODE], DEADLINE_S)
        outcome = await again.apply({NODE: refused}, DEADLINE_S)
        assert isinstance(outcome, Refused)
        assert outcome.first.resource == "outbound"
        good = NodeSnapshot.of(NODE, live.parts.artifacts(version="good"))
        applied(await again.apply({NODE: good}, DEADLINE_S))
        assert (await live.call()).headers["x-routes"] == "good"
        await again.stop()
        after.close()
    assert seen.failures == []


async def test_a_change_while_disconnected_is_laid_out_make_before_break(live: Live) -> None:
    applied(await live.apply(live.parts.artifacts(peer="peer-old")))
    async with under_load(live.parts.outbound_port) as seen:
        address = live.server.address
        await live.server.stop()
        again = XdsServer(address, SystemClock(), Ledger())
        changed = NodeSnapshot.of(NODE, live.parts.artifacts(peer="peer-new"))
        await again.apply({NODE: changed}, DEADLINE_S)
        await again.start()
        await again.wait_connected([NODE], DEADLINE_S)
        applied(await again.apply({NODE: changed}, DEADLINE_S))
        await again.stop()
    assert seen.requests > 0
    assert seen.failures == []


async def test_a_leaf_is_renewed_under_load_without_a_lost_request(live: Live) -> None:
    applied(await live.apply(live.parts.artifacts()))
    serials = {await served_serial(live)}
    async with (
        under_load(live.parts.outbound_port) as kept,
        under_load(live.parts.outbound_port, fresh_connections=True) as fresh,
    ):
        for _ in range(5):
            live.parts.issuer.renew(WEB)
            applied(await live.apply(live.parts.artifacts()))
            serials.add(await served_serial(live))
    assert len(serials) == 6
    assert kept.requests > 0
    assert fresh.requests > 0
    assert kept.failures + fresh.failures == []


async def served_serial(live: Live) -> int:
    """The serial of the certificate that a new connection to the inbound listener is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", live.parts.inbound_port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return x509.load_der_x509_certificate(shown).serial_number


async def test_clusters_are_exchanged_under_load_without_an_error(live: Live) -> None:
    applied(await live.apply(live.parts.artifacts(peer="peer-0")))
    async with under_load(live.parts.outbound_port) as seen:
        for number in range(1, 11):
            applied(await live.apply(live.parts.artifacts(peer=f"peer-{number}", version=str(number))))
    assert (await live.call()).headers["x-routes"] == "10"
    assert seen.requests > 0
    assert seen.failures == []


async def test_a_changed_cluster_is_warm_at_once(live: Live) -> None:
    applied(await live.apply(live.parts.artifacts()))
    loop = asyncio.get_running_loop()
    async with under_load(live.parts.outbound_port) as seen:
        begun = loop.time()
        changed = tls_cluster("peer", alt_stat_name="changed")
        applied(await live.apply(with_peer(live, changed)))
        took = loop.time() - begun
    assert took < 1.5, "the cluster waited for endpoints that did not come (`initial_fetch_timeout` is 2 s)"
    assert seen.failures == []


def with_peer(live: Live, cluster: Artifact) -> list[Artifact]:
    return [
        cluster if (artifact.kind, artifact.name) == (CLUSTER, "peer") else artifact
        for artifact in live.parts.artifacts()
    ]


async def test_a_listener_with_all_it_uses_goes_and_comes_back(live: Live) -> None:
    whole = live.parts.artifacts()
    applied(await live.apply(whole))
    going = {(LISTENER, "outbound"), (ROUTE, "outbound"), (CLUSTER, "peer"), (ENDPOINT, "peer")}
    applied(await live.apply([artifact for artifact in whole if (artifact.kind, artifact.name) not in going]))
    with pytest.raises(httpx.ConnectError):
        await live.call()
    applied(await live.apply(whole))
    assert (await live.call()).status_code == 200


async def test_a_proxy_that_starts_anew_gets_everything_again(
    envoy_binary: Path, tmp_path: Path, parts: Parts
) -> None:
    server = XdsServer("127.0.0.1:0", SystemClock(), Ledger())
    await server.start()
    async with app() as app_port:
        parts.app_port = app_port
        snapshot = NodeSnapshot.of(NODE, parts.artifacts())
        assert await server.apply({NODE: snapshot}, DEADLINE_S) == Applied(frozenset(), absent=frozenset({NODE}))
        for _ in range(2):
            async with envoy(envoy_binary, tmp_path, server.address):
                await server.wait_connected([NODE], DEADLINE_S)
                applied(await server.apply({NODE: snapshot}, DEADLINE_S))
                async with httpx.AsyncClient(timeout=5) as client:
                    response = await client.get(f"http://127.0.0.1:{parts.outbound_port}/")
                assert response.status_code == 200
            async with asyncio.timeout(DEADLINE_S):
                await server.wait_disconnected([NODE])
    await server.stop()
