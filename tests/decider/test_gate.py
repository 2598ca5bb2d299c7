"""A decision server that asks who calls, and one that passes on what is not its own."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

import httpx

from tests.decider.meshes import READS, question, shop
from tests.decider.opa import opa_server
from tests.decider.server import publish, serving, wait_for


def _token(name: str, *roles: str) -> dict[str, object]:
    return {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "roles": list(roles)}


def test_everything_but_health_is_for_those_who_may(tmp_path: Path) -> None:
    publish(tmp_path, shop(READS))
    auth = {"tokens": [_token("asker", "decide"), _token("watcher", "read")]}
    with serving(tmp_path, settings={"auth": auth}, ready=False) as server:
        wait_for(lambda: _status(server.client, "GET", "/health?bundles", "") == 200)
        for path in ("/v1/data/policyd/authz/allow", "/v0/data/policyd/authz/allow", "/v1/batch/data/policyd/authz"):
            answers = [_status(server.client, "POST", path, token) for token in ("", "nobody", "watcher", "asker")]
            assert answers == [401, 401, 403, 200], path
        for path in ("/metrics", "/openapi.json"):
            assert [_status(server.client, "GET", path, token) for token in ("", "asker", "watcher")] == [
                401,
                403,
                200,
            ]
        assert _status(server.client, "GET", "/nothing", "") == 401
        refused = server.client.post("/v1/data/policyd/authz/allow", json={"input": question()})
        assert refused.json()["code"] == "unauthorized"
        assert refused.headers["WWW-Authenticate"] == "Bearer"


def _status(client: httpx.Client, method: str, path: str, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        return client.request(method, path, headers=headers, json={} if method == "POST" else None).status_code
    except httpx.TransportError:
        return 0


UPWARDS = [
    b"POST /v1/data/../query",
    b"POST /v1/data/team/../../query",
    b"POST /v1/data/%2e%2E/query",
    b"POST /v1/data/.%2e/query",
    b"POST /v1/data/..%2fquery",
    b"POST /v1/data/..%5Cquery",
    b"POST /v0/data/..",
    b"GET /v1/data/./../policies",
]
"""Ways out of the data API: `/v1/query` runs whatever it is sent."""


def raw(port: int, line: bytes, body: bytes = b'{"query": "true"}') -> bytes:
    """The head of the answer to a request whose target no client library has touched."""
    with socket.create_connection(("127.0.0.1", port), 30) as wire:
        wire.sendall(b"%b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (line, len(body), body))
        return wire.recv(65_536)


RULES = 'package team\n\nhello := {"you": input.name}\n'


def test_a_path_that_is_not_ours_is_answered_by_the_opa_behind(tmp_path: Path, opa_binary: Path) -> None:
    publish(tmp_path, shop(READS))
    (tmp_path / "team.rego").write_text(RULES)
    asked = {"input": {"name": "ada"}}
    with opa_server(opa_binary, tmp_path, str(tmp_path / "team.rego")) as opa:
        url = str(opa.base_url)
        with serving(tmp_path, settings={"opa": url}) as server:
            assert server.client.post("/v1/data/team/hello", json=asked).json() == {"result": {"you": "ada"}}
            assert server.client.get("/v1/data/team/hello?input=%7B%22name%22%3A1%7D").json()["result"] == {"you": 1}
            assert server.client.post("/v0/data/team/hello", json={"name": "ada"}).json() == {"you": "ada"}
            assert server.client.post("/v0/data/team/none", json={}).status_code == 404
            assert server.ask("policyd/authz/allow", question())["result"] is True
            assert server.client.put("/v1/policies/mine", content=RULES).status_code == 404
            assert server.client.put("/v1/data/team", json={}).status_code == 405
            for way in UPWARDS:
                assert raw(server.port, way).startswith(b"HTTP/1.1 400 "), way
    with serving(tmp_path, settings={"opa": url}) as server:
        gone = server.client.post("/v1/data/team/hello", json=asked)
        assert (gone.status_code, gone.json()["code"]) == (502, "internal_error")
        assert server.ask("policyd/authz/allow", question())["result"] is True
