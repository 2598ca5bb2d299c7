"""What compiled sidecars do with real traffic: one set of questions and answers, asked of every real proxy."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from policyd.compiler.naming import EDGE_HEADER
from policyd.model.access import Mode, Source
from policyd.model.names import Name
from policyd.model.resilience import Resilience, Retries, Timeouts
from policyd.model.service import Endpoint, HeaderMatch, HealthCheck, Split
from tests.compilers.haproxy.proxies import HAProxies
from tests.compilers.meshes import PAYMENTS, SETTINGS, WEB, mesh, rule, service
from tests.compilers.world import Authority, Connection, RealMesh, Sidecars, loopback, running

pytestmark = pytest.mark.e2e

NET = loopback(os.getpid())
FRIEND = Name("ops", "friend")
STRANGER = Name("shop", "stranger")
RAW = Name("pay", "raw")
PATTERNS = ("/v1/charges", "/v1/charges/{id}", "/v1/charges/{id}/items/**", "/v2/**", "/v3/", "/a.b/{x}/c~*")


@pytest.fixture(scope="module")
def world(sidecars: Sidecars) -> Iterator[RealMesh]:
    payments = replace(
        service(PAYMENTS, v1=[NET + "1"], v2=[NET + "2"]),
        split=Split((("v1", 7_000), ("v2", 3_000)), HeaderMatch("x-canary", "yes"), "v2"),
        resilience=Resilience(Timeouts(request_ms=1_000), Retries(1, ("503",), ("GET",))),
        health_check=HealthCheck("/healthz", interval_ms=500),
    )
    web = service(WEB, v1=[NET + "3"])
    raw = replace(service(RAW, v1=[NET + "4"]), opaque_paths=True)
    past, soon = datetime.now(UTC) - timedelta(minutes=1), datetime.now(UTC) + timedelta(hours=1)
    friends = (Source(namespaces=("ops",)),)
    partner = (Source(identities=("spiffe://partner.example/ns/pay/svc/settle",)),)
    the_mesh = mesh(
        [payments, web, raw],
        (PAYMENTS, rule(PAYMENTS, methods=("GET", "POST"), paths=PATTERNS, name="web")),
        (PAYMENTS, rule(PAYMENTS, (Source(anyone=True),), ("GET",), ("/open",), name="anyone")),
        (PAYMENTS, rule(PAYMENTS, friends, ("DELETE",), ("/ops/**",), name="ops")),
        (PAYMENTS, rule(PAYMENTS, partner, ("GET",), ("/partner",), name="partner")),
        (PAYMENTS, replace(rule(PAYMENTS, methods=("GET",), paths=("/expired",), name="past"), expires=past)),
        (PAYMENTS, replace(rule(PAYMENTS, methods=("GET",), paths=("/expires",), name="soon"), expires=soon)),
        (PAYMENTS, rule(PAYMENTS, methods=("GET",), paths=("/watched",), name="watch", mode=Mode.OBSERVE)),
        (RAW, rule(RAW)),
        settings=replace(SETTINGS),
    )
    with running(the_mesh, sidecars) as started:
        yield started


def instance(world: RealMesh, name: Name, version: str = "v1") -> Endpoint:
    found = world.mesh.services[name].version(version)
    assert found is not None
    return found.endpoints[0]


@pytest.fixture
def web(world: RealMesh) -> Iterator[Connection]:
    connection = world.app_of(instance(world, WEB))
    yield connection
    connection.close()


@pytest.fixture
def peer(world: RealMesh) -> Iterator[Connection]:
    """`web`'s identity, straight at `payments`."""
    connection = world.peer_of(instance(world, PAYMENTS), WEB)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/charges", 200),
        ("GET", "/v1/charges?next=/../x", 200),
        ("POST", "/v1/charges/17", 200),
        ("GET", "/v1/charges/17/items", 200),
        ("GET", "/v1/charges/17/items/", 200),
        ("GET", "/v1/charges/17/items/2/x?y", 200),
        ("HEAD", "/v1/charges", 403),
        ("DELETE", "/v1/charges", 403),
        ("GET", "/v1/charges/", 403),
        ("GET", "/v1/charges/17/", 403),
        ("GET", "/v1/chargesx", 403),
        ("GET", "/v1/charges/17/itemsx", 403),
        ("GET", "/v1/charges?/17", 200),
        ("GET", "/v2", 200),
        ("GET", "/v2?x", 200),
        ("GET", "/v2/", 200),
        ("GET", "/v2x", 403),
        ("GET", "/v3", 403),
        ("GET", "/v3/", 200),
        ("GET", "/a.b/1/c~*", 200),
        ("GET", "/axb/1/c~*", 403),
        ("GET", "/open", 200),
        ("GET", "/ops/1", 403),
        ("GET", "/expired", 403),
        ("GET", "/expires", 200),
        ("GET", "/watched", 403),
    ],
)
def test_rules_decide_by_method_and_path(peer: Connection, method: str, path: str, status: int) -> None:
    assert peer.send(method, path).status == status


