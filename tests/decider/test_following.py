"""Following the bundle: another one takes over between two requests, and what is not signed changes nothing."""

from __future__ import annotations

import io
import itertools
import os
import signal
import socket
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from policyd.decisions.bundle import pack, provenance_document
from policyd.decisions.document import document
from policyd.decisions.signature import Signer
from policyd.identity.authority import key_pem
from policyd.model.mesh import Mesh
from policyd.testing import build
from tests.decider.meshes import READS, WRITES, question, shop
from tests.decider.server import SIGNER, Server, publish, serving, wait_for


def revision(number: int) -> str:
    return f"{number:040x}"


@dataclass
class Followed:
    """A server that many tests publish to: each begins with a bundle of its own, which ends what was before."""

    server: Server
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    told: int = 0
    """How long its words were before the last bundle."""

    @property
    def folder(self) -> Path:
        return self.server.folder

    @property
    def said(self) -> str:
        """What it has said since the last bundle that it was given whole."""
        return self.server.said.read_text()[self.told :]

    def publish(self, mesh: Mesh) -> str:
        """Return the revision of another bundle once it is answered from."""
        self.told = len(self.server.said.read_text())
        number = revision(next(self.numbers))
        publish(self.folder, mesh, number)
        wait_for(lambda: self.server.ready(number))
        return number


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    folder = tmp_path_factory.mktemp("followed")
    publish(folder, shop(), revision(0))
    with serving(folder) as server:
        yield Followed(server)


