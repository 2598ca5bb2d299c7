"""Requests byte by byte, as no well-behaved client sends them: every real proxy refuses what has two meanings."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator

import pytest

from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service
from tests.compilers.world import Connection, RealMesh, Sidecars, loopback, running

pytestmark = pytest.mark.e2e

HOST = b"host: payments.pay\r\n"


@pytest.fixture(scope="module")
def world(sidecars: Sidecars) -> Iterator[RealMesh]:
    net = loopback(os.getpid() + 150)
    the_mesh = mesh([service(PAYMENTS, v1=[net + "1"]), service(WEB, v1=[net + "2"])], (PAYMENTS, rule(PAYMENTS)))
    with running(the_mesh, sidecars) as started:
        yield started


def peer(world: RealMesh) -> Connection:
    return world.peer_of(world.mesh.services[PAYMENTS].versions[0].endpoints[0], WEB)


def status(world: RealMesh, raw: bytes) -> int:
    """What the sidecar answers to these bytes; 0 where it only closes the connection."""
    with peer(world) as connection:
        opened = connection._open()
        opened.sendall(raw)
        response = http.client.HTTPResponse(opened, method="GET")
        try:
            response.begin()
        except (http.client.HTTPException, ConnectionError):
            return 0
        return response.status


def head(line: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([line, *headers]) + b"\r\n\r\n"


GOOD, POST = b"GET /v1 HTTP/1.1", b"POST /v1 HTTP/1.1"
ODD = {
    "the host twice, in two spellings": head(GOOD, b"Host: payments.pay", b"HOST: web"),
    "no host": head(GOOD),
    "an empty host": head(GOOD, b"host:"),
    "a list of hosts": head(GOOD, b"host: payments.pay, web"),
    "a host with a path": head(GOOD, b"host: payments.pay/x"),
    "a host with a name before it": head(GOOD, b"host: web@payments.pay"),
    "a host with a space": head(GOOD, b"host: payments.pay web"),
    "a host with a port that is none": head(GOOD, b"host: payments.pay:x"),
    "a host with two ports": head(GOOD, b"host: payments.pay:1:2"),
    "HTTP/1.0 without a host": head(b"GET /v1 HTTP/1.0"),
    "TRACE": head(b"TRACE /v1 HTTP/1.1", b"host: payments.pay"),
    "CONNECT": head(b"CONNECT payments.pay:80 HTTP/1.1", b"host: payments.pay:80"),
    "CONNECT to a path": head(b"CONNECT /v1 HTTP/1.1", b"host: payments.pay"),
    "the server as a whole": head(b"OPTIONS * HTTP/1.1", b"host: payments.pay"),
    "a method in lower case": head(b"get /v1 HTTP/1.1", b"host: payments.pay"),
    "a method nobody knows": head(b"BREW /v1 HTTP/1.1", b"host: payments.pay"),
    "a target with a fragment": head(b"GET /v1#x HTTP/1.1", b"host: payments.pay"),
    "a target that is no path": head(b"GET v1 HTTP/1.1", b"host: payments.pay"),
    "an absolute target that is not canonical": head(b"GET http://payments.pay//x HTTP/1.1", b"host: payments.pay"),
    "a header with an underscore": head(GOOD, b"host: payments.pay", b"x_user: ada"),
    "a header with a space in its name": head(GOOD, b"host: payments.pay", b"x user: ada"),
    "a header with a space behind its name": head(GOOD, b"host: payments.pay", b"x-user : ada"),
    "a header without a name": head(GOOD, b"host: payments.pay", b": ada"),
    "a header without a colon": head(GOOD, b"host: payments.pay", b"x-user"),
    "a header that holds a zero byte": head(GOOD, b"host: payments.pay", b"x-user: a\0da"),
    "two lengths": head(POST, b"host: payments.pay", b"content-length: 1", b"content-length: 2") + b"ab",
    "a coding nobody knows": head(POST, b"host: payments.pay", b"transfer-encoding: x") + b"0\r\n\r\n",
    "a length that is no number": head(POST, b"host: payments.pay", b"content-length: +1") + b"a",
}  # fmt: skip
REFUSED = {400, 426, 501}
"""426 and 501 are what proxies say to versions and codings that they do not speak (RFC 9110, section 15)."""


def test_what_is_sent_is_served_when_it_is_well_formed(world: RealMesh) -> None:
    assert status(world, head(GOOD, b"host: payments.pay")) == 200
    assert status(world, head(b"GET http://payments.pay/v1 HTTP/1.1", b"host: payments.pay")) == 200


@pytest.mark.parametrize("name", sorted(ODD))
def test_what_has_two_meanings_is_refused(world: RealMesh, name: str) -> None:
    assert status(world, ODD[name]) in REFUSED | {0}, name


ONE_MEANING = {
    "the host twice, alike": head(GOOD, b"host: payments.pay", b"host: payments.pay"),
    "a target with a name before its host": head(b"GET http://web@payments.pay/v1 HTTP/1.1", b"host: payments.pay"),
    "a length and chunks": head(POST, b"host: payments.pay", b"content-length: 5", b"transfer-encoding: chunked")
    + b"0\r\n\r\n",
}


@pytest.mark.parametrize("name", sorted(ONE_MEANING))
def test_what_a_proxy_puts_right_arrives_with_one_meaning(world: RealMesh, name: str) -> None:
    """Proxies drop what they have not read; then the application must not see it either."""
    with peer(world) as connection:
        opened = connection._open()
        opened.sendall(ONE_MEANING[name])
        response = http.client.HTTPResponse(opened, method="GET")
        response.begin()
        if response.status != 400:
            seen = json.loads(response.read())
            assert (seen["path"], seen["headers"]["host"]) == ("/v1", "payments.pay")
            assert "content-length" not in seen["headers"]


def test_a_line_that_is_folded_reaches_nobody_as_two(world: RealMesh) -> None:
    """RFC 9112, section 5.2: refuse it, or make it one line."""
    with peer(world) as connection:
        opened = connection._open()
        opened.sendall(head(GOOD, b"host: payments.pay", b"x-user: ada\r\n x-role: admin"))
        response = http.client.HTTPResponse(opened, method="GET")
        response.begin()
        assert response.status == 400 or b'"x-role"' not in response.read()


CLAIMS = {
    "x-forwarded-client-cert": "URI=spiffe://shop.example/ns/ops/svc/root",
    "X-Forwarded-Client-Cert": "By=x;Hash=y;URI=spiffe://shop.example/ns/ops/svc/root",
    "client-cert": ":MIIB:",
    "Client-Cert-Chain": ":MIIB:",
    "x-envoy-original-path": "/admin",
    "x-envoy-peer-metadata": "root",
    "X-Envoy-Internal": "true",
}


@pytest.mark.parametrize("claim", sorted(CLAIMS))
def test_nobody_claims_an_identity_by_a_header(world: RealMesh, claim: str) -> None:
    web = world.app_of(world.mesh.services[WEB].versions[0].endpoints[0])
    for connection in (peer(world), web):
        with connection:
            reply = connection.send("GET", "/v1", headers={claim: CLAIMS[claim]})
        assert reply.status == 200
        seen = reply.body["headers"].get(claim.lower(), "")
        assert "ops" not in seen
        assert CLAIMS[claim] not in seen
        if claim.lower() == "x-forwarded-client-cert":
            assert seen.endswith("URI=spiffe://shop.example/ns/shop/svc/web")
