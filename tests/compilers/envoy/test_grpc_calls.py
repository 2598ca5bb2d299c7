"""gRPC through real Envoys, end to end: every kind of call, what is behind answers, denials, tries, times, shares."""

from __future__ import annotations

import asyncio
import os
import queue
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from policyd.base.clock import SystemClock
from policyd.compiler.naming import APP
from policyd.model.failover import Fallback
from policyd.model.names import Name
from policyd.model.node import Node, nodes
from policyd.model.resilience import Resilience, Retries, Timeouts
from policyd.model.service import HealthCheck, Probe, Protocol, Service, Split
from policyd.telemetry.envoy import EnvoyStats
from policyd.telemetry.source import Reading
from tests.compilers.envoy.grpc_calls import (
    BEHIND,
    CHARGE,
    FAILING,
    FAILS_WITH,
    LINGER,
    NO_MONEY,
    REFUND,
    SLOW,
    TALK,
    UPLOAD,
    WATCH,
    Client,
    dialled,
    serving_grpc,
)
from tests.compilers.envoy.proxies import Envoys, socket_of
from tests.compilers.envoy.test_routes import in_bounds
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service
from tests.compilers.world import RealMesh, loopback, running, serving_application

pytestmark = pytest.mark.e2e

LEDGER, ORDERS, STANDBY, SECRET = (Name("pay", name) for name in ("ledger", "orders", "standby", "secret"))
AGAIN = Retries(5, ("unavailable",), ("POST",), 10_000, base_ms=1, max_ms=5)
CALLS, AT_ONCE = 10_000, 100
DEADLINE_S = 10.0
"""Of each client: far beyond what the sidecars allow, so that whatever ends sooner was ended by them."""
Failure = tuple[grpc.StatusCode, str]


def speaking_grpc(name: Name, resilience: Resilience | None = None, **versions: list[str]) -> Service:
    """A service of gRPC."""
    return replace(service(name, **versions), protocol=Protocol.GRPC, resilience=resilience or Resilience())


@pytest.fixture(scope="module")
def world(envoy_binary: Path) -> Iterator[RealMesh]:
    """`payments` has two versions, `ledger` little patience, `orders` a fallback; all serve the same methods."""
    net = loopback(os.getpid() + 300)
    payments = speaking_grpc(PAYMENTS, Resilience(retries=AGAIN), v1=[net + "1", net + "2"], v2=[net + "3"])
    payments = replace(payments, split=Split((("v1", 9_000), ("v2", 1_000))))
    short = Resilience(Timeouts(request_ms=400, stream_ms=1_500), AGAIN)
    orders = speaking_grpc(ORDERS, Resilience(retries=Retries(0, ("reset",), ("POST",))), v1=[net + "5", net + "6"])
    check = HealthCheck("", interval_ms=1_000, timeout_ms=500, probe=Probe.TCP)
    the_mesh = mesh(
        [
            payments,
            speaking_grpc(LEDGER, short, v1=[net + "4"]),
            replace(orders, failover=(Fallback(service=STANDBY),), health_check=check),
            speaking_grpc(STANDBY, standby=[net + "7"]),
            speaking_grpc(SECRET, v1=[]),
            service(WEB, v1=[net + "9"]),
        ],
        *(
            (name, rule(name, methods=("POST",), paths=(CHARGE, SLOW, WATCH, TALK, LINGER, UPLOAD)))
            for name in (PAYMENTS, LEDGER, ORDERS, STANDBY)
        ),
    )

    def serving(node: Node, waiting: list[str]) -> AbstractContextManager[None]:
        return serving_application(node, waiting) if node.service == WEB else serving_grpc(node)

    with running(the_mesh, Envoys(envoy_binary), serving=serving) as started:
        yield started


def web_of(world: RealMesh) -> Node:
    return next(node for node in nodes(world.mesh) if node.service == WEB)


@pytest.fixture
def payments(world: RealMesh) -> Iterator[Client]:
    with dialled(world, web_of(world), "payments.pay") as channel:
        yield channel


@pytest.fixture
def ledger(world: RealMesh) -> Iterator[Client]:
    with dialled(world, web_of(world), "ledger.pay") as channel:
        yield channel


