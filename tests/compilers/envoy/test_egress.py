"""The way out of the mesh: judged and encrypted by the caller's own real Envoy, towards a real HTTPS server."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2

from policyd.compiler.memo import Memo
from policyd.model.access import Access, Mode, Rule, Source
from policyd.model.external import VERSION, External
from policyd.model.mesh import Mesh, Settings
from policyd.model.names import Name, spiffe_id
from policyd.model.node import nodes
from policyd.model.service import Protocol, Service, Split, Version
from policyd.telemetry.envoy import FILTER, parse_stats
from policyd.telemetry.source import NodeCounters
from policyd_compilers.envoy import COMPILER, canonical, egress, rbac
from policyd_compilers.envoy.proto import CLUSTER, ROUTES
from tests.compilers.envoy.live import live
from tests.compilers.envoy.outside import Partner, serving
from tests.compilers.envoy.proxies import Envoys, socket_of
from tests.compilers.meshes import SETTINGS, WEB, mesh, rule, service
from tests.compilers.world import Connection, RealMesh, loopback, running

HOST = "api.partner.example"
PARTNER, OTHER = Name("shop", "partner"), Name("shop", "other")
WEB_ID = spiffe_id(SETTINGS.trust_domain, WEB)


def external(*addresses: str, port: int = 8443, roots: str = "partner") -> Service:
    """The partner, as an `Egress` is lowered."""
    versions, split = (Version(VERSION),), Split.all_to(VERSION)
    return Service(PARTNER, Protocol.HTTP, port, versions, split, external=External(HOST, roots, addresses))


def reading(**more: object) -> Rule:
    """`web` may read, nothing else."""
    return replace(rule(PARTNER, methods=("GET",), paths=("/v1/**",)), **more)  # type: ignore[arg-type]


def going_out(net: str, settings: Settings, *rules: Rule) -> Mesh:
    """`web` and `other`, and the partner outside."""
    services = [service(WEB, v1=[f"{net}1"]), service(OTHER, v1=[f"{net}2"]), external(f"{net}9")]
    return mesh(services, *[(PARTNER, each) for each in rules], settings=settings)


@contextmanager
def calling(
    binary: Path, folder: Path, offset: int, *rules: Rule, named: str = HOST
) -> Iterator[tuple[RealMesh, Connection, Partner]]:
    """`web` beside a partner that has a certificate for `named`."""
    net = loopback(os.getpid() + offset)
    with serving((f"{net}9", 8443), folder, named) as partner:
        settings = replace(SETTINGS, roots=(("partner", str(partner.roots)),))
        the_mesh = going_out(net, settings, *rules)
        with running(the_mesh, Envoys(binary)) as world, app_of(world, WEB) as web:
            yield world, web, partner


def app_of(world: RealMesh, name: Name) -> Connection:
    return world.app_of(world.mesh.services[name].versions[0].endpoints[0])


@pytest.mark.e2e
def test_a_request_leaves_encrypted_and_judged(envoy_binary: Path, tmp_path: Path) -> None:
    with calling(envoy_binary, tmp_path, 310, reading()) as (world, web, partner):
        headers = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "x-mine": "kept"}
        reply = web.send("GET", "/v1/items?all", HOST, headers)
        assert (reply.status, reply.body["path"]) == (200, "/v1/items?all")
        assert reply.body["headers"] == {"host": f"{HOST}:8443", "x-mine": "kept"}
        assert partner.names == [HOST]
        line = world.logged(node_of(world), "/v1/items?all")
        assert (line["upstream"], line["rule"].partition("#")[0]) == (f"shop/partner/{VERSION}", "shop/rule")

        denied = web.send("POST", "/v1/items", HOST)
        assert (denied.status, denied.body["error"]["reason"]) == (403, "no-rule-for-request")
        assert denied.body["error"]["caller"] == str(WEB)
        twice = web.send("GET", "/v1/../admin", HOST)
        assert (twice.status, twice.body["error"]["reason"]) == (400, "not-canonical")
        elsewhere = web.send("GET", "/v1/items", "other.example")
        assert (elsewhere.status, elsewhere.body["error"]["reason"]) == (403, "denied-not-in-scope")
        with app_of(world, OTHER) as other:
            stranger = other.send("GET", "/v1/items", HOST)
        assert (stranger.status, stranger.body["error"]["reason"]) == (403, "denied-not-in-scope")
        assert partner.paths == ["/v1/items?all"]
        counted = counters(world)
        assert (counted.kept_in, counted.not_in_scope) == ({"no-rule-for-request": 1}, 1)
        ((let_out, times),) = counted.allowed.items()
        assert (let_out.partition("#")[0], times) == ("shop/rule", 1)


def counters(world: RealMesh) -> NodeCounters:
    """What the sidecar of `web` has counted."""
    node = next(node for node in nodes(world.mesh) if node.service == WEB)
    transport = httpx.HTTPTransport(uds=str(socket_of(world, node)))
    with httpx.Client(transport=transport, base_url="http://admin") as admin:
        query = {"format": "json", "usedonly": "", "histogram_buckets": "cumulative", "filter": FILTER}
        return parse_stats(admin.get("/stats", params=query).content)


@pytest.mark.e2e
def test_a_certificate_for_another_name_gets_nothing(envoy_binary: Path, tmp_path: Path) -> None:
    with calling(envoy_binary, tmp_path, 312, reading(), named="api.evil.example") as (world, web, partner):
        assert web.send("GET", "/v1/secret", HOST).status == 503
        assert "CERTIFICATE_VERIFY_FAILED" in world.logged(node_of(world), "/v1/secret")["upstream_failure"]
        assert partner.paths == []


@pytest.mark.e2e
def test_a_rule_ends_at_its_instant_in_the_callers_own_proxy(envoy_binary: Path, tmp_path: Path) -> None:
    end = datetime.now(UTC) + timedelta(seconds=4)
    watched = reading(name=Name("shop", "watched"), mode=Mode.OBSERVE)
    with calling(envoy_binary, tmp_path, 314, reading(expires=end), watched) as (world, web, _):
        assert web.send("GET", "/v1/early", HOST).status == 200
        world.until(lambda: datetime.now(UTC) > end)
        assert web.send("GET", "/v1/late", HOST).status == 403
        assert world.logged(node_of(world), "/v1/late")["would"].startswith("would-allow shop/watched#")


@pytest.mark.e2e
def test_who_is_cut_off_gets_out_no_more(envoy_binary: Path, tmp_path: Path) -> None:
    net = loopback(os.getpid() + 316)
    with serving((f"{net}9", 8443), tmp_path, HOST) as partner, live(envoy_binary) as envoys:
        settings = replace(SETTINGS, roots=(("partner", str(partner.roots)),))
        the_mesh = going_out(net, settings, reading())
        with running(the_mesh, envoys) as world, app_of(world, WEB) as web:
            assert web.send("GET", "/v1/open", HOST).status == 200
            cut = replace(the_mesh.access[PARTNER], revoked=(WEB_ID,))
            envoys.serve(replace(the_mesh, access={**the_mesh.access, PARTNER: cut}))
            began = time.monotonic()
            world.until(lambda: web.send("GET", "/v1/cut", HOST).status == 403)
            assert time.monotonic() - began < 10
            assert web.send("GET", "/v1/later", HOST).status == 403
            assert "/v1/later" not in partner.paths


def node_of(world: RealMesh) -> str:
    return next(node.id for node in nodes(world.mesh) if node.service == WEB)


def hosts(the_mesh: Mesh, narrow: tuple[Name, ...] = ()) -> Iterator[tuple[Name, str, rbac_pb2.RBACPerRoute, bool]]:
    """Who calls, the host, its rules, and whether it refuses what is not canonical; of every caller."""
    memo = Memo()
    for node in nodes(the_mesh):
        for artifact in COMPILER.compile(the_mesh, node, memo).artifacts:
            if artifact.kind == ROUTES and artifact.name.startswith("outbound/"):
                closed = COMPILER.narrowed(artifact, (), (), narrow)
                for host in route_pb2.RouteConfiguration.FromString(closed.body).virtual_hosts:
                    if HOST in host.domains:
                        judged = rbac_pb2.RBACPerRoute()
                        host.typed_per_filter_config[rbac.FILTER].Unpack(judged)
                        canon = canonical.FILTER in host.typed_per_filter_config
                        yield node.service, host.domains[0], judged, canon


@pytest.mark.parametrize("source", [Source(services=(WEB,)), Source(namespaces=("shop",)), Source(anyone=True)])
def test_no_host_outside_is_without_rules(source: Source) -> None:
    settings = replace(SETTINGS, roots=(("partner", "/roots.pem"),))
    the_mesh = going_out("10.0.0.", settings, reading(sources=(source,)), reading(name=Name("shop", "b")))
    found = list(hosts(the_mesh))
    assert {caller for caller, *_ in found} == ({WEB} if source.services else {WEB, OTHER})
    for _, _, judged, refuses in found:
        assert judged.rbac.HasField("matcher")
        assert refuses


def test_roots_that_nobody_knows_close_the_way() -> None:
    assert list(hosts(going_out("10.0.0.", SETTINGS, reading()))) == []


def test_without_dns_a_host_is_found_at_its_addresses_and_else_by_name() -> None:
    settings = replace(SETTINGS, roots=(("partner", "/roots.pem"),))
    by_name = egress.cluster(settings, external())
    assert by_name.type == by_name.STRICT_DNS
    assert by_name.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address == HOST
    assert egress.cluster(settings, external("192.0.2.7")).type == by_name.STATIC
    assert not egress.cluster(settings, external(roots="")).HasField("transport_socket")


def test_what_a_proxy_goes_back_to_is_closed_to_who_was_cut_off_since() -> None:
    settings = replace(SETTINGS, roots=(("partner", "/roots.pem"),))
    the_mesh = going_out("10.0.0.", settings, reading())
    ((_, _, judged, _),) = hosts(the_mesh, (PARTNER,))
    assert judged.rbac.matcher.on_no_match.action.name == "deny"
    assert not judged.rbac.matcher.HasField("matcher_list")
    ((_, _, open_still, _),) = hosts(the_mesh, (Name("shop", "another"),))
    assert open_still.rbac.matcher.HasField("matcher_list")
    node = next(node for node in nodes(the_mesh) if node.service == WEB)
    cut = replace(the_mesh, access={**the_mesh.access, PARTNER: Access(PARTNER, (reading(),), (WEB_ID,))})
    names = {each.name for each in COMPILER.compile(cut, node, Memo()).artifacts if each.kind == CLUSTER}
    assert names == {"app"}
