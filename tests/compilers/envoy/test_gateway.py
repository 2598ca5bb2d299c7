"""The way into the mesh: a real Envoy at the edge with real certificates, a sidecar behind it, clients outside."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from policyd.compiler.memo import Memo
from policyd.decisions import Index, entering
from policyd.model.access import Source
from policyd.model.gateway import VERSION, Entry, Gateway, Listener
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.node import Node, nodes
from policyd.model.paths import PathPattern
from policyd.model.route import Match, RouteRule
from policyd.model.route_actions import Redirect, Rewrite
from policyd.model.service import Endpoint, Protocol, Service, Split, Version
from policyd_compilers.envoy import COMPILER
from tests.compilers.envoy.live import LiveEnvoys, live
from tests.compilers.envoy.outside import certificate
from tests.compilers.envoy.people import People
from tests.compilers.meshes import PAYMENTS, SETTINGS, mesh, rule, service
from tests.compilers.world import Connection, RealMesh, Reply, loopback, running
from tests.conformance.http2 import Http2Connection

pytestmark = pytest.mark.e2e

NET = loopback(os.getpid() + 320)
EDGE, LOCKED, OTHER = Name("shop", "edge"), Name("shop", "locked"), Name("shop", "other")
AT = {EDGE: NET + "8", LOCKED: NET + "9"}
TLS, PLAIN, CLEAR = 8443, 8081, 8082
PEOPLE = People()
SHOP, ADMIN = "www.shop.example", "admin.shop.example"


def entry(name: str, path: str, to: Name | None = None, *, public: bool = False, **rule: object) -> Entry:
    match = Match(paths=(PathPattern.parse(path),), hosts=rule.pop("hosts", ()))  # type: ignore[arg-type]
    return Entry(RouteRule(name, match, **rule), to, public)  # type: ignore[arg-type]


ENTRIES = (
    entry("admin", "/admin/**", PAYMENTS, hosts=(ADMIN,)),
    entry("moved", "/old", redirect=Redirect(301, path="/v1/charges")),
    entry("api", "/api/**", PAYMENTS, rewrite=Rewrite("/v1")),
    entry("closed", "/closed", OTHER),
    entry("open", "/v1/open", PAYMENTS, public=True),
    entry("charges", "/v1/**", PAYMENTS),
)
LISTENERS = (
    Listener(PLAIN, (SHOP,)),
    Listener(CLEAR, (SHOP,), plaintext=True),
    Listener(TLS, ("*.shop.example", "shop.example"), "shop"),
    Listener(TLS, (ADMIN,), "admin"),
    Listener(TLS, ("lost.example",), "lost"),
)
OPEN = Gateway(LISTENERS, ENTRIES, hsts_s=3_600, missing=("lost",))
BEHIND = (LISTENERS[0], *LISTENERS[2:4])
GUARDED = Gateway(BEHIND, ENTRIES, issuer="people", trusted_hops=1, allow_from=("192.0.2.0/24",))


def gateway(name: Name, what: Gateway) -> Service:
    """As a `Gateway` is lowered."""
    instance = Endpoint(AT[name], AT[name], 0)
    versions, split = (Version(VERSION, (instance,)),), Split.all_to(VERSION)
    return Service(name, Protocol.HTTP, what.ports[0], versions, split, gateway=what)


def whole() -> Mesh:
    services = [
        replace(service(PAYMENTS, v1=[NET + "1"]), upgrades=("websocket",)),
        service(OTHER, v1=[NET + "2"]),
        gateway(EDGE, OPEN),
        gateway(LOCKED, GUARDED),
    ]
    let = rule(PAYMENTS, (Source(services=(EDGE, LOCKED)),), ("GET", "POST"), ("/v1/**",))
    return mesh(services, (PAYMENTS, let), settings=replace(SETTINGS, issuers=(PEOPLE.issuer,)))


@dataclass
class Outside:
    """Clients, and what they trust."""

    mesh: RealMesh
    envoys: LiveEnvoys
    roots: dict[str, Path]

    def tls(self, trusting: str = "shop", *alpn: str) -> ssl.SSLContext:
        """As browsers do it: whoever answers proves the name that was asked for."""
        context = ssl.create_default_context(cafile=self.roots[trusting])
        context.set_alpn_protocols(list(alpn or ("http/1.1",)))
        return context

    def client(self, host: str = SHOP, trusting: str = "shop", at: Name = EDGE) -> Connection:
        """HTTP/1.1 over TLS."""
        return Connection((AT[at], TLS), self.tls(trusting), asking_for=host)

    def send(self, target: str, host: str = SHOP, headers: Mapping[str, str] | None = None, at: Name = EDGE) -> Reply:
        """One request for a host by a connection for that host."""
        with self.client(host, at=at) as client:
            return client.send("GET", target, host, headers)

    def locked(self, target: str, client: str, **headers: str) -> Reply:
        """One request to the guarded gateway, as a proxy in front of it sends it on for a client."""
        said = {"x-forwarded-for": client, **headers}
        return self.send(target, headers=said, at=LOCKED)


@pytest.fixture(scope="module")
def outside(envoy_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder, roots = tmp_path_factory.mktemp("certificates"), {}
    with live(envoy_binary) as envoys:
        for name, host in (("shop", "*.shop.example"), ("admin", ADMIN)):
            (folder / name).mkdir()
            roots[name], pair = certificate(folder / name, host)
            envoys.shown[name] = pair.read_bytes()
        with running(whole(), envoys, only={PAYMENTS, EDGE, LOCKED}) as started:
            yield Outside(started, envoys, roots)


def test_requests_come_in_by_the_name_that_the_handshake_asked_for(outside: Outside) -> None:
    reply = outside.send("/v1/charges?all")
    assert (reply.status, reply.body["path"]) == (200, "/v1/charges?all")
    assert reply.body["headers"]["host"] == SHOP
    assert reply.headers["strict-transport-security"] == "max-age=3600"
    line = outside.mesh.logged(node_of(outside.mesh, EDGE), "/v1/charges?all")
    assert (line["listener"], line["sni"], line["route"]) == ("edge", SHOP, "rule:charges")
    came = outside.mesh.logged(node_of(outside.mesh, PAYMENTS), "/v1/charges?all")
    assert came["caller"] == "spiffe://shop.example/ns/shop/svc/edge"
    with outside.client(ADMIN, "admin") as admin:  # who is shown the other certificate trusts its roots alone
        assert admin.send("GET", "/v1/admin", ADMIN).status == 200
    tls = outside.tls("shop", "h2")
    with Http2Connection((AT[EDGE], TLS), tls, NET + "77", SHOP) as client:
        asked = [(":method", "GET"), (":scheme", "https"), (":path", "/v1/h2")]
        assert client.status([*asked, (":authority", SHOP)]) == 200
        assert client.status([*asked, (":authority", ADMIN)]) == 421
        assert client.status([*asked, (":authority", "shop.example")]) == 200


@pytest.mark.parametrize("name", ["evil.example", "lost.example", ""])
def test_who_asks_for_another_name_is_not_answered(outside: Outside, name: str) -> None:
    tls = outside.tls()
    tls.check_hostname = False
    with pytest.raises(OSError), Connection((AT[EDGE], TLS), tls, asking_for=name) as client:
        client.send("GET", "/v1/charges", SHOP)


def test_a_connection_is_for_its_own_hosts(outside: Outside) -> None:
    with outside.client() as client:
        for host in (ADMIN, "evil.example", "payments.pay"):
            reply = client.send("GET", "/v1/fronted", host)
            assert (reply.status, reply.body["error"]["reason"]) == (421, "misdirected")
        assert client.send("GET", "/v1/charges", f"{SHOP}:{TLS}").status == 200
        assert client.send("GET", "/admin/users", SHOP).status == 404, "a route for another host"


def test_routes_lead_where_rules_let_the_gateway_go(outside: Outside) -> None:
    assert outside.send("/api/charges").body["path"] == "/v1/charges"
    moved = outside.send("/old?page=2")
    assert (moved.status, moved.headers["location"]) == (301, f"https://{SHOP}/v1/charges?page=2")
    unlisted = outside.send("/elsewhere")
    assert (unlisted.status, unlisted.body["error"]["reason"]) == (404, "route_not_found")
    closed = outside.send("/closed")
    assert (closed.status, closed.body["error"]["reason"]) == (403, "denied-not-in-scope")
    with outside.client() as client:
        denied = client.send("DELETE", "/v1/charges", SHOP)
    assert (denied.status, denied.body["error"]["reason"]) == (403, "no-rule-for-request")


@pytest.mark.parametrize("target", ["/v1/../admin", "//v1", "/v1/%2e%2e/x", "/v1/a%2Fb", "/v1\\x"])
def test_a_request_has_one_meaning(outside: Outside, target: str) -> None:
    assert outside.send(target).status == 400


def test_nobody_outside_says_what_only_the_mesh_knows(outside: Outside) -> None:
    claims = {
        "x-forwarded-client-cert": "URI=spiffe://shop.example/ns/shop/svc/web",
        "x-envoy-upstream-rq-timeout-ms": "1",
        "x-forwarded-for": "203.0.113.9",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "evil.example",
        "forwarded": "for=203.0.113.9",
        "x-real-ip": "203.0.113.9",
        "x-policyd-health-check": "1",
        "x-request-id": "mine",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "client-cert": "x",
        "x-mine": "kept",
    }
    with Connection((AT[EDGE], TLS), outside.tls(), coming_from=NET + "77", asking_for=SHOP) as client:
        came = client.send("GET", "/v1/claims", SHOP, claims).body["headers"]
    assert came["x-mine"] == "kept"
    assert came["x-forwarded-for"].split(",")[0] == NET + "77"
    assert came["x-forwarded-proto"] == "https"
    assert came.get("x-request-id") != "mine"
    gone = {*claims} - {"x-mine", "x-forwarded-for", "x-forwarded-proto", "x-request-id", "x-forwarded-client-cert"}
    assert not gone & {*came}
    assert "svc/web" not in came.get("x-forwarded-client-cert", "")


def test_in_the_clear_clients_are_sent_to_tls_unless_it_is_said(outside: Outside) -> None:
    with Connection((AT[EDGE], PLAIN)) as client:
        sent = client.send("POST", "/v1/charges?a=b", SHOP)
        assert (sent.status, sent.headers["location"]) == (308, f"https://{SHOP}:{TLS}/v1/charges?a=b")
        assert "strict-transport-security" not in sent.headers
        assert client.send("GET", "/v1/charges", "evil.example").status == 421
        assert client.send("GET", "//v1", SHOP).status == 400
    with Connection((AT[EDGE], CLEAR)) as client:
        assert client.send("GET", "/v1/clear", SHOP).status == 200


def test_a_token_is_asked_for(outside: Outside) -> None:
    good = f"Bearer {PEOPLE.token()}"
    inside = "192.0.2.7"
    assert outside.locked("/v1/charges", inside, authorization=good).status == 200
    late, other = PEOPLE.token(exp=1), PEOPLE.token(aud="else")
    bad = (late, other, PEOPLE.headed({"crit": ["exp"]}), PEOPLE.headed({"crit": []}))
    for said in ({}, {"authorization": "Bearer x"}, *({"authorization": f"Bearer {each}"} for each in bad)):
        refused = outside.locked("/v1/charges", inside, **said)
        assert (refused.status, refused.body["error"]["reason"]) == (401, "no-valid-token")
        assert refused.headers["www-authenticate"] == "Bearer"
    two = outside.locked("/v1/charges", inside, authorization=f"{good}, Bearer {late}")
    assert two.status == 401, "the service could read the other one"
    for critical in (["exp"], "exp"):  # RFC 7515, section 4.1.11: who does not understand it believes nothing
        extended = PEOPLE.headed({"crit": critical})
        assert outside.locked("/v1/charges", inside, authorization=f"Bearer {extended}").status == 401
    assert outside.locked("/none", inside).status == 401
    nowhere = outside.locked("/none", inside, authorization=good)
    assert (nowhere.status, nowhere.body["error"]["reason"]) == (404, "route_not_found")


def test_nobody_shows_a_token_to_be_sent_elsewhere(outside: Outside) -> None:
    inside = {"x-forwarded-for": "192.0.2.7"}
    assert outside.locked("/v1/open", inside["x-forwarded-for"]).status == 200
    assert outside.locked("/old", inside["x-forwarded-for"]).status == 301
    with Connection((AT[LOCKED], PLAIN)) as client:
        sent = client.send("GET", "/v1/charges", SHOP, inside)
    assert (sent.status, sent.headers["location"]) == (308, f"https://{SHOP}:{TLS}/v1/charges")
    with outside.client(at=LOCKED) as client:  # who is told so opens another connection, and shows it there
        assert client.send("GET", "/v1/open", ADMIN, inside).status == 421


def test_what_a_service_would_reset_is_refused_at_the_edge(outside: Outside) -> None:
    """Else it would count as the service's failure, by which instances are ejected and releases are stopped."""
    many, large = {f"x-{number}": "a" for number in range(93)}, {"x-large": "a" * 61_300}
    found = [outside.send("/v1/charges", headers=said) for said in ({"x_forwarded_for": "x"}, many, large)]
    assert [reply.status for reply in found] == [400, 431, 431]
    many, large = {f"x-{number}": "a" for number in range(77)}, {"x-large": "a" * 52_000}
    found = [outside.send("/v1/charges", headers=said) for said in (many, large)]
    assert [reply.status for reply in found] == [200, 200]


