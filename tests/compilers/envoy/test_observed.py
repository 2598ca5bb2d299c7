"""What observed rules would change is counted by the real Envoy, read by telemetry and shown by the controller."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from policyd.api.metrics import ControllerMetrics
from policyd.base.clock import SystemClock
from policyd.model.node import nodes
from policyd.telemetry.counters import difference
from policyd.telemetry.envoy import EnvoyStats
from policyd.telemetry.observed import Observed
from tests.compilers.envoy.proxies import Envoys, socket_of
from tests.compilers.meshes import PAYMENTS
from tests.compilers.test_conditions import STREET, asked, whole
from tests.compilers.world import RealMesh, running

pytestmark = pytest.mark.e2e


@pytest.fixture
def world(envoy_binary: Path) -> Iterator[RealMesh]:
    with running(whole(), Envoys(envoy_binary), only={PAYMENTS}) as started:
        yield started


async def test_differences_are_counted_by_rule_and_by_service(world: RealMesh) -> None:
    (node,) = [each for each in nodes(world.mesh) if each.service == PAYMENTS]
    source = EnvoyStats({node.id: f"unix:{socket_of(world, node)}"}, SystemClock())
    before = await source.read([node.id])
    for path, times in (("/was/other", 1), ("/was/kept", 2), ("/new", 3), ("/stays", 4), ("/nowhere", 5)):
        for _ in range(times):
            asked(world, path, at=STREET)
    after = await source.read([node.id])
    await source.aclose()
    found = {name.partition("#")[0]: count for name, count in after.nodes[node.id].would.items()}
    assert found == {"would-allow pay/new": 3, "would-deny pay/was": 1}
    observed, metrics = Observed(), ControllerMetrics()
    observed.add(difference(before, after))
    metrics.would.totals = observed.totals
    shown = metrics.text().decode()
    assert 'policyd_would_total{service="pay/payments",would="would-allow"} 3.0' in shown
    assert 'policyd_would_total{service="pay/payments",would="would-deny"} 1.0' in shown
