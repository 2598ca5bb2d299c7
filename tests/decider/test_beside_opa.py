"""A decision server and a real OPA, asked the same: equal status and body, but for what only one of them knows."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.decider.meshes import READS, question, shop
from tests.decider.opa import opa_server
from tests.decider.server import publish, serving

ALLOWS = """\
package policyd.authz

default allow := false

allow if {
	input.method == "GET"
	input.path == "/v1/charges/7"
	input.source.spiffe == "spiffe://test.example/ns/default/svc/web"
	input.destination.service == "payments"
}
"""


class Both(NamedTuple):
    ours: httpx.Client
    opa: httpx.Client


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, opa_binary: Path) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("beside")
    (folder / "authz.rego").write_text(ALLOWS)
    publish(folder, shop(READS))
    logged = ("--set", "decision_logs.console=true", str(folder / "authz.rego"))
    with serving(folder, "--log", "decisions.log") as server, opa_server(opa_binary, folder, *logged) as opa:
        yield Both(server.client, opa)


_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def _comparable(response: httpx.Response) -> Any:
    """Status, kind and body; ids, durations and what the parser of each says in its own words left out."""
    kind = response.headers.get("Content-Type", "")
    if kind != "application/json":
        return response.status_code, kind, response.text
    body = response.json()
    if isinstance(body, dict):
        if "decision_id" in body:
            assert _ID.fullmatch(body["decision_id"])
            body["decision_id"] = "an id"
        if "message" in body:
            body["message"] = re.sub(r"(malformed input document: ).*", r"\1...", body["message"])
        if "metrics" in body:
            body["metrics"] = {"timer_server_handler_ns": type(body["metrics"]["timer_server_handler_ns"])}
        body.pop("explanation", None)
    layout = response.text.startswith("{\n  ")
    return response.status_code, kind, list(body) if isinstance(body, dict) else body, body, layout


ALLOW = "/v1/data/policyd/authz/allow"
V0 = "/v0/data/policyd/authz/allow"
INPUT = '{"source":{"spiffe":"spiffe://test.example/ns/default/svc/web"},"destination":{"service":"payments"},'
INPUT += '"method":"GET","path":"/v1/charges/7"}'


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", ALLOW, {"input": question()}),
        ("POST", ALLOW, {"input": question("PUT /v1/charges/7")}),
        ("POST", ALLOW, {"input": {}}),
        ("POST", ALLOW, {"input": None}),
        ("POST", ALLOW, {"input": 7}),
        ("POST", ALLOW, {"input": [], "more": 1}),
        ("POST", ALLOW, {}),
        ("POST", ALLOW, b""),
        ("POST", ALLOW, b"   "),
        ("POST", ALLOW, b"null"),
        ("POST", ALLOW, b'{"input":'),
        ("POST", ALLOW, b"[1]"),
        ("POST", ALLOW, b"nope"),
        ("POST", ALLOW, b'"text"'),
        ("POST", ALLOW, b'{"input": {"a": "\xff"'),
        ("POST", ALLOW + "?metrics", {"input": question()}),
        ("POST", ALLOW + "?metrics=true&pretty=true", {"input": question()}),
        ("POST", ALLOW + "?metrics=false&pretty=0", {"input": question()}),
        ("POST", ALLOW + "?unheard=of", {"input": question()}),
        ("GET", ALLOW, b""),
        ("GET", ALLOW + "?pretty", b""),
        ("GET", ALLOW + "?input=" + INPUT, b""),
        ("GET", ALLOW + "?input=nope", b""),
        ("GET", ALLOW + "?input=", b""),
        ("POST", "/v1/data/none", {"input": {}}),
        ("POST", "/v1/data/none/there?pretty", {"input": {}}),
        ("GET", "/v1/data/none", b""),
        ("POST", V0, question()),
        ("POST", V0, question("PUT /v1/charges/7")),
        ("POST", V0 + "?pretty", question()),
        ("POST", V0, b""),
        ("POST", V0, b"nope"),
        ("POST", "/v0/data/none", question()),
        ("POST", "/v0/data/none/there", question()),
        ("GET", V0, b""),
        ("PUT", V0, b"{}"),
        ("OPTIONS", ALLOW, b""),
        ("TRACE", ALLOW, b""),
        ("GET", "/health", b""),
        ("GET", "/health?bundles", b""),
        ("GET", "/nothing", b""),
        ("POST", "/v1/nothing", b"{}"),
        ("GET", "/v1", b""),
    ],
)
def test_both_answer_alike(both: Both, method: str, target: str, body: Any) -> None:
    said: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body}
    ours = both.ours.request(method, target, **said)
    assert _comparable(ours) == _comparable(both.opa.request(method, target, **said))


def test_a_packed_question_is_read(both: Both) -> None:
    body = gzip.compress(b'{"input":' + INPUT.encode() + b"}")
    for client in both:
        answer = client.post(ALLOW, content=body, headers={"Content-Encoding": "gzip"})
        assert answer.json()["result"] is True