def test_sources_decide_by_identity(world: RealMesh) -> None:
    at = instance(world, PAYMENTS)
    table = [
        (FRIEND, "", "DELETE", "/ops/1", 200),
        (FRIEND, "", "GET", "/v2", 403),
        (STRANGER, "", "GET", "/open", 200),
        (STRANGER, "", "GET", "/v2", 403),
        (WEB, "spiffe://partner.example/ns/pay/svc/settle", "GET", "/partner", 200),
        (WEB, "spiffe://partner.example/ns/pay/svc/settle", "GET", "/open", 403),
        (WEB, "spiffe://shop.example.evil/ns/shop/svc/web", "GET", "/open", 403),
        (WEB, "spiffe://shop.example/ns/opsx/svc/web", "DELETE", "/ops/1", 403),
    ]
    for caller, identity, method, path, status in table:
        with world.peer_of(at, caller, identity) as connection:
            assert connection.send(method, path).status == status, (caller, identity, method, path)


def test_denials_say_why_in_json(world: RealMesh, peer: Connection) -> None:
    reply = peer.send("DELETE", "/v1/charges")
    assert reply.body["error"]["reason"] == "no-rule-for-request"
    assert reply.body["error"]["caller"] == "spiffe://shop.example/ns/shop/svc/web"
    assert reply.headers["content-type"] == "application/json"
    by_edge = peer.send("DELETE", "/v1/charges", headers={EDGE_HEADER: "yes"})  # what goes out names nobody
    assert (by_edge.status, by_edge.body["error"]["caller"]) == (403, "")
    assert EDGE_HEADER not in peer.send("GET", "/v1/charges", headers={EDGE_HEADER: "yes"}).body["headers"]
    with world.peer_of(instance(world, RAW), STRANGER) as stranger:
        assert stranger.send("GET", "/v2").body["error"]["reason"] == "no-rule-for-caller"
    refused = peer.send("GET", "/v2//x")
    assert (refused.status, refused.body["error"]["reason"]) == (400, "not-canonical")


def test_without_a_client_certificate_there_is_no_conversation(world: RealMesh) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.load_verify_locations(cadata=world.authority.root_pem.decode())
    at = (instance(world, PAYMENTS).address, world.mesh.settings.inbound_port)
    with Connection(at, tls) as bare, pytest.raises((ssl.SSLError, ConnectionError)):
        bare.send("GET", "/open")


@pytest.mark.parametrize("host", ["a@payments", "pay ments", "", "pay_ments", "payments,web", "payments.."])
def test_invalid_hosts_are_not_canonical(peer: Connection, host: str) -> None:
    assert peer.send("GET", "/v2", host=host).status == 400


def test_several_hosts_are_not_canonical(peer: Connection) -> None:
    assert peer.send("GET", "/v2", headers={"Host": "web"}).status == 400


@pytest.mark.parametrize("host", ["PAYMENTS", "payments:80", "payments.", "payments.:81", "127.0.0.1", "[::1]:80"])
def test_hosts_are_normalised(peer: Connection, host: str) -> None:
    assert peer.send("GET", "/v2", host=host).status == 200


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get", "FOO"])
def test_other_methods_are_not_canonical(peer: Connection, method: str) -> None:
    assert peer.send(method, "/v2").status == 400


def test_upgrades_are_refused(peer: Connection) -> None:
    upgrade = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert peer.send("GET", "/v2", headers=upgrade).status == 403


def test_underscored_headers_are_refused(peer: Connection) -> None:
    assert peer.send("GET", "/v2", headers={"x_user": "root"}).status == 400


def test_opaque_paths_pass_as_they_are(world: RealMesh) -> None:
    with world.peer_of(instance(world, RAW), WEB) as connection:
        for path in ("/bucket/a%2Fb", "/bucket//x", "/bucket/%2e%2e/x"):
            reply = connection.send("GET", path)
            assert (reply.status, reply.body["path"]) == (200, path)
        assert connection.send("TRACE", "/x").status == 400


def test_identity_headers_of_a_caller_are_replaced(web: Connection) -> None:
    spoof = {"x-forwarded-client-cert": "URI=spiffe://shop.example/ns/ops/svc/admin", "x-canary": "yes"}
    seen = web.send("GET", "/v2", headers=spoof).body["headers"]["x-forwarded-client-cert"]
    assert "admin" not in seen
    assert "URI=spiffe://shop.example/ns/shop/svc/web" in seen


def test_envoy_headers_of_an_application_control_nothing(web: Connection) -> None:
    control = {
        "x-envoy-upstream-rq-timeout-ms": "1",
        "x-envoy-original-path": "/x",
        "x-envoy-retry-on": "5xx",
        "x-test-delay": "0.2",
    }
    reply = web.send("GET", "/v2", headers=control)
    assert reply.status == 200
    # What may remain is an Envoy's own word, on the callee's side, for the peer's address.
    assert {name for name in reply.body["headers"] if name.startswith("x-envoy")} <= {"x-envoy-external-address"}
    assert not [name for name in reply.headers if name.startswith("x-envoy")]


