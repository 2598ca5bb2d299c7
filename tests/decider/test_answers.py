"""What a decision server answers, to OPA's own clients among others."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opa_client.opa import OpaClient

from tests.decider.meshes import READS, SAID, WRITES, question, shop
from tests.decider.server import COMMIT, Server, publish, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("decide")
    publish(folder, shop(READS, WRITES), said=SAID)
    with serving(folder) as found:
        yield found


def test_the_client_that_people_have_for_opa_just_works(server: Server) -> None:
    client = OpaClient(host="127.0.0.1", port=server.port)
    assert client.check_health(query={"bundles": True})
    allowed = client.query_rule(input_data=question(), package_path="policyd.authz", rule_name="allow")
    denied = client.query_rule(
        input_data=question("PUT /v1/charges/7"), package_path="policyd.authz", rule_name="allow"
    )
    assert (allowed, denied) == ({"result": True}, {"result": False})
    whole = client.query_rule(input_data=question(), package_path="policyd.authz")["result"]
    assert whole["rule"] == "default/reads"


def test_the_whole_answer_says_rule_place_owner_and_commit(server: Server) -> None:
    assert server.ask("policyd/authz", question())["result"] == {
        "allow": True,
        "outcome": "allow",
        "rule": "default/reads",
        "status": 200,
        "reason": "allowed",
        "would": "",
        "reasons": ["rule `reads` allows `web` to `GET /v1/charges/7` on `payments`"],
        "place": "services/payments.yaml:14:1",
        "owner": "team-pay",
        "commit": COMMIT,
    }


@pytest.mark.parametrize(
    ("asked", "outcome", "status"),
    [
        (question(), "allow", 200),
        (question("PUT /v1/charges/7"), "deny", 403),
        (question("GET /v1//charges"), "reject", 400),
        (question("TRACE /v1/charges/7"), "reject", 400),
        (question(service="nobody"), "deny", 403),
        ({}, "deny", 403),
        (None, "deny", 403),
        (7, "deny", 403),
        ([question()], "deny", 403),
        ({**question(), "source": {"spiffe": True}}, "deny", 403),
        ({**question(), "path": None}, "deny", 403),
        ({**question(), "host": ["payments"]}, "deny", 403),
    ],
)
def test_every_document_agrees_with_the_whole(server: Server, asked: Any, outcome: str, status: int) -> None:
    whole = server.ask("policyd/authz", asked)["result"]
    assert (whole["outcome"], whole["status"], whole["allow"]) == (outcome, status, outcome == "allow")
    for part, value in whole.items():
        assert server.ask(f"policyd/authz/{part}", asked)["result"] == value
    assert server.ask("policyd", asked)["result"] == {"authz": whole}
    assert server.ask("", asked)["result"] == {"policyd": {"authz": whole}}
    batch = server.client.post("/v1/batch/data/policyd/authz", json={"inputs": {"a": asked, "b": question()}}).json()
    assert batch["responses"]["a"]["result"] == whole
    assert batch["responses"]["b"]["result"]["allow"] is True


def test_the_inputs_of_a_batch_are_laid_over_what_they_have_in_common(server: Server) -> None:
    common = question()
    inputs = {"as it is": {}, "another method": {"method": "PUT"}, "deeper": {"source": {"spiffe": "spiffe://x"}}}
    asked = {"inputs": inputs, "common_input": common}
    answers = server.client.post("/v1/batch/data/policyd/authz/allow", json=asked).json()["responses"]
    assert {key: answer["result"] for key, answer in answers.items()} == {
        "as it is": True,
        "another method": False,
        "deeper": False,
    }


def test_a_batch_is_bounded(server: Server) -> None:
    inputs: dict[str, Any] = {str(number): {} for number in range(1001)}
    assert server.client.post("/v1/batch/data/policyd/authz", json={"inputs": inputs}).status_code == 400


def test_a_batch_is_bounded_by_what_its_inputs_come_to_with_what_they_have_in_common(server: Server) -> None:
    target, common = "/v1/batch/data/policyd/authz/allow", {**question(), "note": "x" * 100_000}
    few: dict[str, Any] = {str(number): {} for number in range(10)}
    many: dict[str, Any] = {str(number): {} for number in range(200)}
    taken = server.client.post(target, json={"inputs": few, "common_input": common})
    assert [answer["result"] for answer in taken.json()["responses"].values()] == [True] * 10
    refused = server.client.post(target, json={"inputs": many, "common_input": common})
    assert (refused.status_code, "too large for 200 inputs" in refused.text) == (400, True)


PACKED = gzip.compress(json.dumps({"input": question()}).encode())


@pytest.mark.parametrize(
    "body",
    [
        PACKED + b"more",
        PACKED + gzip.compress(b"") * 50_000,
        PACKED[:-4],
        gzip.compress(b" " * 100_000_000, 1),
        gzip.compress(b" " * 1_000_000, 1) * 2,
        b"{}",
        b"",
    ],
)
def test_a_packed_question_that_is_not_one_whole_is_refused(server: Server, body: bytes) -> None:
    target = "/v1/data/policyd/authz/allow"
    packed = {"Content-Encoding": "gzip"}
    answer = server.client.post(target, content=body, headers=packed)
    assert (answer.status_code, "malformed input document: gzip: " in answer.text) == (400, True)
    assert server.client.post(target, content=PACKED, headers=packed).json() == {"result": True}


@pytest.mark.parametrize(
    "path", ['policyd/authz/allow"]', "policyd[authz]", "policyd%2Fauthz", "%2E%2E/policyd", "policyd/authz/x"]
)
def test_a_path_that_is_not_in_the_table_is_undefined_whatever_is_in_it(server: Server, path: str) -> None:
    answer = server.client.post(f"/v1/data/{path}".replace('"', "%22"), json={"input": question()})
    assert (answer.status_code, answer.json()) == (200, {})


def test_what_else_can_be_asked_for(server: Server) -> None:
    target = "/v1/data/policyd/authz/allow?provenance&metrics=true&explain=notes&pretty"
    answer = server.client.post(target, json={"input": question()})
    assert answer.text.startswith('{\n  "')
    said = answer.json()
    assert said["provenance"]["bundles"] == {"mesh": {"revision": COMMIT}}
    assert said["metrics"]["timer_server_handler_ns"] > 0
    assert said["explanation"] == ["rule `reads` allows `web` to `GET /v1/charges/7` on `payments`"]


def test_nothing_is_defined_before_a_bundle_is_loaded(tmp_path: Path) -> None:
    with serving(tmp_path, ready=False) as server:
        while not server.said.read_text().count("decisions at"):
            assert server.process.poll() is None
        assert server.client.get("/health").status_code == 200
        assert server.client.get("/health?bundles").status_code == 500
        assert server.ask("policyd/authz/allow", question()) == {}
        assert server.client.post("/v0/data/policyd/authz/allow", json=question()).status_code == 404