def test_clients_are_known_behind_the_hops_that_are_trusted(outside: Outside) -> None:
    token = f"Bearer {PEOPLE.token()}"
    came = outside.locked("/v1/hops", "203.0.113.1, 192.0.2.7", authorization=token)
    assert came.status == 200
    assert came.body["headers"]["x-forwarded-for"].startswith("203.0.113.1, 192.0.2.7")
    assert outside.mesh.logged(node_of(outside.mesh, LOCKED), "/v1/hops")["client"] == "192.0.2.7"
    away = outside.locked("/v1/hops", "192.0.2.7, 203.0.113.1", authorization=token)
    assert (away.status, away.body["error"]["reason"]) == (403, "address-not-allowed")


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", f"https://{SHOP}:{TLS}/v1/a"),
        ("DELETE", f"https://{SHOP}:{TLS}/v1/a"),
        ("GET", f"https://{SHOP}:{TLS}/api/a?b"),
        ("GET", f"https://{SHOP}:{TLS}/api"),
        ("GET", f"https://{SHOP}:{TLS}/old"),
        ("GET", f"https://{SHOP}:{TLS}/closed"),
        ("GET", f"https://{SHOP}:{TLS}/admin/a"),
        ("GET", f"https://{ADMIN}:{TLS}/admin/a"),
        ("GET", f"https://{ADMIN}:{TLS}/v1/a"),
        ("GET", f"https://{SHOP}:{TLS}/v1/%2e/a"),
        ("GET", f"http://{SHOP}:{PLAIN}/v1/a"),
        ("GET", f"http://{SHOP}:{CLEAR}/v1/a"),
        ("POST", f"http://{SHOP}:{CLEAR}/none"),
    ],
)
def test_what_is_explained_is_what_happens(outside: Outside, method: str, url: str) -> None:
    the_mesh, parts = outside.mesh.mesh, urlsplit(url)
    host, target = parts.hostname or "", parts.path + (f"?{parts.query}" if parts.query else "")
    foreseen = entering(the_mesh, method, url)
    assert foreseen is not None
    status = foreseen.status
    if foreseen.request is not None:
        decided = Index.build(the_mesh).decide(foreseen.request, datetime.now(UTC))
        status = 200 if decided.allow else decided.status
    trusting = "admin" if host == ADMIN else "shop"
    secured = outside.client(host, trusting) if parts.scheme == "https" else Connection((AT[EDGE], parts.port or 0))
    with secured as client:
        reply = client.send(method, target, host)
    assert reply.status == status, foreseen.said
    if foreseen.request is not None and status == 200:
        assert reply.body["path"] == foreseen.request.path


