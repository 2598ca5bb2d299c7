"""Compiled nodes as values: sharing, determinism, scope, and that no route goes without its rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.type.v3 import http_pb2

from policyd.compiler.artifact import Artifact, Compiled
from policyd.compiler.memo import Memo
from policyd.compiler.protocol import Bootstraps, ListenAddress
from policyd.compiler.rules import policy_name
from policyd.delivery.references import read_references
from policyd.model.access import Mode, Permit, Source
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.node import Node, nodes
from policyd.model.paths import PathPattern
from policyd.model.resilience import CircuitBreaker, OutlierDetection, Resilience, Retries
from policyd.model.service import HealthCheck, Protocol, Split
from policyd_compilers.envoy import COMPILER, breakers, clusters, grpc_stats, outliers, rbac
from policyd_compilers.envoy.proto import CLUSTER, ENDPOINTS, LISTENER, ROUTES
from policyd_compilers.envoy.render import parse
from tests.compilers.meshes import PAYMENTS, WEB, endpoint, mesh, rule, service, shop, with_service


def compile_all(of: Mesh, memo: Memo | None = None) -> dict[str, Compiled]:
    memo = memo or Memo()
    return {node.id: COMPILER.compile(of, node, memo) for node in nodes(of)}


def of_kind(compiled: Compiled, kind: str) -> dict[str, Artifact]:
    return {artifact.name: artifact for artifact in compiled.artifacts if artifact.kind == kind}


def rich() -> Mesh:
    """Everything that the compiler has a branch for."""
    base = shop()
    payments = replace(
        base.services[PAYMENTS],
        protocol=Protocol.GRPC,
        split=Split((("v1", 9_000), ("v2", 1_000))),
        resilience=Resilience(retries=Retries(2, ("503", "reset"))),
        health_check=HealthCheck("/healthz"),
    )
    raw = replace(service(Name("pay", "raw"), v1=["10.0.4.1"]), opaque_paths=True)
    everyone = rule(raw.name, (Source(anyone=True),), mode=Mode.OBSERVE)
    services = [*with_service(base, payments).services.values(), raw]
    return mesh(services, *((to, each) for to, a in base.access.items() for each in a.rules), (raw.name, everyone))


def test_equal_meshes_give_equal_bytes_in_order() -> None:
    one, two = compile_all(rich()), compile_all(rich())
    assert one == two
    for compiled in one.values():
        keys = [(artifact.kind, artifact.name) for artifact in compiled.artifacts]
        assert keys == sorted(set(keys))


def test_a_node_gets_its_own_scope_and_nothing_else() -> None:
    compiled = compile_all(shop())
    web, other = compiled["shop/web/v1/10.0.0.1"], compiled["shop/other/v1/10.0.3.1"]
    assert set(of_kind(web, CLUSTER)) == {"app", "pay/payments/v1", "pay/payments/v2"}
    assert set(of_kind(web, ENDPOINTS)) == {"pay/payments/v1", "pay/payments/v2"}
    assert set(of_kind(web, ROUTES)) == {"inbound/shop/web", "outbound/shop/web"}
    assert set(of_kind(web, LISTENER)) == {"inbound", "outbound"}
    assert set(of_kind(other, CLUSTER)) == {"app"}


def test_all_callers_share_the_very_same_clusters() -> None:
    base = shop()
    both = mesh(base.services.values(), (PAYMENTS, rule(PAYMENTS, (Source(namespaces=("shop",)),))))
    compiled = compile_all(both)
    one = of_kind(compiled["shop/web/v1/10.0.0.1"], CLUSTER)["pay/payments/v1"]
    two = of_kind(compiled["shop/other/v1/10.0.3.1"], CLUSTER)["pay/payments/v1"]
    assert one is two


def test_neither_weights_nor_instances_touch_a_cluster() -> None:
    base = shop()
    before = of_kind(compile_all(base)["shop/web/v1/10.0.0.1"], CLUSTER)
    payments = base.services[PAYMENTS]
    v1 = replace(payments.versions[0], endpoints=(endpoint("10.9.9.9", "b"),))
    changed = replace(payments, split=Split((("v1", 1), ("v2", 9_999))), versions=(v1, payments.versions[1]))
    after = of_kind(compile_all(with_service(base, changed))["shop/web/v1/10.0.0.1"], CLUSTER)
    assert before == after


def test_a_version_without_instances_has_an_empty_assignment() -> None:
    base = shop()
    payments = base.services[PAYMENTS]
    empty = replace(payments, versions=(payments.versions[0], replace(payments.versions[1], endpoints=())))
    web = compile_all(with_service(base, empty))["shop/web/v1/10.0.0.1"]
    message = parse(of_kind(web, ENDPOINTS)["pay/payments/v2"])
    assert (message.cluster_name, list(message.endpoints)) == ("pay/payments/v2", [])


def test_instances_are_grouped_by_zone() -> None:
    base = shop()
    payments = base.services[PAYMENTS]
    members = (endpoint("10.0.1.1", "b"), endpoint("10.0.1.2", "a"), endpoint("10.0.1.3", "b"))
    zoned = replace(payments, versions=(replace(payments.versions[0], endpoints=members), payments.versions[1]))
    web = compile_all(with_service(base, zoned))["shop/web/v1/10.0.0.1"]
    message = parse(of_kind(web, ENDPOINTS)["pay/payments/v1"])
    assert [(each.locality.zone, len(each.lb_endpoints)) for each in message.endpoints] == [("a", 1), ("b", 2)]


def test_an_unrelated_change_returns_the_very_same_object() -> None:
    base, memo = shop(), Memo()
    before = compile_all(base, memo)
    memo.age()
    changed = with_service(base, replace(base.services[PAYMENTS], split=Split.all_to("v2")))
    after = compile_all(changed, memo)
    assert {name for name in after if after[name] is not before[name]} == {
        "shop/web/v1/10.0.0.1", "shop/web/v1/10.0.0.2", "pay/payments/v1/10.0.1.1", "pay/payments/v2/10.0.2.1",
    }  # fmt: skip


def test_a_change_compiles_only_what_it_touches() -> None:
    base, memo = shop(), Memo()
    compile_all(base, memo)
    for round_, share in enumerate((9_000, 8_000, 7_000)):
        memo.age()
        before = memo.builds
        changed = replace(base.services[PAYMENTS], split=Split((("v1", share), ("v2", 10_000 - share))))
        compile_all(with_service(base, changed), memo)
        assert memo.builds - before == 1, round_  # the routes of `web`, which both its sidecars share


def test_incremental_equals_full() -> None:
    memo, current = Memo(), shop()
    for share in (1, 5_000, 9_999):
        memo.age()
        changed = replace(current.services[PAYMENTS], split=Split((("v1", share), ("v2", 10_000 - share))))
        current = with_service(current, changed)
        assert compile_all(current, memo) == compile_all(current)


def managers(compiled: Compiled) -> Iterator[Any]:
    for artifact in of_kind(compiled, LISTENER).values():
        for chain in parse(artifact).filter_chains:
            manager = http_connection_manager_pb2.HttpConnectionManager()
            chain.filters[0].typed_config.Unpack(manager)
            yield artifact.name, manager


def test_no_route_goes_without_its_rules() -> None:
    for compiled in compile_all(rich()).values():
        for listener, manager in managers(compiled):
            names = [each.name for each in manager.http_filters]
            if listener == "outbound":
                assert rbac.FILTER not in names
                continue
            assert names.index("policyd.canonical") == 0
            place = names.index(rbac.FILTER)
            assert set(names[place + 1 : -1]) <= {grpc_stats.FILTER}, "what comes after it only counts"
            own = rbac_pb2.RBAC()
            manager.http_filters[place].typed_config.Unpack(own)
            assert own.HasField("rules")
            assert not own.rules.policies
            config = parse(of_kind(compiled, ROUTES)[manager.rds.route_config_name])
            for host in config.virtual_hosts:
                override = rbac_pb2.RBACPerRoute()
                assert host.typed_per_filter_config[rbac.FILTER].Unpack(override)
                assert override.HasField("rbac")
                assert override.rbac.HasField("matcher")
                assert all(not route.typed_per_filter_config for route in host.routes)


def test_shadow_rules_only_where_something_is_observed() -> None:
    compiled = compile_all(rich())
    found = {}
    for node, routes in (("pay/payments/v1/10.0.1.1", "pay/payments"), ("pay/raw/v1/10.0.4.1", "pay/raw")):
        config = parse(of_kind(compiled[node], ROUTES)[f"inbound/{routes}"])
        override = rbac_pb2.RBACPerRoute()
        config.virtual_hosts[0].typed_per_filter_config[rbac.FILTER].Unpack(override)
        found[routes] = override.rbac.HasField("shadow_matcher")
    assert found == {"pay/payments": False, "pay/raw": True}


def test_policies_are_named_by_content() -> None:
    one = rule(PAYMENTS)
    assert policy_name(one).startswith("pay/rule#")
    assert policy_name(one) != policy_name(replace(one, mode=Mode.OBSERVE))


@pytest.mark.parametrize(
    ("address", "listens"), [("10.0.0.1", "127.0.0.1"), ("127.9.8.7", "127.9.8.7"), ("fd00::1", "127.0.0.1")]
)
def test_the_outbound_listener_is_never_reachable_from_elsewhere(address: str, listens: str) -> None:
    base = mesh([service(WEB, v1=[address])])
    compiled = COMPILER.compile(base, next(nodes(base)), Memo())
    message = parse(of_kind(compiled, LISTENER)["outbound"])
    assert message.address.socket_address.address == listens


def test_losses_say_what_envoy_cannot() -> None:
    odd = replace(
        service(Name("pay", "odd"), v1=["10.0.6.1"]),
        resilience=Resilience(retries=Retries(1, ("timeout", "503"))),
        opaque_paths=True,
    )
    trace = replace(rule(odd.name), permits=(Permit(("TRACE",), (PathPattern.parse("/x"),)),))
    the_mesh = mesh([odd, service(WEB, v1=["10.0.0.1"])], (odd.name, trace))
    compiled = compile_all(the_mesh)
    assert [loss.code for loss in compiled["pay/odd/v1/10.0.6.1"].losses] == ["PD1303", "PD1304", "PD1302"]
    web = compiled["shop/web/v1/10.0.0.1"]
    assert [loss.code for loss in web.losses] == ["PD1302"]
    config = parse(of_kind(compiled["pay/odd/v1/10.0.6.1"], ROUTES)["inbound/pay/odd"])
    assert b"ALLOW" not in config.SerializeToString()
    override = rbac_pb2.RBACPerRoute()
    config.virtual_hosts[0].typed_per_filter_config[rbac.FILTER].Unpack(override)
    assert override.rbac.matcher.on_no_match.action.name == "deny"


def test_rendered_artefacts_are_stable_and_open() -> None:
    compiled = next(iter(compile_all(rich()).values()))
    for artifact in compiled.artifacts:
        text = COMPILER.render(artifact)
        assert text == COMPILER.render(artifact)
        assert "'@type'" in text or artifact.kind in {ENDPOINTS, ROUTES}
    routes = COMPILER.render(of_kind(compiled, ROUTES)["inbound/pay/payments"])
    assert "spiffe://shop.example/ns/shop/svc/web" in routes


def test_render_refuses_what_it_did_not_write() -> None:
    with pytest.raises(ValueError, match="not an artefact"):
        COMPILER.render(Artifact("file", "nginx.conf", b""))


def test_a_sidecar_can_be_reached_at_two_ports_while_the_port_changes() -> None:
    mesh = shop()
    node = next(nodes(mesh))
    memo = Memo()
    before = of_kind(COMPILER.compile(mesh, node, memo), LISTENER)["inbound"]
    both = of_kind(COMPILER.compile(replace(mesh, also_inbound=(15_007,)), node, memo), LISTENER)["inbound"]
    assert before.version != both.version
    assert read_references(both).addresses == (f"{node.endpoint.address}:15006", f"{node.endpoint.address}:15007")


def test_the_bootstrap_names_the_node_and_the_control_plane() -> None:
    node: Node = next(nodes(shop()))
    assert isinstance(COMPILER, Bootstraps)
    text = COMPILER.bootstrap(
        node, ListenAddress("127.0.0.1", 18_000), ListenAddress(path="/run/admin.sock")
    ).decode()
    assert f"id: {node.id}" in text
    assert "port_value: 18000" in text
    assert "DELTA_GRPC" in text
    assert "max_interval: 2s" in text  # a controller that was away for long is found again at once
    assert "/run/admin.sock" in text


def test_every_kind_of_outlier_is_switched_on_or_off_by_name() -> None:
    made = outliers.detection(OutlierDetection(consecutive_errors=5))
    switches = [field.name for field in made.DESCRIPTOR.fields if field.name.startswith("enforcing_")]
    assert {name: getattr(made, name).value for name in switches if made.HasField(name)} == {
        name: 100 if name == "enforcing_consecutive_5xx" else 0 for name in switches
    }


@pytest.mark.parametrize("breaker", [None, CircuitBreaker(requests=7), CircuitBreaker(retries=7)])
def test_no_bound_of_a_breaker_is_left_to_envoy(breaker: CircuitBreaker | None) -> None:
    made = breakers.thresholds(breaker, Retries(budget=1_000))
    assert made.max_requests.value == (breaker.requests if breaker and breaker.requests else breakers.UNBOUNDED)
    assert made.max_connections.value == made.max_pending_requests.value == breakers.UNBOUNDED
    # Beside a budget, Envoy ignores the number.
    assert made.HasField("max_retries") is not made.HasField("retry_budget")
    assert made.max_retries.value == (breaker.retries if breaker else 0)


def test_what_a_breaker_bounds_never_binds_the_application_behind_its_own_sidecar() -> None:
    breaker = Resilience(circuit_breaker=CircuitBreaker(1, 1, 1, 1), outlier_detection=OutlierDetection(1))
    payments = replace(shop().services[PAYMENTS], resilience=breaker)
    own = clusters.application(payments, payments.versions[0].endpoints[0])
    assert own.circuit_breakers.thresholds[0].max_requests.value == breakers.UNBOUNDED
    assert not own.HasField("outlier_detection")


def test_a_service_that_uses_neither_keeps_its_name() -> None:
    at_rest = shop().services[PAYMENTS]
    assert replace(at_rest, resilience=Resilience()).digest == at_rest.digest == "77681351cbce303a"


@pytest.mark.parametrize(
    ("protocol", "http2"), [(Protocol.HTTP, False), (Protocol.HTTP2, True), (Protocol.GRPC, True)]
)
def test_an_application_is_asked_in_the_protocol_that_it_speaks(protocol: Protocol, http2: bool) -> None:
    payments = replace(shop().services[PAYMENTS], protocol=protocol, health_check=HealthCheck("/healthz"))
    own = clusters.application(payments, payments.versions[0].endpoints[0]).health_checks[0]
    assert (own.http_health_check.codec_client_type == http_pb2.HTTP2) is http2
    theirs = clusters.destination(shop().settings, "pay/payments/v1", payments).health_checks[0]
    assert theirs.http_health_check.codec_client_type == http_pb2.HTTP1  # between sidecars, whatever they speak
