"""A snapshot hangs together, or says what does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.clusters.aggregate.v3 import cluster_pb2 as aggregate_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from google.protobuf import json_format

from policyd.compiler.artifact import Artifact
from policyd.compiler.memo import Memo
from policyd.delivery.resource_types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from policyd.delivery.snapshot import NodeSnapshot, consistent, reference_reader, uses
from policyd.delivery.xds.secrets import svid_secret, trust_bundle_secret

PREFIX = "type.googleapis.com/envoy.extensions"
_TYPES: dict[str, Any] = {
    CLUSTER: cluster_pb2.Cluster,
    ENDPOINT: endpoint_pb2.ClusterLoadAssignment,
    LISTENER: listener_pb2.Listener,
    ROUTE: route_pb2.RouteConfiguration,
}
_IN_ANY = (aggregate_pb2, http_connection_manager_pb2, rbac_pb2, tcp_proxy_pb2, tls_pb2)
ADS: dict[str, Any] = {"ads": {}}
PER_ROUTE = {"@type": f"{PREFIX}.filters.http.rbac.v3.RBACPerRoute", "rbac": {}}


def made(type_url: str, name: str, body: Mapping[str, Any]) -> Artifact:
    message = json_format.ParseDict(dict(body), _TYPES[type_url]())
    return Artifact(type_url, name, message.SerializeToString(deterministic=True))


def eds(name: str, **extra: Any) -> Artifact:
    body = {"name": name, "type": "EDS", "eds_cluster_config": {"eds_config": ADS}}
    return made(CLUSTER, name, body | extra)


def load(name: str) -> Artifact:
    return made(ENDPOINT, name, {"cluster_name": name})


def http(name: str, port: int, route: str, *filters: str) -> Artifact:
    manager = {
        "@type": f"{PREFIX}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "rds": {"route_config_name": route, "config_source": ADS},
        "http_filters": [{"name": name} for name in (*filters, "router")],
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return made(LISTENER, name, {"name": name, "address": at(port), "filter_chains": [chain]})


def at(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def host(
    name: str = "all", domain: str = "*", action: Mapping[str, Any] | None = None, **extra: Any
) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": dict(action or {"cluster": "a"})}
    return {"name": name, "domains": [domain], "routes": [route], **extra}


def routes(name: str, *hosts: Mapping[str, Any]) -> Artifact:
    return made(ROUTE, name, {"name": name, "virtual_hosts": list(hosts or [host()])})


def tls(kind: str, **names: str) -> dict[str, Any]:
    common = {"tls_certificate_sds_secret_configs": [{"name": names["svid"], "sds_config": ADS}]}
    context = {"@type": f"{PREFIX}.transport_sockets.tls.v3.{kind}", "common_tls_context": common}
    return {"name": "tls", "typed_config": context}


def problems(*artifacts: Artifact) -> tuple[str, ...]:
    return consistent(NodeSnapshot.of("n", artifacts))


SOUND = (eds("a"), load("a"), http("in", 1, "r"), routes("r"))


def test_a_whole_set_is_consistent() -> None:
    assert problems(*SOUND) == ()
    assert problems() == ()


def test_equal_content_has_an_equal_digest_in_any_order() -> None:
    forward, backward = NodeSnapshot.of("n", SOUND), NodeSnapshot.of("n", reversed(SOUND))
    assert forward.digest == backward.digest
    assert list(forward) == list(backward)
    assert NodeSnapshot.of("n", SOUND[:-1]).digest != forward.digest


def test_two_different_resources_of_one_name_are_a_bug() -> None:
    with pytest.raises(ValueError, match="`a`"):
        NodeSnapshot.of("n", [eds("a"), eds("a", connect_timeout="2s")])
    assert NodeSnapshot.of("n", [eds("a"), eds("a")]) == NodeSnapshot.of("n", [eds("a")])


def test_the_snapshot_and_the_secrets_do_not_print_keys() -> None:
    assert "KEY" not in repr(NodeSnapshot.of("n", [svid_secret(b"CERT", b"KEY")]))


@pytest.mark.parametrize(
    ("artifacts", "said"),
    [
        ([eds("a")], "Cluster `a` uses the endpoints `a`"),
        ([http("in", 1, "r")], "Listener `in` uses the routes `r`"),
        ([routes("r")], "RouteConfiguration `r` uses the cluster `a`"),
        ([routes("r", host(action={"weighted_clusters": {"clusters": [{"name": "w", "weight": 1}]}}))], "`w`"),
        ([*SOUND, eds("b", transport_socket=tls("UpstreamTlsContext", svid="mine")), load("b")], "secret `mine`"),
        ([made(CLUSTER, "a", {"name": "b", "type": "STATIC"})], "Cluster `a` calls itself `b`"),
        ([*SOUND, http("other", 1, "r")], "listeners `in`, `other` share the address 127.0.0.1:1"),
        ([eds("a"), load("a"), routes("r", host(), host(domain="b"))], "the virtual host `all` 2 times"),
        ([eds("a"), load("a"), routes("r", host(domain="B"), host("x", "b"))], "the domain `b` 2 times"),
        ([Artifact(CLUSTER, "a", b"\xff")], "Cluster `a` is not a valid message"),
    ],
)
def test_what_does_not_hang_together_is_said(artifacts: list[Artifact], said: str) -> None:
    (problem,) = problems(*artifacts)
    assert said in problem


def test_mirrors_aggregates_and_tcp_proxies_are_followed() -> None:
    mirror = {"cluster": "a", "request_mirror_policies": [{"cluster": "shadow"}]}
    (problem,) = problems(eds("a"), load("a"), routes("r", host(action=mirror)))
    assert "cluster `shadow`" in problem
    members = {"@type": f"{PREFIX}.clusters.aggregate.v3.ClusterConfig", "clusters": ["gone"]}
    aggregate = {"name": "all", "cluster_type": {"name": "aggregate", "typed_config": members}}
    (problem,) = problems(made(CLUSTER, "all", aggregate))
    assert "cluster `gone`" in problem
    proxy = {"@type": f"{PREFIX}.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "t", "cluster": "db"}
    chain = {"filters": [{"name": "tcp", "typed_config": proxy}]}
    (problem,) = problems(made(LISTENER, "t", {"name": "t", "address": at(9), "filter_chains": [chain]}))
    assert "cluster `db`" in problem


def test_a_filter_is_configured_per_route_only_where_it_runs() -> None:
    guarded = routes("r", host(typed_per_filter_config={"rbac": PER_ROUTE}))
    assert problems(eds("a"), load("a"), http("in", 1, "r", "rbac"), guarded) == ()
    (problem,) = problems(eds("a"), load("a"), http("in", 1, "r"), guarded)
    assert "does not run the filter `rbac`" in problem


def test_an_override_that_switches_access_control_off_is_never_sent() -> None:
    off = host(typed_per_filter_config={"rbac": {"@type": PER_ROUTE["@type"]}})
    (problem,) = problems(eds("a"), load("a"), http("in", 1, "r", "rbac"), routes("r", off))
    assert "switches the filter off" in problem


def test_what_a_proxy_will_ask_for() -> None:
    cluster = eds("a", transport_socket=tls("UpstreamTlsContext", svid="svid"))
    snapshot = NodeSnapshot.of(
        "n", [cluster, *SOUND[1:], svid_secret(b"", b""), trust_bundle_secret(b""), routes("unused")]
    )
    assert consistent(snapshot) == ()
    reader = reference_reader(Memo())
    wanted = {(CLUSTER, "a"), (ENDPOINT, "a"), (LISTENER, "in"), (ROUTE, "r"), (SECRET, "svid")}
    assert uses(snapshot, reader) == wanted


def test_the_cost_follows_what_changed() -> None:
    memo = Memo()
    reader = reference_reader(memo)
    consistent(NodeSnapshot.of("n", SOUND), reader)
    assert memo.builds == len(SOUND)
    consistent(NodeSnapshot.of("m", [*SOUND[:-1], routes("r", host("renamed"))]), reader)
    assert memo.builds == len(SOUND) + 1
