"""A log service that stays away: what waits is bounded, what is lost is counted, and what waited arrives once."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from policyd.decider.outlet import Outlet
from policyd.decider.upload import UploadSink
from policyd.demo.world import free_port
from tests.decider.meshes import READS, question, shop
from tests.decider.server import Server, publish, serving, wait_for


@dataclass
class LogService:
    """A log service of OPA's kind, while it runs; `statuses` are its next answers, 200 after those."""

    port: int
    statuses: list[int] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/logs"

    def ids(self) -> Counter[str]:
        return Counter(event["decision_id"] for event in self.received)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                service.asked += 1
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = service.statuses.pop(0) if service.statuses else 200
                if status == 200:
                    service.received += json.loads(gzip.decompress(body))
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", self.port), Handler) as server:
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()


def counted(server: Server, name: str) -> int:
    found = re.search(rf"policyd_decision_log_{name}\{{.*\}} (\d+)", server.client.get("/metrics").text)
    assert found is not None
    return int(found[1])


def test_a_service_that_comes_back_is_given_what_waited(tmp_path: Path) -> None:
    service = LogService(free_port())
    publish(tmp_path, shop(READS))
    with serving(tmp_path, settings={"log": {"to": [service.url], "hosts": ["127.0.0.1"]}}) as server:
        asked = [server.ask("policyd/authz/allow", question())["decision_id"] for _ in range(20)]
        wait_for(lambda: "the decision log cannot be written" in server.said.read_text())
        assert (counted(server, "lost_total"), counted(server, "waiting_bytes") > 0) == (0, True)
        service.statuses = [503]  # it is back, and not well yet
        with service.running():
            wait_for(lambda: set(asked) <= set(service.ids()))
            wait_for(lambda: counted(server, "waiting_bytes") == 0)
            wait_for(lambda: "the decision log is written again" in server.said.read_text())
            last = server.ask("policyd/authz/allow", question())["decision_id"]
            assert server.stop() == 0
        assert set(service.ids().values()) == {1}, "nothing arrives twice"
        assert last in service.ids()
    assert "decisions are not in the log" not in server.said.read_text()


def test_while_it_stays_away_what_waits_is_bounded_and_the_rest_is_counted_to_the_end(tmp_path: Path) -> None:
    service, bound = LogService(free_port()), 64 * 1024
    publish(tmp_path, shop(READS))
    log = {"to": [service.url, "decisions.log"], "hosts": ["127.0.0.1"], "waiting_bytes": bound}
    with serving(tmp_path, settings={"log": log}) as server:

        def overflown() -> bool:
            assert server.ask("policyd/authz/allow", question())["result"] is True
            return counted(server, "lost_total") > 50

        wait_for(overflown)
        assert 0 < counted(server, "waiting_bytes") <= bound
        assert server.stop() == 0, "it does not wait for who is away"
    lost = re.search(r"decisions are not in the log\W.*lost=\W*(?:\x1b\[\d+m)*(\d+)", server.said.read_text())
    assert lost is not None
    assert int(lost[1]) == len(server.log()), "every event is lost to the service, and in the other log"


def test_of_a_batch_that_does_not_fit_what_fits_is_kept() -> None:
    service = LogService(free_port(), [503])
    with service.running():
        outlet = Outlet(UploadSink(service.url), waiting_bytes=40, again_s=(3_600.0,))
        for first in (0, 3):
            batch = [b'{"decision_id":"%d"}' % number for number in range(first, first + 3)]
            outlet.put(batch, sum(map(len, batch)))
            wait_for(lambda: service.asked == 1)
        assert (outlet.lost, outlet.waiting) == (4, 38)
        outlet.close(10)
    assert (service.ids(), outlet.lost) == (Counter(["0", "1"]), 4)


def test_who_accepts_and_never_answers_holds_up_no_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        outlet = Outlet(UploadSink(f"http://127.0.0.1:{silent.getsockname()[1]}/logs"), waiting_bytes=1_000)
        outlet.put([b"{}", b"{}"], 4)
        outlet.put([b"{}"], 2)
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(4) == b"POST"
            outlet.close(0.05)
            assert outlet.lost == 3


def test_a_batch_that_is_not_wanted_holds_up_no_other() -> None:
    service = LogService(free_port(), [400, 429, 500, 302, 401, 200, 413])
    with service.running():
        outlet = Outlet(UploadSink(service.url), waiting_bytes=1_000, again_s=(0.0,))
        for number in range(4):
            outlet.put([b'{"decision_id":"%d"}' % number], 19)
        wait_for(lambda: service.asked == 8)
        outlet.close(10)
    assert (service.ids(), outlet.lost) == (Counter(["1", "3"]), 2)


def test_at_the_end_what_can_be_delivered_is() -> None:
    service = LogService(free_port(), [422, 413])
    with service.running():
        outlet = Outlet(UploadSink(service.url), waiting_bytes=1_000)
        for number in range(4):
            outlet.put([b'{"decision_id":"%d"}' % number], 19)
        outlet.close(10)
    assert (service.ids(), outlet.lost, service.asked) == (Counter(["2", "3"]), 2, 4)


def test_at_the_end_a_service_that_is_away_is_asked_once_more_and_no_other_batch_waits_for_it() -> None:
    service = LogService(free_port(), [503] * 9)
    with service.running():
        outlet = Outlet(UploadSink(service.url), waiting_bytes=1_000, again_s=(3_600.0,))
        for _ in range(3):
            outlet.put([b"{}"], 2)
        wait_for(lambda: service.asked == 1)
        outlet.close(10)
    assert (outlet.lost, service.asked) == (3, 2)
