"""A trace crosses three services with one id, into a real OTLP receiver; who samples, and what nobody must notice."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from policyd.compiler import registry
from policyd.compiler.memo import Memo
from policyd.compiler.naming import COLLECTOR
from policyd.delivery.resource_types import CLUSTER
from policyd.delivery.snapshot import NodeSnapshot
from policyd.model.access import Source
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.node import nodes
from policyd.model.tracing import Collector, Tracing
from policyd.plan.places import Places, reaching
from policyd.rollout.assembly import Assembly
from policyd.telemetry.running import RunningEnvoys, SpanExport
from policyd_compilers.envoy import COMPILER, tracing
from tests.compilers.envoy.otlp import Span, receiving
from tests.compilers.envoy.outside import certificate
from tests.compilers.envoy.proxies import Envoys, socket_of
from tests.compilers.meshes import PAYMENTS, SETTINGS, WEB, mesh, rule, service
from tests.compilers.world import RealMesh, Reply, loopback, running

ORDERS = Name("shop", "orders")
CLIENT, SERVER = 3, 2  # opentelemetry.proto.trace.v1.Span.SpanKind
NO_ROOTS: Mapping[str, str] = {}
BEGUN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0{}"


def chain(net: str, sampling_bp: int) -> Mesh:
    """`web` calls `orders`, which calls `payments`."""
    return mesh(
        [service(WEB, v1=[f"{net}1"]), service(ORDERS, v1=[f"{net}2"]), service(PAYMENTS, v1=[f"{net}3"])],
        (ORDERS, rule(ORDERS)),
        (PAYMENTS, rule(PAYMENTS, sources=(Source(services=(ORDERS,)),))),
        settings=replace(SETTINGS, tracing=Tracing("main", sampling_bp)),
    )


@contextmanager
def traced(
    binary: Path, offset: int, sampling_bp: int, where: str | Collector, roots: Mapping[str, str] = NO_ROOTS
) -> Iterator[RealMesh]:
    collector = Collector(where) if isinstance(where, str) else where
    wanted = reaching(chain(loopback(os.getpid() + offset), sampling_bp), Places({"main": collector}, roots))
    with running(wanted, Envoys(binary)) as world:
        yield world


def call(world: RealMesh, caller: Name, host: str, headers: dict[str, str] | None = None) -> Reply:
    """What an application of `caller` sends through its own sidecar."""
    endpoint = world.mesh.services[caller].versions[0].endpoints[0]
    with world.app_of(endpoint) as app:
        return app.send("GET", "/v1/x", host, headers)


def calls(world: RealMesh, count: int, headers: dict[str, str] | None = None) -> list[Reply]:
    """So many times through both: `orders` passes `traceparent` on, as an application has to."""
    replies = []
    for number in range(count):
        first = call(world, WEB, "orders", {**(headers or {}), "x-request-id": f"request-{number}"})
        passed = {"traceparent": first.body["headers"]["traceparent"]}
        replies += [first, call(world, ORDERS, "payments.pay", passed)]
    return replies


@pytest.mark.e2e
def test_a_trace_crosses_three_services_with_one_id(envoy_binary: Path) -> None:
    with receiving() as receiver, traced(envoy_binary, 170, 10_000, receiver.address) as world:
        replies = calls(world, 5)
        assert {reply.status for reply in replies} == {200}
        # Envoy would write its verdict into an id that the application gave.
        assert [reply.body["headers"]["x-request-id"] for reply in replies[::2]] == [
            f"request-{number}" for number in range(5)
        ]
        spans = receiver.until(20)
        assert len(spans) == 20
        traces = {span.trace for span in spans}
        assert len(traces) == 5
        for trace in traces:
            assert_one_chain([span for span in spans if span.trace == trace])
        assert {line["trace_id"] for line in world.arrived("/v1/x", 10)} == traces


def assert_one_chain(spans: list[Span]) -> None:
    by_place = {(span.service, span.kind): span for span in spans}
    out, at_orders = by_place["web", CLIENT], by_place["orders", SERVER]
    on, at_payments = by_place["orders", CLIENT], by_place["payments", SERVER]
    assert (out.parent, at_orders.parent, on.parent, at_payments.parent) == ("", out.id, at_orders.id, on.id)
    assert [span.name for span in (out, at_orders, on, at_payments)] == [
        "shop/orders", "shop/orders", "pay/payments", "pay/payments",
    ]  # fmt: skip
    assert at_payments.resource["service.namespace"] == "pay"
    assert out.tags["upstream_cluster"] == "shop/orders/v1"
    assert out.tags["node_id"].startswith("shop/web/v1/127.")


@pytest.mark.e2e
def test_without_sampling_nothing_is_sent_but_what_a_caller_has_begun(envoy_binary: Path) -> None:
    with receiving() as receiver, traced(envoy_binary, 171, 0, receiver.address) as world:
        replies = calls(world, 5)
        # The trace goes on, unsampled, so that everybody behind decides alike.
        assert {reply.body["headers"]["traceparent"][-2:] for reply in replies} == {"00"}
        calls(world, 5, {"traceparent": BEGUN.format(0)})
        calls(world, 5, {"traceparent": BEGUN.format(1)})
        spans = receiver.until(20)
        assert {span.trace for span in spans} == {BEGUN[3:35]}
        assert len(spans) == 20


@pytest.mark.e2e
def test_calls_do_not_notice_that_the_collector_is_not_there(envoy_binary: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
    with traced(envoy_binary, 172, 10_000, address) as world:
        assert {reply.status for reply in calls(world, 20)} == {200}


@pytest.mark.e2e
@pytest.mark.parametrize("named", ["otel.internal", "127.0.0.1"])
def test_spans_go_to_who_has_the_certificate_that_is_asked_for(
    envoy_binary: Path, tmp_path: Path, named: str
) -> None:
    roots, pair = certificate(tmp_path, named)
    files = {"corp": str(roots)}
    with receiving(pair.read_bytes()) as receiver:
        asked = Collector(receiver.address, "corp", "otel.internal" if named == "otel.internal" else "")
        with traced(envoy_binary, 173, 10_000, asked, files) as world:
            assert {reply.status for reply in calls(world, 5)} == {200}
            assert len({span.trace for span in receiver.until(20)}) == 5
            assert exports(world) == {SpanExport(connected=True, failed=0, distrusted=0)}


@pytest.mark.e2e
@pytest.mark.parametrize("wrong", ["name", "roots", "none"])
def test_nobody_else_is_sent_a_span_and_no_call_notices(envoy_binary: Path, tmp_path: Path, wrong: str) -> None:
    """A certificate for another name, one of other roots, and a collector that speaks in the clear."""
    _, pair = certificate(tmp_path, "other.internal" if wrong == "name" else "otel.internal")
    (tmp_path / "others").mkdir()
    roots = (
        tmp_path / "other.internal-roots.pem"
        if wrong == "name"
        else certificate(tmp_path / "others", "x.internal")[0]
    )
    with receiving(b"" if wrong == "none" else pair.read_bytes()) as receiver:
        asked = Collector(receiver.address, "corp", "otel.internal")
        with traced(envoy_binary, 174, 10_000, asked, {"corp": str(roots)}) as world:
            assert {reply.status for reply in calls(world, 20)} == {200}
            world.until(lambda: all(each.failed for each in exports(world)))
            assert not any(each.connected for each in exports(world))
            assert all(bool(each.distrusted) == (wrong != "none") for each in exports(world))
            assert {reply.status for reply in calls(world, 5)} == {200}
        assert receiver.spans == []


def exports(world: RealMesh) -> set[SpanExport]:
    """What `doctor mesh` reads of the callers, which all have made spans."""
    callers = [node for node in nodes(world.mesh) if node.service in (WEB, ORDERS)]

    async def read() -> set[SpanExport]:
        envoys = RunningEnvoys({node.id: f"unix:{socket_of(world, node)}" for node in callers})
        found = await envoys.exports([node.id for node in callers])
        await envoys.aclose()
        assert len(found) == len(callers)
        return set(found.values())

    return asyncio.run(read())


def test_roots_that_nobody_knows_trace_nothing() -> None:
    asked = chain("10.0.0.", 10_000)
    wanted = reaching(asked, Places({"main": Collector("10.0.0.9:4317", "corp")}))
    names = {each.name for node in nodes(wanted) for each in COMPILER.compile(wanted, node, Memo()).artifacts}
    assert COLLECTOR not in names


def test_without_an_address_nothing_is_traced() -> None:
    asked = chain("10.0.0.", 10_000)
    plain = replace(asked, settings=replace(asked.settings, tracing=None))
    memo = Memo()
    for node in nodes(asked):
        assert COMPILER.compile(asked, node, memo).artifacts == COMPILER.compile(plain, node, Memo()).artifacts
    assert reaching(asked, Places({"other": Collector("10.0.0.9:4317")})) is asked
    assert reaching(plain, Places({"main": Collector("10.0.0.9:4317")})) is plain
    reached = reaching(asked, Places({"main": Collector("10.0.0.9:4317")}))
    assert reaching(asked, Places({"main": Collector("10.0.0.9:4317")})) is reached
    names = {each.name for node in nodes(reached) for each in COMPILER.compile(reached, node, memo).artifacts}
    assert COLLECTOR in names


@pytest.mark.parametrize(("address", "kind"), [("10.0.0.9:4317", 0), ("[::1]:4317", 0), ("otel.internal:4317", 1)])
def test_a_collector_is_found_by_address_or_by_name(address: str, kind: int) -> None:
    found = tracing.collector(SETTINGS, Collector(address))
    assert found.type == kind
    where = found.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    assert (where.address, where.port_value) == (address.rpartition(":")[0].strip("[]"), 4317)


def test_what_a_controller_sends_has_the_address_and_would_not_be_sent_without_the_cluster() -> None:
    asked = chain("10.0.0.", 10_000)
    assembly = Assembly(registry.load, lambda _: (), Places({"main": Collector("10.0.0.9:4317")}))
    first = next(iter(nodes(asked)))
    snapshot = assembly.snapshots([first], lambda _: asked)[first.id]
    assert COLLECTOR in snapshot.of_type(CLUSTER)
    assert not [fault for fault in assembly.faults(snapshot) if COLLECTOR in fault]
    cut = NodeSnapshot.of(first.id, [each for each in snapshot if each.name != COLLECTOR])
    assert [fault for fault in assembly.faults(cut) if COLLECTOR in fault]
    assert assembly.anew(lambda _: ()).snapshots([first], lambda _: asked)[first.id].digest == snapshot.digest
