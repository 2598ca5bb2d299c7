from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from policyd.api.app import application
from policyd.api.control import Differing, NodeStatus, Recovered, SelfCheck, Status
from policyd.api.metrics import ControllerMetrics
from policyd.api.proxies import Certificate, LastRefusal, MeshHealth, ProxyHealth
from policyd.api.revocations import Order, RevocationStatus
from policyd.api.service_map import Edge, RuleUse, ServiceMap, Traffic, Tried
from policyd.base.errors import Retry, UsageError
from policyd.decisions import Answer, Live, Request, TokenState
from policyd.rollout.event import Event, Kind
from policyd.rollout.machine import Command
from policyd.rollout.record import Evidence, Phase, ReleaseRecord

WEB = "spiffe://shop.example/ns/default/svc/web"


def record(number: int = 7, phase: Phase = Phase.PROGRESSING) -> ReleaseRecord:
    return ReleaseRecord(
        id=f"r{number}", change_id="service:default/checkout@a..b", unit="service", name="default/checkout",
        title="default/checkout v1 -> v2", commit="c" * 40, author="Ada <ada@shop.example>", phase=phase, stage=1,
        stages=4, stage_text="5 % of requests", weights={"v1": 9_500, "v2": 500}, since="2027-01-01T00:00:00+00:00",
        began="2027-01-01T00:00:00+00:00", verdict="hold", reason="needs 12 more requests",
        evidence=Evidence(canary_requests=38, canary_errors=1),
    )  # fmt: skip


class OneController:
    """A control plane with one release; the sibling of the daemon's controller."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, Command]] = []
        self.why_not_ready = ""
        self.measured = 0
        self.clocks_accepted = 0
        self.recovered: list[str] = []
        self.new_roots = 0
        self.drifted: tuple[str, ...] = ()

    def status(self) -> Status:
        return Status(
            mesh="shop", head="c" * 40, commit=None, engine="embedded 1.5.2",
            nodes=(NodeStatus("default/web/v1/127.0.0.1", True, True, "d" * 16),), releases=(record(),),
            trust_domain="shop.example", issuers={"login": "https://login.example"},
            outside={"api.cards.example": "default/cards"},
        )  # fmt: skip

    def ready(self) -> str:
        return self.why_not_ready

    def measure(self) -> None:
        self.measured += 1

    async def command(self, release: str, verb: Command) -> ReleaseRecord:
        if release == "r1":
            raise UsageError("release `r1` is over", hint="a revert takes it back")
        if release != "r7":
            raise KeyError(release)
        self.commands.append((release, verb))
        return record(phase=Phase.PAUSED if verb is Command.PAUSE else Phase.PROGRESSING)

    async def self_check(self) -> SelfCheck:
        return SelfCheck(True, self.drifted)

    async def accept_clock(self) -> None:
        self.clocks_accepted += 1

    async def recover(self, promoted: str, *, new_root: bool) -> Recovered:
        if promoted == "0000000":
            raise UsageError("no commit `0000000`", hint="an id")
        self.recovered.append(promoted)
        self.new_roots += new_root
        return Recovered("c" * 40 if promoted else "", new_root)

    async def events(self) -> AsyncIterator[Event]:
        at = datetime(2027, 1, 1, tzinfo=UTC)
        yield Event(at, Kind.STAGE, "r7", "5 % of requests", {"stage": 1})
        yield Event(at, Kind.ABORTED, "r7", "e-value 120\nabove 100", {})


class OneFloor:
    """A floor that nobody but `web` was ever cut off by; the sibling of the daemon's `MeshRevoking`."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.missing: tuple[str, ...] = ()
        self.note = ""
        self.asked_for = False

    def all(self) -> tuple[RevocationStatus, ...]:
        return tuple(
            RevocationStatus(
                order.name or ("default/distrusted-root" if order.root else "default/revoked-web"),
                "" if order.root else WEB, order.to, order.root, order.reason, "2027-01-01T00:00:00+00:00",
                self.asked_for, 0 if self.note else 41, self.missing, 3.14, self.note,
            )
            for order in self.orders
        )  # fmt: skip

    async def revoke(self, order: Order) -> RevocationStatus:
        if not order.root and order.identity != "web":
            raise UsageError(f"there is no service `{order.identity}`", hint="by its whole SPIFFE ID")
        self.orders.append(order)
        return self.all()[-1]

    async def lift(self, name: str) -> tuple[RevocationStatus, ...]:
        if self.asked_for:
            raise UsageError(f"Git asks for revocation `{name}`", hint="take it out of the repository first")
        held, self.orders = self.all(), []
        return held


