"""Sidecars of two kinds in one mesh: an Envoy calls a HAProxy and the other way round, by the same rules."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from policyd.compiler.memo import Memo
from policyd.model.access import Source
from policyd.model.names import Name
from policyd.model.node import Node
from policyd.model.service import HealthCheck
from tests.compilers.envoy.proxies import Envoys
from tests.compilers.haproxy.proxies import HAProxies
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service
from tests.compilers.world import RealMesh, Sidecars, loopback, running

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Mixed:
    """Another kind of sidecar for each service."""

    of: dict[Name, Sidecars]

    def start(self, world: RealMesh, node: Node, memo: Memo) -> subprocess.Popen[bytes]:
        """The kind that its service has."""
        return self.of[node.service].start(world, node, memo)

    def content(self, world: RealMesh, node: Node) -> bool:
        """As its kind says."""
        return self.of[node.service].content(world, node)


@pytest.mark.parametrize("caller", ["envoy", "haproxy"])
def test_two_kinds_of_sidecars_understand_each_other(envoy_binary: Path, haproxy_binary: Path, caller: str) -> None:
    net = loopback(os.getpid() + (90 if caller == "envoy" else 100))
    kinds: list[Sidecars] = [Envoys(envoy_binary), HAProxies(haproxy_binary)]
    if caller == "haproxy":
        kinds.reverse()
    check = HealthCheck("/healthz", interval_ms=200)
    the_mesh = mesh(
        [replace(service(PAYMENTS, v1=[net + "1"]), health_check=check), service(WEB, v1=[net + "2"])],
        (PAYMENTS, rule(PAYMENTS, (Source(namespaces=("shop",)),), ("GET",), ("/v1/{id}",))),
    )
    sidecars = Mixed({WEB: kinds[0], PAYMENTS: kinds[1]})
    with running(the_mesh, sidecars) as world, world.app_of(the_mesh.services[WEB].versions[0].endpoints[0]) as web:
        table = {("GET", "/v1/8"): 200, ("POST", "/v1/8"): 403, ("GET", "/v1"): 403, ("GET", "/v1//8"): 400}
        got = {(method, path): web.send(method, path).status for method, path in table}
        assert got == table
        seen = web.send("GET", "/v1/9").body["headers"]["x-forwarded-client-cert"]
        assert "URI=spiffe://shop.example/ns/shop/svc/web" in seen