def test_old_tls_is_spoken_and_older_is_not(outside: Outside) -> None:
    tls = outside.tls()
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    with Connection((AT[EDGE], TLS), tls, asking_for=SHOP) as client:
        assert client.send("GET", "/v1/old", SHOP).status == 200
    config = COMPILER.compile(outside.mesh.mesh, _edge(outside.mesh), Memo())
    (listener,) = [COMPILER.render(each) for each in config.artifacts if each.name == f"edge/{TLS}"]
    assert "tls_minimum_protocol_version: TLSv1_2" in listener


def test_a_connection_changes_protocol_where_the_service_offers_it(outside: Outside) -> None:
    status, switched = outside.client().upgrade("/v1/live", "websocket", SHOP)
    with switched:
        switched.sendall(b"louder")
        assert (status, switched.recv(6)) == (101, b"LOUDER")
    refused, closed = outside.client().upgrade("/v1/live", "other", SHOP)
    closed.close()
    assert refused == 403


def test_a_certificate_is_replaced_under_load_without_a_lost_request(outside: Outside, tmp_path: Path) -> None:
    roots, pair = certificate(tmp_path, "*.shop.example")
    before, stop = (outside.envoys.shown["shop"], outside.roots["shop"]), threading.Event()
    statuses: list[int] = []

    def load() -> None:
        with outside.client() as client:
            while not stop.is_set():
                statuses.append(client.send("GET", "/v1/load", SHOP).status)

    caller = threading.Thread(target=load)
    caller.start()
    outside.mesh.until(lambda: len(statuses) > 20)
    try:
        show(outside, pair.read_bytes(), roots)
        after = len(statuses)
        outside.mesh.until(lambda: len(statuses) > after + 20)
    finally:
        stop.set()
        caller.join()
        show(outside, *before)
    assert {*statuses} == {200}


