from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opa_client.opa_async import AsyncOpaClient

from policyd.api.app import application, server
from policyd.api.bodies import LONGEST_BODY
from policyd.api.metrics import ControllerMetrics
from policyd.api.question import question_from
from policyd.base.errors import UsageError
from policyd.decider.documents import DOCUMENTS
from policyd.decisions import NO_TOKEN, Token, TokenState
from tests.api.conftest import WEB, Api, OneController, OneFloor, OneRule

ALLOW = "/v1/data/policyd/authz/allow"
GOOD: dict[str, Any] = {
    "source": {"spiffe": WEB, "ip": "127.0.0.9"},
    "destination": {"service": "checkout", "port": 8080},
    "method": "GET",
    "host": "checkout",
    "path": "/v1/items",
    "jwt": None,
}


AUTHZ = {
    "allow": True,
    "outcome": "allow",
    "rule": "default/web-reads",
    "status": 403,
    "reason": "",
    "would": "",
    "reasons": ["because"],
    "place": "a.yaml:3:1",
    "owner": "",
    "commit": "c" * 40,
}


def test_an_allowed_request(client: Api) -> None:
    answer = client.post(ALLOW, json={"input": GOOD})
    assert (answer.status_code, answer.json()) == (200, {"result": True})


def test_the_input_may_stand_in_the_query(client: Api) -> None:
    answer = client.get(ALLOW, params={"input": json.dumps(GOOD)})
    assert (answer.status_code, answer.json()) == (200, {"result": True})


def test_the_package_is_an_object_of_its_rules(client: Api) -> None:
    answer = client.post("/v1/data/policyd/authz", json={"input": GOOD}).json()["result"]
    assert answer == AUTHZ
    for part, value in AUTHZ.items():
        assert client.post(f"/v1/data/policyd/authz/{part}", json={"input": GOOD}).json() == {"result": value}


def test_the_documents_are_those_of_a_decision_server(client: Api) -> None:
    for path in DOCUMENTS:
        assert "result" in client.post(f"/v1/data/{path}", json={"input": GOOD}).json(), path


def test_the_answer_says_so_while_proxies_differ(client: Api) -> None:
    live = {"allow": 3, "of": 12, "unknown": 0}
    assert client.post(ALLOW + "?at=head", json={"input": GOOD}).json() == {"result": True, "live": live}
    assert client.get("/v1/differing").json() == {"destinations": {"default/checkout": {"differ": 3, "of": 12}}}


@pytest.mark.parametrize(
    "path", ["/v1/data/policyd/authz/other", "/v1/data/system", "/v1/data/policyd/x", "/v1/data/x/y"]
)
def test_what_is_not_there_is_undefined(path: str, client: Api) -> None:
    answer = client.post(path, json={"input": GOOD})
    assert (answer.status_code, answer.json()) == (200, {})


def test_documents_above_a_rule_hold_it_as_opas_do(client: Api) -> None:
    authz = {"authz": AUTHZ}
    for path, expected in {
        "/v1/data": {"policyd": authz},
        "/v1/data/": {"policyd": authz},
        "/v1/data/policyd": authz,
        "/v1/data/policyd/authz/": authz["authz"],
    }.items():
        answer = client.post(path, json={"input": GOOD})
        assert (answer.status_code, answer.json()) == (200, {"result": expected}), path
    assert client.get("/v1/data", params={"input": json.dumps(GOOD)}).json()["result"] == {"policyd": authz}


@pytest.mark.parametrize("body", [{}, {"input": None}, {"input": 1}, {"input": []}, {"input": {"source": WEB}}])
def test_an_input_that_says_too_little_is_denied(body: Any, client: Api) -> None:
    assert client.post(ALLOW, json=body).json() == {"result": False}


@given(field=st.sampled_from(sorted(GOOD)), value=st.none() | st.integers() | st.text() | st.lists(st.text()))
def test_no_odd_field_is_ever_allowed(field: str, value: object) -> None:
    if field == "host" or value == GOOD[field]:
        return
    app = application(OneController(), OneRule(), OneFloor(), ControllerMetrics())
    asked = {**GOOD, field: value}
    answer = Api(app).post(ALLOW, content=json.dumps({"input": asked}))
    assert answer.status_code in {200, 400}
    assert answer.json().get("result") is not True


@pytest.mark.parametrize("body", [b"{", b"[]", b"1", b"\xff\xfe", b'{"input": "\\ud800"}', b"nul"])
def test_bodies_that_are_no_json_object_are_refused_as_opa_does(body: bytes, client: Api) -> None:
    answer = client.post(ALLOW, content=body)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_parameter"
    assert answer.json()["message"]


def test_a_query_that_is_no_json_is_refused(client: Api) -> None:
    assert client.get(ALLOW, params={"input": "{"}).status_code == 400


