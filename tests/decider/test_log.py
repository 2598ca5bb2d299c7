"""The decision log: OPA's events, without what must not be in them, written or counted and never waited for."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import resource
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from policyd.cli.main import build
from policyd.decider.masks import Masks, PointerError
from policyd.decider.sinks import FileSink
from tests.decider.meshes import READS, question, shop
from tests.decider.server import COMMIT, publish, serving, wait_for

CLAIMS = {"state": "valid", "claims": {"sub": "ada", "email": "ada@shop.example", "roles": ["a", "b"]}}


def test_an_event_is_what_opa_would_have_written(tmp_path: Path) -> None:
    publish(tmp_path, shop(READS))
    with serving(tmp_path, "--log", "decisions.log") as server:
        answer = server.ask("policyd/authz/allow", question())
        batch = server.client.post("/v1/batch/data/policyd/authz/allow", json={"inputs": {"a": question()}}).json()
        server.client.post("/v0/data/policyd/authz/allow", json=question())
        assert server.stop() == 0
        event, of_batch, of_v0 = server.log()
    assert event["decision_id"] == answer["decision_id"]
    assert event["bundles"] == {"mesh": {"revision": COMMIT}}
    assert (event["path"], event["input"], event["result"]) == ("policyd/authz/allow", question(), True)
    assert re.fullmatch(r"127\.0\.0\.1:\d+", event["requested_by"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", event["timestamp"])
    assert event["metrics"]["timer_server_handler_ns"] > 0
    assert event["labels"]["version"]
    assert event["type"] == "openpolicyagent.org/decision_logs"
    assert of_batch["batch_decision_id"] == batch["batch_decision_id"]
    assert of_batch["decision_id"] == batch["responses"]["a"]["decision_id"]
    assert of_v0["result"] is True


def test_an_odd_question_is_denied_by_the_name_of_its_field_and_written_down(tmp_path: Path) -> None:
    odd = {
        "`input` is not an object": 7,
        "`input.source.spiffe` is not a string": {},
        "`input.path` is not a string": {**question(), "path": None},
        "`input.host` is not a string": {**question(), "host": ["payments"]},
        "`input.destination.port` is not a port": {**question(), "destination": {"service": "payments", "port": "x"}},
    }
    publish(tmp_path, shop(READS))
    with serving(tmp_path, "--log", "decisions.log") as server:
        for words, asked in odd.items():
            assert server.ask("policyd/authz", asked)["result"]["reasons"] == [words]
        assert server.stop() == 0
    events = [event for event in server.log() if event["path"] == "policyd/authz"]
    assert [(event["input"], event["result"]["allow"]) for event in events] == [
        (each, False) for each in odd.values()
    ]


def test_what_could_not_be_written_down_is_not_answered(tmp_path: Path) -> None:
    deep = b"[" * 300 + b"]" * 300
    publish(tmp_path, shop(READS))
    with serving(tmp_path, "--log", "decisions.log") as server:
        asked = json.dumps({"input": question()}).encode()[:-2] + b',"x":' + deep + b"}}"
        for path, body in (
            ("/v1/data/policyd/authz/allow", asked),
            ("/v0/data/policyd/authz/allow", deep),
            ("/v1/batch/data/policyd/authz/allow", b'{"inputs": {"a": ' + deep + b"}}"),
        ):
            answer = server.client.post(path, content=body)
            assert (answer.status_code, "nested too deeply" in answer.text) == (400, True)
        many = {**question(), "x": [[]] * 500}
        assert server.ask("policyd/authz/allow", many)["result"] is True
        assert server.stop() == 0
    assert [event["input"] for event in server.log() if event["path"].endswith("allow")] == [many]


def test_what_is_masked_is_not_written_and_what_is_dropped_is_counted(tmp_path: Path) -> None:
    publish(tmp_path, shop(READS))
    log = {
        "to": ["decisions.log"],
        "mask": ["/input/jwt/claims/email", "/input/jwt/claims/roles/0", "/input/not/there"],
        "drop": [{"/result": False, "/input/method": "PUT"}],
    }
    with serving(tmp_path, settings={"log": log}) as server:
        for said in ("GET /v1/charges/7", "PUT /v1/charges/7"):
            server.ask("policyd/authz/allow", {**question(said), "jwt": CLAIMS})
        metrics = server.client.get("/metrics").text
        assert server.stop() == 0
    (event,) = (event for event in server.log() if event["path"] == "policyd/authz/allow")
    assert event["input"]["jwt"]["claims"] == {"sub": "ada", "roles": ["b"]}
    assert event["erased"] == ["/input/jwt/claims/email", "/input/jwt/claims/roles/0"]
    assert 'policyd_decision_log_dropped_total{worker="0"} 1' in metrics
    assert "ada@shop.example" not in (tmp_path / "decisions.log").read_text()


def test_masks_leave_what_they_are_given_as_it_is() -> None:
    event = {"input": {"jwt": CLAIMS}, "result": {"allow": True}}
    before = json.dumps(event)
    erased, places = Masks(["/input/jwt", "/result/allow"]).erased(event)
    assert (erased, places) == ({"input": {}, "result": {}}, ["/input/jwt", "/result/allow"])
    assert json.dumps(event) == before


@pytest.mark.parametrize("pointer", ["", "/", "input/jwt", "/labels/id", "//input"])
def test_what_is_no_pointer_into_an_event_is_refused(pointer: str) -> None:
    with pytest.raises(PointerError):
        Masks([pointer])


def test_a_full_disk_under_the_log_is_counted_and_answers_go_on(tmp_path: Path) -> None:
    publish(tmp_path, shop(READS))
    with serving(tmp_path, "--log", "/dev/full", "--log", "decisions.log") as server:
        for _ in range(20):
            assert server.ask("policyd/authz/allow", question())["result"] is True

        def lost() -> int:
            found = re.search(r"log_lost_total\{.*\} (\d+)", server.client.get("/metrics").text)
            assert found is not None
            return int(found[1])

        wait_for(lambda: lost() >= 20)
        wait_for(lambda: "the decision log cannot be written" in server.said.read_text())
        assert server.ask("policyd/authz/allow", question())["result"] is True
        assert server.stop() == 0
    assert len([event for event in server.log() if event["path"] == "policyd/authz/allow"]) == 21


@contextlib.contextmanager
def small_disk(folder: Path, *, kibibytes: int) -> Iterator[Path]:
    """A file system of so much; a test that may not mount one is skipped."""
    disk = folder / "disk"
    disk.mkdir()
    size = f"size={kibibytes}k"
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "none", disk], capture_output=True, check=False
    ).returncode:
        pytest.skip("only root may mount a disk that is small; /dev/full is its sibling")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_disk_that_fills_up_and_has_room_again_is_written_on_and_what_was_lost_is_counted(tmp_path: Path) -> None:
    publish(tmp_path, shop(READS))
    with small_disk(tmp_path, kibibytes=64) as disk:
        (disk / "other").write_bytes(b"x" * 48 * 1024)
        with serving(tmp_path, "--log", "disk/decisions.log") as server:
            asked: list[str] = []

            def said(words: str) -> bool:
                asked.append(server.ask("policyd/authz/allow", question())["decision_id"])
                return words in server.said.read_text()

            wait_for(lambda: said("the decision log cannot be written"))
            full = len(asked)
            (disk / "other").unlink()
            wait_for(lambda: said("the decision log is written again"))
            assert server.stop() == 0
        last = re.search(r"decisions are not in the log\W.*lost=\W*(?:\x1b\[\d+m)*(\d+)", server.said.read_text())
        lines = (disk / "decisions.log").read_bytes().split(b"\n")
    assert last is not None
    ends = b'"msg":"Decision Log"}'
    whole = [json.loads(line)["decision_id"] for line in lines if line.endswith(ends)]
    assert len([line for line in lines if line and not line.endswith(ends)]) <= 1, "where the disk was full"
    assert len(asked) - len(set(asked) & set(whole)) <= int(last[1]) < full
    assert asked[-1] in whole
    assert any(each in whole for each in asked[:full])


def test_a_line_that_a_full_disk_has_cut_off_spoils_no_other(tmp_path: Path) -> None:
    sink = FileSink(str(tmp_path / "log"))
    sink.write([b'{"a":1}'])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))  # as a disk that is full in the middle of a batch
    try:
        with pytest.raises(OSError, match="File too large"):
            sink.write([b'{"b":2}', b'{"c":3}'])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    sink.write([b'{"d":4}'])
    lines = (tmp_path / "log").read_bytes().split(b"\n")
    assert lines == [b'{"a":1}', b'{"b":2}', b'{"c"', b'{"d":4}', b""]


class Received(BaseHTTPRequestHandler):
    """A log service of OPA's kind that is out of order at first."""

    events: list[dict[str, Any]]
    failures = 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        cls = type(self)
        ok = not cls.failures
        cls.failures = max(0, cls.failures - 1)
        if ok:
            assert self.headers["Content-Encoding"] == "gzip"
            assert self.headers["Authorization"] == "Bearer a-token"
            cls.events += json.loads(gzip.decompress(body))
        self.send_response(200 if ok else 503)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_events_are_posted_as_opa_posts_them_and_again_after_a_failure(tmp_path: Path) -> None:
    Received.events, Received.failures = [], 1
    publish(tmp_path, shop(READS))
    with ThreadingHTTPServer(("127.0.0.1", 0), Received) as service:
        thread = threading.Thread(target=service.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{service.server_port}/logs"
        log = {"to": [url], "hosts": ["127.0.0.1"], "token": "a-token"}
        try:
            with serving(tmp_path, settings={"log": log}) as server:
                asked = [server.ask("policyd/authz/allow", question())["decision_id"] for _ in range(50)]
                assert server.stop() == 0
        finally:
            service.shutdown()
            thread.join()
    assert set(asked) <= {event["decision_id"] for event in Received.events}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"log": {"to": ["https://logs.example/x"]}}, "decisions may not be sent to `logs.example`"),
        ({"log": {"to": ["https:///x"]}}, "decisions cannot be sent to `https:///x`"),
        ({"log": {"to": ["http://[::1"]}}, "decisions cannot be sent to `http://[::1`"),
        ({"log": {"mask": ["input/jwt"]}}, "`input/jwt` is not a JSON pointer"),
        ({"log": {"masks": []}}, "masks"),
        ({"log": {"waiting_bytes": 1000}}, "waiting_bytes"),
        ({"listen": "0.0.0.0:8182"}, "without authentication"),
        ({"opa": "localhost"}, "`localhost` is not the address of an OPA"),
    ],
)
def test_settings_that_cannot_be_followed_are_said_before_anything_starts(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    (tmp_path / "decide.yaml").write_text(json.dumps(settings))
    asked = ["decide", "--bundle", "mesh.tar.gz", "--key", "key.pem", "--settings", str(tmp_path / "decide.yaml")]
    done = CliRunner().invoke(build("decide"), asked, catch_exceptions=False)
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())
