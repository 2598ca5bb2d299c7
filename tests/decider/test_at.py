"""Other rules than the promoted ones are asked for at the controller, and answers say while proxies differ."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from policyd.api.app import application
from policyd.api.app import server as api_server
from policyd.api.credentials import Auth, Gatekeeper, Token
from policyd.api.metrics import ControllerMetrics
from policyd.decider.live import live_of
from policyd.demo.world import free_port
from tests.api.conftest import OneController, OneFloor, OneRule
from tests.decider.meshes import READS, question, shop
from tests.decider.server import publish, serving, wait_for

AUTHZ = "/v1/data/policyd/authz"


def _token(name: str) -> Token:
    return Token(name=name, sha256=hashlib.sha256(name.encode()).hexdigest(), roles=("decide",))


@contextlib.contextmanager
def management(keeper: Gatekeeper | None = None) -> Iterator[str]:
    """The HTTP API of a controller, really served: its URL."""
    address = f"127.0.0.1:{free_port()}"
    app = application(OneController(), OneRule(), OneFloor(), ControllerMetrics(), keeper=keeper)
    api = api_server(app, address)
    thread = threading.Thread(target=lambda: asyncio.run(api.serve()))
    thread.start()
    try:
        wait_for(lambda: api.started)
        yield f"http://{address}"
    finally:
        api.should_exit = True
        thread.join()


def test_other_rules_are_asked_of_the_controller_and_answers_say_while_proxies_differ(tmp_path: Path) -> None:
    publish(tmp_path, shop(READS))
    asked = {"input": question("GET /v1/items", service="checkout")}
    with management() as url, serving(tmp_path, "--controller", url) as server:
        answer = server.client.post(f"{AUTHZ}/allow?at=head", json=asked).json()
        assert answer["live"] == {"allow": 3, "of": 12, "unknown": 0}
        packed = gzip.compress(json.dumps(asked).encode())
        headers = {"Content-Encoding": "gzip"}
        assert server.client.post(f"{AUTHZ}/allow?at=head", content=packed, headers=headers).json() == answer
        nowhere = server.client.post(f"{AUTHZ}?at=node:x", json=asked)
        assert (nowhere.status_code, nowhere.json()["hint"]) == (400, "did you mean another?")
        for path in ("/v0/data/policyd/authz", "/v1/batch/data/policyd/authz"):
            refused = server.client.post(f"{path}?at=head", json=asked)
            assert (refused.status_code, refused.json()["message"]) == (400, "`?at=` is asked at `/v1/data`")
        own = server.client.post(f"{AUTHZ}/commit?at=promoted", json=asked).json()
        assert own["result"] == server.ask("policyd/authz/commit", asked["input"])["result"]

        differs = {"differ": 3, "of": 12}
        wait_for(lambda: server.ask("policyd/authz/allow", asked["input"]).get("live") == differs)
        inputs = {"inputs": {"a": asked["input"], "b": question()}}
        responses = server.client.post("/v1/batch/data/policyd/authz/allow", json=inputs).json()["responses"]
        assert (responses["a"]["live"], "live" in responses["b"]) == (differs, False)
        assert server.ask("policyd/authz/allow", question()) == {"result": True}
    # The controller is gone: what it said of proxies is not known any more, and other rules are nobody's to tell.
    with serving(tmp_path, "--controller", url) as server:
        gone = server.client.post(f"{AUTHZ}?at=head", json=asked)
        assert (gone.status_code, gone.json()["code"]) == (502, "internal_error")
        assert "live" not in server.ask("policyd/authz/allow", asked["input"])


def test_who_asks_is_told_to_the_controller(tmp_path: Path) -> None:
    publish(tmp_path, shop(READS))
    tokens = {"tokens": [_token(name).model_dump(mode="json") for name in ("known", "stranger")]}
    with management(Gatekeeper(Auth(tokens=(_token("known"), _token("follower"))))) as url:
        settings = {"auth": tokens, "controller": url, "token": "follower"}
        with serving(tmp_path, settings=settings, ready=False) as server:
            wait_for(lambda: server.process.poll() is None and "decisions at" in server.said.read_text())

            def status(token: str) -> int:
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                asked = {"input": question()}
                return server.client.post(f"{AUTHZ}?at=head", json=asked, headers=headers).status_code

            # `follower` is the server's own token: whoever asks shows his, or none.
            assert [status(name) for name in ("known", "stranger", "follower", "")] == [200, 401, 401, 401]


def test_where_no_controller_is_known_it_is_said_where_to_ask(tmp_path: Path) -> None:
    publish(tmp_path, shop(READS))
    with serving(tmp_path) as server:
        for method in ("GET", "POST"):
            refused = server.client.request(method, f"{AUTHZ}?at=head")
            assert (refused.status_code, refused.json()["code"]) == (400, "invalid_parameter")
            assert "--controller URL" in refused.json()["message"]


@pytest.mark.parametrize(
    "asked",
    [None, 7, [], {}, {"destination": None}, {"destination": {"service": 7}}, {"destination": {"service": "none"}}],
)
def test_what_asks_about_nothing_has_no_proxies(asked: object) -> None:
    assert live_of({"default/checkout": {"differ": 1, "of": 2}}, asked) is None


def test_a_service_is_found_by_its_short_name() -> None:
    said = {"default/checkout": {"differ": 1, "of": 2}}
    assert live_of(said, {"destination": {"service": "checkout"}}) == said["default/checkout"]