def test_the_call_as_a_whole_is_bounded(web: Connection) -> None:
    reply = web.send("POST", "/v2", headers={"x-test-delay": "3"})
    assert reply.status == 504


def test_header_first_then_weights(web: Connection) -> None:
    canary = {"x-canary": "yes"}
    assert {web.send("GET", "/v2", headers=canary).body["version"] for _ in range(20)} == {"v2"}
    got = [web.send("GET", "/v2").body["version"] for _ in range(300)]
    assert 45 <= got.count("v2") <= 140  # 30 % of 300, more than 5 standard deviations either way


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("http://payments.pay/v2", "payments.pay"),
        ("http://payments.pay:8080/v2", "payments.pay:8080"),
        ("http://payments.pay.shop.example/v2", "payments.pay.shop.example"),
        ("/v2", "payments.pay"),
        ("/v2", "PAYMENTS.PAY:8080"),
        ("/v2", "payments.pay.shop.example"),
    ],
)
def test_a_destination_has_several_names_and_forms(web: Connection, target: str, host: str) -> None:
    reply = web.send("GET", target, host=host)
    assert (reply.status, reply.body["path"]) == (200, "/v2")


def test_a_target_decides_against_a_host_that_contradicts_it(sidecars: Sidecars, web: Connection) -> None:
    """RFC 9112, section 3.2.2: the target's authority counts. HAProxy is stricter and refuses the contradiction."""
    reply = web.send("GET", "http://payments.pay/v2", host="raw.pay")
    assert reply.status == (400 if isinstance(sidecars, HAProxies) else 200)
    if reply.status == 200:
        assert reply.body["headers"]["host"] == "payments.pay"


@pytest.mark.parametrize("host", ["payments", "web", "stranger", "example.org", "payments.pay.other.example"])
def test_every_other_host_is_denied_and_says_so(web: Connection, host: str) -> None:
    reply = web.send("GET", "/v2", host=host)
    assert reply.status == 403
    body = reply.body if isinstance(reply.body, dict) else json.loads(reply.body)
    assert body["error"]["reason"] == "denied-not-in-scope"


def test_health_of_the_callee_opens_no_access(peer: Connection) -> None:
    assert peer.send("GET", "/healthz").status == 403
    assert peer.send("GET", "/healthz", headers={"x-policyd-health-check": "1"}).status in {200, 503}


def test_the_log_names_caller_rule_and_observation(world: RealMesh, peer: Connection) -> None:
    peer.send("GET", "/v2?logged")
    peer.send("GET", "/watched?logged")
    node = f"pay/payments/v1/{instance(world, PAYMENTS).address}"
    allowed = world.logged(node, "/v2?logged")
    assert allowed["caller"] == "spiffe://shop.example/ns/shop/svc/web"
    assert allowed["rule"].startswith("pay/web#")
    watched = world.logged(node, "/watched?logged")
    assert watched["status"] == 403
    assert watched["would"].startswith("would-allow pay/watch#")
    assert allowed["would"] == "same"


def test_a_certificate_of_another_root_is_refused(world: RealMesh) -> None:
    tls = world.tls_of(WEB, of=Authority(world.mesh.settings.trust_domain))
    tls.load_verify_locations(cadata=world.authority.root_pem.decode())
    at = (instance(world, PAYMENTS).address, world.mesh.settings.inbound_port)
    with Connection(at, tls) as foreign, pytest.raises((ssl.SSLError, ConnectionError)):
        foreign.send("GET", "/open")


def test_no_session_is_resumed(world: RealMesh) -> None:
    """A resumed session would skip the check of the client's certificate."""
    tls = world.tls_of(WEB)
    at = (instance(world, PAYMENTS).address, world.mesh.settings.inbound_port)
    with Connection(at, tls) as first:
        assert first.send("GET", "/v2").status == 200
        session = first.session
    with Connection(at, tls, session=session) as second:
        assert second.send("GET", "/v2").status == 200
        assert not second.resumed


def test_what_may_be_sent_twice_is_tried_again(world: RealMesh, web: Connection) -> None:
    failing = {"x-test-status": "503"}
    assert web.send("POST", "/v2?post", headers=failing).status == 503
    assert web.send("GET", "/v2?get", headers=failing).status == 503
    assert len(world.arrived("/v2?get", 2)) == 2
    assert len(world.arrived("/v2?post", 1)) == 1


def test_a_callee_with_another_identity_is_not_called(sidecars: Sidecars) -> None:
    net = loopback(os.getpid() + 20)
    the_mesh = mesh(
        [service(WEB, v1=[net + "1"]), service(PAYMENTS, v1=[net + "2"]), service(RAW, v1=[net + "3"])],
        (PAYMENTS, rule(PAYMENTS)),
        (RAW, rule(RAW)),
    )
    with (
        running(the_mesh, sidecars, only={WEB}) as world,
        world.posing(instance(world, PAYMENTS), PAYMENTS),
        world.posing(instance(world, RAW), STRANGER),
        world.app_of(instance(world, WEB)) as web,
    ):
        assert web.send("GET", "/x", host="payments.pay").status == 200
        assert web.send("GET", "/x", host="raw.pay").status == 503