class OneMap:
    """`web` calls `checkout`, nobody calls `search`; the sibling of the daemon's `MeshMapping`."""

    def service_map(self) -> ServiceMap:
        busy = Traffic(600, 10.0, 0.005, 2.25, 4.5, 9.0, 3, retries=12, open_circuits=1, left_out=2)
        rules, since = ("default/web-reads",), "2027-01-01T00:00:00+00:00"
        return ServiceMap(
            at="2027-01-02T00:00:00+00:00", window_s=60.0, watched_since=since,
            services=("default/checkout", "default/search", "default/web"),
            edges=(
                Edge("default/web", "default/checkout", rules, {rules[0]: 600}, busy, {"v1": busy}, ever_used=True),
                Edge("default/web", "default/search", ("default/web-searches",), unused=True, unused_since=since),
            ),
            rules=(
                RuleUse("default/web-reads", "default/checkout", ("default/web",), 600, ever_used=True),
                RuleUse(
                    "default/web-searches", "default/search", ("default/web",), unused=True, unused_since=since
                ),
            ),
            denied=(
                Tried("default/web", "", "caller", {"denied-not-in-scope": 4}, 4),
                Tried("default/web", "default/checkout", "callee", {"no-rule-for-request": 3}, 3),
            ),
            not_read=("default/search/v1/127.0.0.9",), notes=("what is not known",),
        )  # fmt: skip


class OnePatient:
    """Two proxies, one of which refused something; the sibling of the daemon's `MeshExamining`."""

    def __init__(self) -> None:
        self.well = False

    async def examine(self) -> MeshHealth:
        since, until = "2027-01-01T00:00:00+00:00", "2027-01-02T00:00:00+00:00"
        digest, leaf = "d" * 16, Certificate(since, until, 84_000.0)
        before = LastRefusal(since, "Cluster", ("a",), "no such thing", stands=False)
        well = ProxyHealth(
            "default/web/v1/127.0.0.1", "envoy 1.40.0", True, since, True, digest, digest, (), before, leaf, 0.4, ()
        )
        said = LastRefusal(since, "Listener", ("inbound",), "Address already in use\x1b[2J", stands=True)
        ill = ProxyHealth(
            "default/pay/v1/127.0.0.2", "", False, since, False, digest, "", ("Listener inbound",), said, None, None,
            ("refused Listener `inbound`: Address already in use\x1b[2J",),
        )  # fmt: skip
        return MeshHealth(since, True, (well,)) if self.well else MeshHealth(since, False, (ill, well))


class OneRule:
    """`web` may `GET /v1/items` on `checkout`; nothing else is allowed."""

    def __init__(self) -> None:
        self.served = True

    def differing(self) -> dict[str, Differing]:
        return {"default/checkout": Differing(3, 12)}

    def _decide(self, request: Request) -> Answer:
        if not self.served:
            raise Retry("no mesh has been promoted yet", after=1.0)
        asked = (request.source, request.destination.name, request.method, request.path, request.token.state)
        allowed = asked == (WEB, "checkout", "GET", "/v1/items", TokenState.ABSENT)
        allowed = allowed and request.port in {None, 8080}
        rule, outcome = ("default/web-reads", "allow") if allowed else ("", "deny")
        return Answer(allowed, outcome, rule, ("because",), "a.yaml:3:1" if allowed else "", places=("",))

    async def explain(
        self, request: Request, at: str = "", *, when: datetime | None = None, logged: str = "", sent: bool = False
    ) -> Answer:
        if at.startswith("node:"):
            raise UsageError(f"there is no node `{at}`", hint="did you mean another?")
        if sent and ("x-beta", "yes") in (request.headers or ()):
            return Answer(False, "redirect", "", ("because",), places=("a.yaml:9:1",), status=302, judged=at)
        live = Live(3, 12) if at == "head" else None
        return replace(self._decide(request), judged=at or "promoted", live=live, logged_now=logged, commit="c" * 40)


@pytest.fixture
def controller() -> OneController:
    return OneController()


@pytest.fixture
def floor() -> OneFloor:
    return OneFloor()


@pytest.fixture
def decisions() -> OneRule:
    return OneRule()


@pytest.fixture
def metrics() -> ControllerMetrics:
    return ControllerMetrics()


class Api:
    """Sends requests to the application without a network."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        return asyncio.run(self._request(method, path, more))

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)

    async def _request(self, method: str, path: str, more: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8181") as client:
            return await client.request(method, path, **more)


@pytest.fixture
def client(controller: OneController, decisions: OneRule, metrics: ControllerMetrics) -> Api:
    return Api(application(controller, decisions, OneFloor(), metrics, mapping=OneMap(), examining=OnePatient()))