def counted(world: RealMesh, service: Name, of: Node | None = None) -> Counter[str]:
    """What the controller's reader finds at `web` about calls to a service, or at `of` about its application."""
    node = of or web_of(world)

    async def reading() -> Reading:
        stats = EnvoyStats({node.id: f"unix:{socket_of(world, node)}"}, SystemClock())
        found = await stats.read([node.id])
        await stats.aclose()
        return found

    clusters = asyncio.run(reading()).nodes[node.id].clusters
    wanted = [each for name, each in clusters.items() if name == APP or name.startswith(f"{service}/")]
    return sum((Counter(completed=c.completed, errors=c.errors, refused=c.refused) for c in wanted), Counter())


def failure(call: Any) -> Failure:
    return call.code(), call.details() or ""


def behind(call: Any) -> set[tuple[str, str | bytes]]:
    """What stands behind an answer, as far as the application put it there."""
    return {(key, value) for key, value in call.trailing_metadata() or () if key.startswith("x-")}


def test_one_answer_and_what_is_behind_it(payments: Client) -> None:
    answer, call = payments.charge.with_call(b"5", timeout=DEADLINE_S)
    assert answer.split()[0] in {b"v1", b"v2"}
    assert behind(call) == set(BEHIND)


def test_a_failure_keeps_its_words_and_what_is_behind_it(payments: Client) -> None:
    with pytest.raises(grpc.RpcError) as told:
        payments.charge(b"broke", timeout=DEADLINE_S)
    assert failure(told.value) == (grpc.StatusCode.FAILED_PRECONDITION, NO_MONEY)
    assert behind(told.value) == set(BEHIND)


def test_a_stream_of_answers(payments: Client) -> None:
    call = payments.watch(b"500", timeout=DEADLINE_S)
    assert len(list(call)) == 500
    assert behind(call) == set(BEHIND)


def test_a_stream_that_fails_after_its_answers(payments: Client) -> None:
    """What was answered is not asked for again, whatever the failure."""
    call = payments.watch(b"3", timeout=DEADLINE_S, metadata=((FAILING, "any"), (FAILS_WITH, "UNAVAILABLE")))
    answers = iter(call)
    assert len({next(answers) for _ in range(3)}) == 1
    with pytest.raises(grpc.RpcError) as told:
        next(answers)
    assert failure(told.value) == (grpc.StatusCode.UNAVAILABLE, "as told")


def test_a_stream_of_requests(payments: Client) -> None:
    assert payments.upload((b"x" * 10_000 for _ in range(300)), timeout=DEADLINE_S) == b"3000000"


def test_both_talk_by_turns(payments: Client) -> None:
    said: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    call = payments.talk(iter(said.get, b""), timeout=DEADLINE_S)
    answers = iter(call)
    for word in (b"one", b"two", b"three"):
        said.put(word)
        assert next(answers) == word.upper(), "each is answered before the next is said"
    said.put(b"")
    assert list(answers) == []
    assert behind(call) == set(BEHIND)


def test_a_denial_says_why(payments: Client) -> None:
    """A rule about methods names them by their paths."""
    with pytest.raises(grpc.RpcError) as told:
        payments.refund(b"5", timeout=DEADLINE_S)
    code, why = failure(told.value)
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert code.value[0] == 7
    assert "no-rule-for-request" in why
    assert REFUND in why
    assert "do not allow this method and path" in why


def test_a_service_that_no_rule_opens_is_out_of_reach(world: RealMesh) -> None:
    with dialled(world, web_of(world), "secret.pay") as secret, pytest.raises(grpc.RpcError) as told:
        secret.charge(b"5", timeout=DEADLINE_S)
    code, why = failure(told.value)
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert "not-in-scope" in why


def test_what_is_unavailable_is_tried_again_elsewhere(world: RealMesh, payments: Client) -> None:
    first, second = (e.address for e in world.mesh.services[PAYMENTS].versions[0].endpoints)
    trouble = ((FAILING, first), (FAILS_WITH, "UNAVAILABLE"))
    charge = payments.charge
    answers = Counter(charge(b"5", timeout=DEADLINE_S, metadata=trouble).split()[1] for _ in range(60))
    assert answers[second.encode()] > 0
    assert answers[first.encode()] == 0
    with pytest.raises(grpc.RpcError) as told:
        charge(b"5", timeout=DEADLINE_S, metadata=((FAILING, "any"), (FAILS_WITH, "UNAVAILABLE")))
    assert failure(told.value) == (grpc.StatusCode.UNAVAILABLE, "as told"), "all tries are used up"


