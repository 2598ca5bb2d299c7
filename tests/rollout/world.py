"""A small mesh, a compiler that writes what a node sees, and a driver over fakes of the world."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from policyd.base.codes import Explanation
from policyd.base.content import digest
from policyd.compiler.artifact import Artifact, Compiled
from policyd.compiler.memo import Memo
from policyd.compiler.naming import APP, cluster_name
from policyd.compiler.protocol import Capabilities, Secrets, Validation
from policyd.delivery.snapshot import NodeSnapshot
from policyd.model.access import Access, Permit, Rule, Source
from policyd.model.mesh import Mesh, Releases, Settings
from policyd.model.names import Name
from policyd.model.node import Node
from policyd.model.paths import PathPattern
from policyd.model.release import CanaryPlan, Strategy, Wave
from policyd.model.service import Endpoint, Protocol, Service, Split, Version
from policyd.model.slo import Availability, Slo
from policyd.rollout.assembly import Assembly
from policyd.rollout.driver import Driver
from policyd.rollout.record import Phase, ReleaseRecord
from policyd.rollout.store import Store
from policyd.testing.clock import FakeClock
from policyd.testing.delivery import FakeDelivery
from policyd.testing.metrics import FakeMetrics
from policyd.testing.trust import FakeTrust

WEB, CHECKOUT, PAYMENTS = (Name("default", name) for name in ("web", "checkout", "payments"))
DEPOT = Name("default", "depot")
"""Not there at first: what a commit may add."""
NAMES = (CHECKOUT, PAYMENTS, WEB, DEPOT)


class WritingCompiler:
    """One artefact per node: the split and the access that the node sees, as JSON."""

    name = "writing"
    id = "writing/1"
    codes: Mapping[str, Explanation] = MappingProxyType({})
    capabilities = Capabilities("files", live_access_rules=True, weighted_versions=True, header_match=True)

    def compile(self, mesh: Mesh, node: Node, memo: Memo) -> Compiled:
        seen = {
            "splits": {str(name): dict(service.split.weights) for name, service in mesh.services.items()},
            "timeouts": {
                str(name): service.resilience.timeouts.request_ms for name, service in mesh.services.items()
            },
            "access": sorted(str(rule.name) for rule in mesh.access[node.service].rules),
            "revoked": mesh.access[node.service].revoked,
            "settings": digest(mesh.settings),
            "distrusted": mesh.settings.distrusted,
            "endpoints": digest([service.versions for service in mesh.services.values()]),
        }
        return Compiled((Artifact("view", node.id, json.dumps(seen, sort_keys=True).encode()),))

    def render(self, artifact: Artifact) -> str:
        return artifact.body.decode()

    def validation(self, compiled: Compiled, node: Node, secrets: Secrets) -> Validation:
        raise NotImplementedError


def service(name: Name, version: str = "v1", instances: int = 2, request_ms: int = 15_000) -> Service:
    number = NAMES.index(name) + 1
    base = Service(
        name,
        Protocol.HTTP,
        8080,
        tuple(
            Version(v, tuple(Endpoint(f"127.0.{number}.{10 * i + k}", "127.0.0.1", 8080) for k in range(instances)))
            for i, v in enumerate(("v1", "v2", "v3"), start=1)
        ),
        Split.all_to(version),
    )
    timeouts = replace(base.resilience.timeouts, request_ms=request_ms)
    return replace(base, resilience=replace(base.resilience, timeouts=timeouts))


def rule(name: str, *callers: Name, expires: datetime | None = None) -> Rule:
    permit = Permit(("GET",), (PathPattern.parse("/**"),))
    return Rule(Name("default", name), (Source(services=callers),), (permit,), expires=expires)


def mesh(
    *services: Service, access: tuple[Access, ...] | None = None, hold_s: float = 3.0, max_refused: int = 0
) -> Mesh:
    known = {CHECKOUT: service(CHECKOUT), PAYMENTS: service(PAYMENTS), WEB: service(WEB)}
    known.update({one.name: one for one in services})
    rules = {
        WEB: Access(WEB),
        CHECKOUT: Access(CHECKOUT, (rule("web-checks-out", WEB),)),
        PAYMENTS: Access(PAYMENTS, (rule("checkout-pays", CHECKOUT),)),
    }
    rules.update({one.to: one for one in access or ()})
    rules.update({name: Access(name) for name in known.keys() - rules.keys()})
    slo = Slo(Name("default", "checkout-availability"), CHECKOUT, 0.999, 86_400, Availability())
    plan = CanaryPlan(
        Name("default", "checkout"),
        CHECKOUT,
        (500, 5_000, 10_000),
        hold_s,
        (slo.name,),
        min_requests=20,
        deadline_s=20,
        max_refused=max_refused,
    )
    waves = Strategy(
        Name("", "test"), (Wave(count=1), Wave(share=10_000)), hold_s=hold_s, deadline_s=20, max_refused=max_refused
    )
    return Mesh(
        Settings("shop", "shop.example"),
        dict(sorted(known.items())),
        dict(sorted(rules.items())),
        Releases({CHECKOUT: plan}, {slo.name: slo}, waves),
    )


class World:
    """A driver, what it drives, and a store that survives a restart."""

    def __init__(
        self, folder: Path, open_store: Callable[[Path], Store] = Store, delivery: FakeDelivery | None = None
    ) -> None:
        self.clock = FakeClock()
        self.metrics = FakeMetrics(self.clock)
        self.delivery = delivery or FakeDelivery()
        self.trust = FakeTrust()
        self._open_store = open_store
        self.secrets: dict[Name, tuple[Artifact, ...]] = {}
        self._renewals = 0
        self.path = folder / "policyd.db"
        self.bad: set[str] = set()
        self.store = self._open_store(self.path)
        self.driver = self._driver()

    def _driver(self) -> Driver:
        return Driver(
            store=self.store,
            clock=self.clock,
            assembly=Assembly(lambda name: WritingCompiler(), lambda name: self.secrets.get(name, ())),
            delivery=self.delivery,
            metrics=self.metrics,
            trust=self.trust,
        )

    def crash(self) -> None:
        """The controller dies at this instant and another one begins on the same store."""
        self.store.close()
        self.store = self._open_store(self.path)
        self.driver = self._driver()

    async def ticks(self, count: int, requests: int = 100) -> None:
        """Let time pass under load: every caller sends requests by the weights that it was given."""
        for _ in range(count):
            self.load(requests)
            self.clock.advance(1.0)
            await self.driver.tick()

    def load(self, requests: int) -> None:
        for node_id in self.delivery.live:
            owner = Name(*node_id.split("/")[:2])
            for callee in {WEB: (CHECKOUT,), CHECKOUT: (PAYMENTS,)}.get(owner, ()):
                for version, weight in self.splits(node_id)[str(callee)].items():
                    served = requests * weight // 10_000
                    cluster = cluster_name(callee, version)
                    self.metrics.count(node_id, cluster, served, served // 2 if cluster in self.bad else 0)
            self.metrics.count(node_id, APP, requests)
            self.metrics.arrive(node_id, requests)

    def view_of(self, snapshot: NodeSnapshot) -> dict[str, Any]:
        """What a node is told by a snapshot."""
        view: dict[str, Any] = json.loads(snapshot.resources["view"][snapshot.node_id].body)
        return view

    def view(self, node_id: str) -> dict[str, Any]:
        """What a node was told last."""
        return self.view_of(self.delivery.live[node_id])

    def renew_secrets(self) -> None:
        """Every service has another secret from now on."""
        self._renewals += 1
        body = str(self._renewals).encode()
        self.secrets = {name: (Artifact("secret", "svid", body),) for name in NAMES}

    def access(self, node_id: str) -> list[str]:
        """The names of the access rules that a node was given."""
        return list(self.view(node_id)["access"])

    def revoked(self, node_id: str) -> list[str]:
        """The identities that a node was told to cut off."""
        return list(self.view(node_id)["revoked"])

    def splits(self, node_id: str) -> dict[str, dict[str, int]]:
        """The split of every service as a node was given it."""
        return dict(self.view(node_id)["splits"])

    def split(self, name: Name = CHECKOUT) -> dict[str, int]:
        """The split of a service on every node; fails where nodes differ."""
        found = {json.dumps(self.splits(node)[str(name)]) for node in self.delivery.live}
        assert len(found) == 1, found
        split: dict[str, int] = json.loads(found.pop())
        return split

    def record(self, name: Name = CHECKOUT) -> ReleaseRecord:
        """The newest release of a unit of that name."""
        return next(record for record in reversed(self.driver.records()) if record.name == str(name))

    def phase(self, name: Name = CHECKOUT) -> Phase:
        return self.record(name).phase

    def kinds(self) -> list[str]:
        return [event.kind.value for event in self.driver.events.recent()]