class Asking(threading.Thread):
    """A client that asks over one connection without a pause, and keeps every answer."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        self._over = threading.Event()
        self.answers: list[dict[str, Any]] = []
        self.lost: list[Exception] = []
        self.said_last: str = ""
        """`Connection` of the last answer."""
        self.start()

    def run(self) -> None:
        with httpx.Client(base_url=self._server.client.base_url, trust_env=False, timeout=30) as client:
            while not self._over.is_set():
                try:
                    answer = client.post("/v1/data/policyd/authz", json={"input": question("POST /v1/charges")})
                except httpx.ConnectError:
                    return  # nobody listens any more, and nothing was asked
                except httpx.TransportError as error:
                    self.lost.append(error)
                    return
                self.answers.append(answer.json()["result"])
                self.said_last = answer.headers.get("connection", "")

    @property
    def last(self) -> str:
        """The revision of the last answer."""
        return str(self.answers[-1]["commit"]) if self.answers else ""

    def wait_for(self, sought: str) -> None:
        """Return once answers are of that revision."""
        wait_for(lambda: self.last == sought)

    def end(self) -> None:
        self._over.set()
        self.join()
        assert not self.lost


def test_a_new_revision_takes_over_under_load_and_every_answer_is_that_of_its_revision(tmp_path: Path) -> None:
    even, odd = shop(READS), shop(READS, WRITES)
    publish(tmp_path, even, revision(0))
    with serving(tmp_path, "--workers", "2") as server:
        asking = [Asking(server) for _ in range(4)]
        for number in range(8):
            publish(tmp_path, odd if number % 2 else even, revision(number))
            for each in asking:
                each.wait_for(revision(number))
        for each in asking:
            each.end()
    answers = [answer for each in asking for answer in each.answers]
    assert {answer["commit"] for answer in answers} == {revision(number) for number in range(8)}
    for answer in answers:
        assert answer["allow"] is (int(answer["commit"], 16) % 2 == 1)


def test_services_come_and_go(followed: Followed) -> None:
    followed.publish(shop(READS))
    assert followed.server.ask("policyd/authz/allow", question())["result"] is True
    followed.publish(build.mesh([build.service("web", {"v1": ["10.0.0.1"]})]))
    reasons = followed.server.ask("policyd/authz", question())["result"]["reasons"]
    assert reasons == ["there is no service `payments`"]
    followed.publish(shop(READS))
    assert followed.server.ask("policyd/authz/allow", question())["result"] is True


@pytest.mark.parametrize("wrong", ["another key", "not a bundle", "an unknown field", "nothing"])
def test_what_is_not_signed_or_not_understood_changes_nothing(followed: Followed, wrong: str) -> None:
    before = followed.publish(shop(READS))
    folder, server = followed.folder, followed.server
    target = folder / "mesh.tar.gz"
    said = document(shop(READS, WRITES))
    key: Signer = SIGNER
    if wrong == "another key":
        key = Signer(key_pem(ec.generate_private_key(ec.SECP256R1())))
    if wrong == "an unknown field":
        said["services"]["default/payments"]["rules"][0]["only_on"] = "mondays"
    body = pack(said, provenance_document(revision(1_000), {}), {}, key).body
    if wrong == "nothing":
        target.unlink()
    else:
        (folder / "next").write_bytes(body[:50] if wrong == "not a bundle" else body)
        (folder / "next").rename(target)
    wait_for(lambda: "bundle not taken" in followed.said)
    assert server.ask("policyd/authz/commit", question())["result"] == before
    assert server.ask("policyd/authz/allow", question("POST /v1/charges"))["result"] is False
    followed.publish(shop(READS, WRITES))
    assert server.ask("policyd/authz/allow", question("POST /v1/charges"))["result"] is True


def test_an_older_bundle_that_comes_back_opens_nothing_that_had_ended(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    short = build.rule("short", ["web"], "GET /v1/charges/{id}", expires=now + timedelta(hours=1))
    publish(tmp_path, shop(short), revision(0))
    with serving(tmp_path) as server:
        assert server.ask("policyd/authz/allow", question())["result"] is True
        publish(tmp_path, shop(), revision(1), floor=now + timedelta(hours=2))
        wait_for(lambda: server.ready(revision(1)))
        publish(tmp_path, shop(short), revision(2))
        wait_for(lambda: server.ready(revision(2)))
        assert server.ask("policyd/authz/allow", question())["result"] is False


def test_an_older_bundle_that_comes_back_lets_nobody_in_who_was_cut_off(tmp_path: Path) -> None:
    open_, closed = shop(READS), shop()
    publish(tmp_path, open_, revision(0), serial=7)
    with serving(tmp_path) as server:
        assert server.ask("policyd/authz/allow", question())["result"] is True
        publish(tmp_path, closed, revision(1), serial=8)
        wait_for(lambda: server.ready(revision(1)))
        publish(tmp_path, open_, revision(0), serial=7)
        wait_for(lambda: "bundle 7 is older than 8" in server.said.read_text())
        publish(tmp_path, open_, revision(0))
        wait_for(lambda: "bundle 0 is older than 8" in server.said.read_text())
        assert server.ask("policyd/authz/commit", question())["result"] == revision(1)
        assert server.ask("policyd/authz/allow", question())["result"] is False
        publish(tmp_path, open_, revision(2), serial=9)
        wait_for(lambda: server.ready(revision(2)))
        assert server.ask("policyd/authz/allow", question())["result"] is True


@pytest.mark.parametrize("wrong", [b"{", b"[" * 500 + b"]" * 500])
def test_a_bundle_whose_files_cannot_be_read_ends_nobody(followed: Followed, wrong: bytes) -> None:
    followed.publish(shop(READS))
    folder, server = followed.folder, followed.server
    out = io.BytesIO()
    with (
        tarfile.open(folder / "mesh.tar.gz", mode="r:gz") as signed,
        tarfile.open(fileobj=out, mode="w:gz") as archive,
    ):
        for entry in signed:
            content = wrong if entry.name == "data.json" else signed.extractfile(entry).read()  # type: ignore[union-attr]
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    (folder / "next").write_bytes(out.getvalue())
    (folder / "next").rename(folder / "mesh.tar.gz")
    wait_for(lambda: "`data.json` is not what was signed" in followed.said)
    assert server.ask("policyd/authz/allow", question())["result"] is True
    followed.publish(shop())
    assert server.ask("policyd/authz/allow", question())["result"] is False


def test_a_bundle_that_was_damaged_on_its_way_is_fetched_again(tmp_path: Path) -> None:
    publish(tmp_path, shop(READS), revision(0))
    good = (tmp_path / "mesh.tar.gz").read_bytes()
    asked: list[str | None] = []

    class Once(BaseHTTPRequestHandler):
        """Answers with a name for what it does not send whole, the first time."""

        def do_GET(self) -> None:
            asked.append(self.headers.get("If-None-Match"))
            known = asked[-1] == '"name"'
            body = b"" if known else good[:100] if len(asked) == 1 else good
            self.send_response(304 if known else 200)
            self.send_header("ETag", '"name"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Once) as there:
        threading.Thread(target=there.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{there.server_port}/mesh.tar.gz"
        with serving(tmp_path, settings={"poll_s": 0.1}, source=url) as server:
            assert server.ask("policyd/authz/commit", question())["result"] == revision(0)
            wait_for(lambda: len(asked) > 2)
        there.shutdown()
    assert asked[:2] == [None, None]
    assert asked[2] == '"name"'


def test_a_worker_that_dies_is_started_again_and_loaded(tmp_path: Path) -> None:
    publish(tmp_path, shop(READS), revision(0))
    with serving(tmp_path, "--workers", "2") as server:
        wait_for(lambda: "decisions at" in server.said.read_text())
        before = server.workers()
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda: len(set(server.workers()) - set(before)) == 1)
        wait_for(lambda: server.said.read_text().count("worker ended") == 1)
        server.client.close()
        found = httpx.Client(base_url=server.client.base_url, trust_env=False)
        with found:
            answer = found.post("/v1/data/policyd/authz/allow", json={"input": question()})
        assert answer.json()["result"] is True


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    publish(tmp_path, shop(READS), revision(0))
    with serving(tmp_path, "--workers", "2") as server:
        workers = server.workers()
        server.process.kill()
        wait_for(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers))


def test_the_end_under_load_loses_no_answer(tmp_path: Path) -> None:
    publish(tmp_path, shop(READS), revision(0))
    with serving(tmp_path, "--workers", "2", "--log", "decisions.log") as server:
        asking = [Asking(server) for _ in range(8)]
        wait_for(lambda: all(len(each.answers) > 20 for each in asking))
        assert server.stop() == 0
        for each in asking:
            each.end()
        assert {each.said_last for each in asking} == {"close"}
        answered = sum(len(each.answers) for each in asking)
        assert len([event for event in server.log() if event["path"] == "policyd/authz"]) == answered


def test_a_port_that_is_taken_is_said_with_the_address(tmp_path: Path) -> None:
    publish(tmp_path, shop(READS), revision(0))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving(tmp_path, "--listen", f"127.0.0.1:{port}", ready=False) as server:
            assert server.process.wait(60) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in server.said.read_text()