def test_a_call_whose_time_is_up_is_told_so_and_is_not_sent_again(world: RealMesh, ledger: Client) -> None:
    with pytest.raises(grpc.RpcError) as told:
        ledger.slow(b"5", timeout=DEADLINE_S)
    code, why = failure(told.value)
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "response_timeout" in why, "said by a sidecar, long before the client gives up"
    assert world.logged(web_of(world).id, SLOW)["attempts"] == 1


def test_a_stream_ends_when_its_time_is_up(world: RealMesh, ledger: Client) -> None:
    """`timeout.request` does not run while the caller talks; `timeout.stream` does."""
    said: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    call = ledger.linger(iter(said.get, b""), timeout=DEADLINE_S)
    said.put(b"one")
    answers = iter(call)
    assert next(answers) == b"ONE"
    with pytest.raises(grpc.RpcError):
        next(answers)
    said.put(b"")
    line = world.logged(web_of(world).id, LINGER)
    assert line["details"] == "max_duration_timeout"


FAILURES = [("INTERNAL", 1, 0), ("UNAVAILABLE", 1, 0), ("NOT_FOUND", 0, 0), ("UNAUTHENTICATED", 0, 1)]


@pytest.mark.parametrize(("status", "errors", "refused"), FAILURES)
def test_how_calls_ended_is_counted(
    world: RealMesh, payments: Client, status: str, errors: int, refused: int
) -> None:
    """HTTP says 200 to all of them; after many tries there is one outcome, before an answer or behind it."""
    before = counted(world, PAYMENTS)
    trouble = ((FAILING, "any"), (FAILS_WITH, status))
    for call in (
        lambda: payments.charge(b"5", metadata=trouble),
        lambda: list(payments.watch(b"2", metadata=trouble)),
    ):
        with pytest.raises(grpc.RpcError):
            call()
    payments.charge(b"5")
    world.until(lambda: (counted(world, PAYMENTS) - before)["completed"] == 3)
    assert counted(world, PAYMENTS) - before == Counter(completed=3, errors=2 * errors, refused=2 * refused)


def test_denials_are_counted_at_callers(world: RealMesh, payments: Client) -> None:
    before = counted(world, PAYMENTS)
    with pytest.raises(grpc.RpcError):
        payments.refund(b"5")
    world.until(lambda: counted(world, PAYMENTS) - before == Counter(completed=1, refused=1))


def test_the_application_is_counted_by_its_own_sidecar(world: RealMesh, ledger: Client) -> None:
    """Waves compare what applications answer their sidecars."""
    (node,) = (node for node in nodes(world.mesh) if node.service == LEDGER)
    before = counted(world, LEDGER, of=node)
    with pytest.raises(grpc.RpcError):
        ledger.charge(b"5", metadata=((FAILING, "any"), (FAILS_WITH, "INTERNAL")))
    world.until(lambda: counted(world, LEDGER, of=node) - before == Counter(completed=1, errors=1))


def test_shares_hold_over_ten_thousand_calls(payments: Client) -> None:
    charge = payments.charge
    answers: Counter[bytes] = Counter()
    for _ in range(CALLS // AT_ONCE):
        under_way = [charge.future(b"5", timeout=DEADLINE_S) for _ in range(AT_ONCE)]
        answers.update(call.result().split()[0] for call in under_way)
    assert answers.total() == CALLS
    assert in_bounds(answers[b"v2"], CALLS, 0.1), answers


def test_grpc_calls_go_on_at_another_service_and_come_back(world: RealMesh) -> None:
    """None is lost: `on: [unavailable]` says that they may be sent twice."""
    down = [node for node in nodes(world.mesh) if node.service == ORDERS]
    with dialled(world, web_of(world), "orders.pay") as orders, ExitStack() as back:

        def who() -> bytes:
            answer: bytes = orders.charge(b"5", timeout=DEADLINE_S)
            return answer.split()[0]

        assert {who() for _ in range(20)} == {b"v1"}
        for node in down:
            world.stop_application(node.id)
        before = counted(world, ORDERS)
        assert {who() for _ in range(50)} == {b"standby"}
        assert counted(world, ORDERS) - before == Counter(completed=50), "whoever answered"
        for node in down:
            back.enter_context(serving_grpc(node))
        world.until(lambda: who() == b"v1")