def show(outside: Outside, pair: bytes, roots: Path) -> None:
    """Let the gateways have another certificate; return when new clients are shown it."""
    outside.envoys.shown["shop"], outside.roots["shop"] = pair, roots
    outside.envoys.serve(outside.mesh.mesh)
    outside.mesh.until(lambda: _answers(outside))


def test_a_rule_that_is_taken_away_closes_the_way_at_the_gateway(outside: Outside) -> None:
    the_mesh = outside.mesh.mesh
    cut = replace(the_mesh.access[PAYMENTS], revoked=("spiffe://shop.example/ns/shop/svc/edge",))
    with outside.client() as client:
        assert client.send("GET", "/v1/cut", SHOP).status == 200
        outside.envoys.serve(replace(the_mesh, access={**the_mesh.access, PAYMENTS: cut}))
        closed = client.send("GET", "/v1/cut", SHOP)
        assert (closed.status, closed.body["error"]["reason"]) == (403, "denied-not-in-scope")
        outside.envoys.serve(the_mesh)
        outside.mesh.until(lambda: client.send("GET", "/v1/again", SHOP).status == 200)


def _answers(outside: Outside) -> bool:
    """Whether a client with the roots of now is answered."""
    try:
        return outside.send("/v1/charges").status == 200
    except ssl.SSLError:
        return False


def _edge(world: RealMesh) -> Node:
    return next(node for node in nodes(world.mesh) if node.service == EDGE)


def node_of(world: RealMesh, name: Name) -> str:
    return next(node.id for node in nodes(world.mesh) if node.service == name)


def test_what_goes_out_names_nobody_inside(outside: Outside) -> None:
    with outside.client() as client:
        denied = client.send("DELETE", "/v1/charges", SHOP)
    assert (denied.status, denied.body["error"]["reason"]) == (403, "no-rule-for-request")
    assert "x-policyd-edge" not in outside.send("/v1/charges").body["headers"]
    (payments,) = (node for node in nodes(outside.mesh.mesh) if node.service == PAYMENTS)
    process = outside.mesh.processes[payments.id]
    process.kill()
    process.wait()
    with outside.mesh.posing(payments.endpoint, OTHER):
        failed = outside.send("/v1/impostor")
    assert (failed.status, failed.body["error"]["reason"]) == (503, "upstream-failure")
    assert "svc/other" in outside.mesh.logged(node_of(outside.mesh, EDGE), "/v1/impostor")["details"]
    for reply in (denied, failed):
        assert "spiffe://" not in str(reply)