def test_long_bodies_are_not_read_to_their_end(client: Api) -> None:
    answer = client.post(ALLOW, content=b'{"input": "' + b"x" * LONGEST_BODY + b'"}')
    assert answer.status_code == 413


def test_before_a_mesh_is_promoted_nothing_is_answered(client: Api, decisions: OneRule) -> None:
    decisions.served = False
    for path in (ALLOW, "/v1/explain"):
        answer = client.post(path, json={"input": GOOD})
        assert (answer.status_code, answer.json()["code"]) == (503, "internal_error")


def test_an_explanation_has_rule_place_and_reasons(client: Api) -> None:
    answer = client.post("/v1/explain", json={"input": GOOD}).json()
    assert (answer["allow"], answer["rule"], answer["place"]) == (True, "default/web-reads", "a.yaml:3:1")
    assert answer["reasons"] == ["because"]
    assert client.get("/v1/explain", params={"input": json.dumps(GOOD)}).json() == answer
    assert client.post("/v1/explain", json={"input": {}}).status_code == 400


@pytest.mark.parametrize("port", ["8080", True, None, 90, [], 8080.5])
def test_an_odd_port_is_no_yes(port: object, client: Api) -> None:
    asked = {**GOOD, "destination": {"service": "checkout", "port": port}}
    assert client.post(ALLOW, json={"input": asked}).json() == {"result": False}


@pytest.mark.parametrize(
    ("said", "token"),
    [
        (None, NO_TOKEN),
        ({"state": "absent", "claims": {"role": "admin"}}, Token(TokenState.ABSENT, "", {"role": "admin"})),
        ({"state": "valid", "issuer": "x", "claims": {"a": 1}}, Token(TokenState.VALID, "x", {"a": 1})),
        ({"state": "valid", "issuer": 1, "claims": []}, Token(TokenState.VALID)),
        ({"state": "Valid"}, Token(TokenState.INVALID)),
        ({"state": ["valid"]}, Token(TokenState.INVALID)),
        ("valid", Token(TokenState.INVALID)),
        ([], Token(TokenState.INVALID)),
    ],
)
def test_an_odd_token_is_no_valid_one(said: object, token: Token) -> None:
    assert question_from({**GOOD, "jwt": said}).token == token


@pytest.mark.parametrize("ip", [None, 1, ["10.0.0.1"]])
def test_an_odd_address_is_not_known(ip: object) -> None:
    assert question_from({**GOOD, "source": {"spiffe": WEB, "ip": ip}}).ip == ""


def test_other_rules_than_the_promoted_ones_may_be_asked(client: Api) -> None:
    answer = client.post("/v1/explain?at=head&logged=default/r%23abc", json={"input": GOOD}).json()
    assert (answer["judged"], answer["logged_now"]) == ("head", "default/r#abc")
    assert answer["live"] == {"allow": 3, "of": 12, "unknown": 0}
    assert client.post("/v1/explain", json={"input": GOOD}).json()["live"] is None
    assert client.post(ALLOW + "?at=head", json={"input": GOOD}).json()["live"] == answer["live"]


@pytest.mark.parametrize("path", [ALLOW, "/v1/explain"])
def test_what_is_not_there_to_ask_is_a_bad_request_with_a_hint(path: str, client: Api) -> None:
    answer = client.post(f"{path}?at=node:x", json={"input": GOOD})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert answer.json()["hint"] == "did you mean another?"


@pytest.mark.parametrize("when", ["now", "2027-01-01T00:00:00", "2027-13-01T00:00:00Z"])
def test_an_instant_needs_a_zone(when: str, client: Api) -> None:
    answer = client.post("/v1/explain", params={"when": when}, json={"input": GOOD})
    assert (answer.status_code, answer.json()["message"]) == (400, "`when` is not an instant with its zone")
    assert (
        client.post("/v1/explain", params={"when": "2027-01-01T00:00:00Z"}, json={"input": GOOD}).status_code == 200
    )


def test_the_api_does_not_listen_beyond_loopback() -> None:
    app = application(OneController(), OneRule(), OneFloor(), ControllerMetrics())
    for address in ("0.0.0.0:8181", "192.0.2.1:8181"):
        with pytest.raises(UsageError, match="cannot listen"):
            server(app, address)


async def test_opas_own_client_takes_it_for_an_opa() -> None:
    web = server(application(OneController(), OneRule(), OneFloor(), ControllerMetrics()), "127.0.0.1:0")
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    serving = asyncio.create_task(web.serve([listening]))
    try:
        async with AsyncOpaClient(host="127.0.0.1", port=port) as opa:
            assert await opa.query_rule(GOOD, "policyd.authz", "allow") == {"result": True}
            assert await opa.query_rule({**GOOD, "method": "PUT"}, "policyd.authz", "allow") == {"result": False}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as plain:
            assert (await plain.get("/healthz")).json() == {"ok": True}
    finally:
        web.should_exit = True
        await serving
