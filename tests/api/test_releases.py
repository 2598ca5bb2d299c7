from __future__ import annotations

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from policyd.api.metrics import ControllerMetrics
from policyd.rollout.machine import Command
from tests.api.conftest import Api, OneController


def test_status_and_releases_are_plain_json(client: Api) -> None:
    status = client.get("/v1/status").json()
    assert (status["mesh"], status["nodes"][0]["connected"]) == ("shop", True)
    releases = client.get("/v1/releases").json()["releases"]
    assert (releases[0]["id"], releases[0]["phase"], releases[0]["evidence"]["canary_requests"]) == (
        "r7",
        "progressing",
        38,
    )
    assert client.get("/v1/releases/r7").json() == releases[0]
    assert client.get("/v1/releases/r8").json() == {"code": "not_found", "message": "no release `r8`"}


@pytest.mark.parametrize("verb", list(Command))
def test_a_person_steers_a_release(verb: Command, client: Api, controller: OneController) -> None:
    answer = client.post(f"/v1/releases/r7/{verb.value}")
    assert answer.json()["id"] == "r7"
    assert controller.commands == [("r7", verb)]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v1/releases/r8/abort", 404, "no release `r8`"),
        ("/v1/releases/r1/abort", 409, "release `r1` is over"),
        ("/v1/releases/r7/delete", 404, "`delete` is none of"),
    ],
)
def test_orders_that_cannot_be_followed(path: str, status: int, words: str, client: Api) -> None:
    answer = client.post(path)
    assert answer.status_code == status
    assert words in answer.json()["message"]


def test_a_refused_order_comes_with_its_hint(client: Api) -> None:
    assert client.post("/v1/releases/r1/pause").json() == {
        "code": "conflict",
        "message": "release `r1` is over",
        "hint": "a revert takes it back",
    }
    assert "hint" not in client.get("/v1/releases/r8").json()


def test_nothing_is_redirected(client: Api) -> None:
    answer = client.get("/v1/status/")
    assert (answer.status_code, answer.json()["message"]) == (404, "nothing at `/v1/status/`")


def test_no_web_page_steers_releases(client: Api, controller: OneController) -> None:
    answer = client.post("/v1/releases/r7/abort", headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403
    assert controller.commands == []


def test_unknown_paths_and_wrong_verbs_are_json(client: Api) -> None:
    answer = client.get("/v2/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    answer = client.get("/v1/releases/r7/abort")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert client.request("DELETE", "/v1/status").status_code == 405


def test_events_are_one_line_each(client: Api) -> None:
    lines = client.get("/v1/events").text.splitlines()
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert [event["kind"] for event in data] == ["stage", "aborted"]
    assert data[1]["text"] == "e-value 120\nabove 100"
    assert [line for line in lines if line.startswith("event: ")] == ["event: stage", "event: aborted"]


def test_health_and_readiness_differ(client: Api, controller: OneController) -> None:
    assert client.get("/readyz").json() == {"ready": True, "reason": ""}
    controller.why_not_ready = "no commit has been taken yet"
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "no commit has been taken yet")
    assert client.get("/healthz").status_code == 200


def test_metrics_are_prometheus_text(client: Api, controller: OneController, metrics: ControllerMetrics) -> None:
    metrics.commit_to_acknowledged.observe(0.04)
    metrics.commits.labels(result="taken").inc()
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    latency = {
        sample.labels["le"]: sample.value
        for sample in families["policyd_commit_to_acknowledged_seconds"].samples
        if sample.name.endswith("_bucket")
    }
    assert (latency["0.025"], latency["0.05"], latency["+Inf"]) == (0, 1, 1)
    assert families["policyd_commits"].samples[0].labels == {"result": "taken"}
    assert {"policyd_xds_nacks", "policyd_releases", "policyd_findings"} <= families.keys()
    assert controller.measured == 1


def test_two_controllers_do_not_share_metrics(metrics: ControllerMetrics) -> None:
    metrics.refusals.inc()
    assert b"policyd_xds_nacks_total 0.0" in ControllerMetrics().text()


def test_the_map_is_answered_whole_and_in_part(client: Api) -> None:
    whole = client.get("/v1/map").json()
    assert [(edge["caller"], edge["callee"]) for edge in whole["edges"]] == [
        ("default/web", "default/checkout"), ("default/web", "default/search"),
    ]  # fmt: skip
    assert len(client.get("/v1/map?unused").json()["edges"]) == 1
    assert client.get("/v1/map?service=checkout&denied").json()["denied"][0]["at_most"] == 3
    unknown = client.get("/v1/map?service=nobody")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
