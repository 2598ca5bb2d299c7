"""Decisions over HTTP: `policyd decide` beside `opa run --server`, one load generator, one machine, one run.

`python tests/bench/decisions.py [--json] [--rules 100 1000 10000] [--seconds S] [--rounds N]`

Both write their decision log to a file. OPA gets the fastest rules that we can write: data indexed by destination,
caller and method, literal paths and one-parameter patterns found by key. Requests vary; a quarter of them is denied.
Rounds alternate between the rivals, figures are medians, ratios
those of the rounds' own. `floor_p99_ms` is HAProxy with an answer that it makes up
itself, under the same load generator: what the machine takes for a round trip. For one connection the CPUs are kept
awake by spinners of the lowest priority, since waking up takes longer than deciding.

Memory: `rss_mb` is the process that answers (with two workers, both); `parent_rss_mb` is the one that compiles.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from policyd.demo.world import free_port
from policyd.model.mesh import Mesh
from policyd.testing import build
from tests.bench.load import Load, alternate, awake, medians, ratio, wrk
from tests.decider.opa import opa_server
from tests.decider.server import Server, publish, serving, wait_for

PER_SERVICE = 10
"""Rules of one destination, each for three callers."""
COMPARED = 400
OPA_RULES = """\
package policyd.authz

default allow := false

allow if data.index[input.destination.service][input.source.spiffe][input.method][input.path]

allow if {
	parts := split(input.path, "/")
	pattern := concat("/", array.concat(array.slice(parts, 0, count(parts) - 1), ["*"]))
	data.index[input.destination.service][input.source.spiffe][input.method][pattern]
}
"""
HAPROXY = """\
defaults
  mode http
  timeout client 60s
  timeout connect 5s
  timeout server 60s
frontend floor
  bind 127.0.0.1:{port}
  http-request return status 200 content-type application/json string '{{"result":true}}'
"""
LUA = """\
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local bodies, at = {}, 0
function init(args)
  wrk.headers["Host"] = wrk.host .. ":" .. wrk.port
  for line in io.lines("%(bodies)s") do bodies[#bodies + 1] = wrk.format("POST", "%(path)s", nil, line) end
end
request = function() at = at %% #bodies + 1; return bodies[at] end
"""
ALLOW, WHOLE = "/v1/data/policyd/authz/allow", "/v1/data/policyd/authz"


def identity(number: int) -> str:
    """The caller of that number."""
    return f"spiffe://test.example/ns/default/svc/s{number}"


def callers(service: int, rule: int, services: int) -> list[int]:
    """Whom a rule names."""
    return [(service * 7 + rule * 13 + step) % services for step in range(3)]


def mesh_of(rules: int) -> Mesh:
    """A mesh of so many rules."""
    services = rules // PER_SERVICE
    made = [build.service(f"s{number}", {"v1": [f"10.{number >> 8}.0.{number & 255}"]}) for number in range(services)]
    access = [
        build.access(
            f"s{number}",
            *(
                build.rule(
                    f"s{number}-{rule}",
                    [f"s{caller}" for caller in callers(number, rule, services)],
                    f"GET /v{rule}/items/{{id}}",
                    f"GET,POST /v{rule}/items",
                )
                for rule in range(PER_SERVICE)
            ),
        )
        for number in range(services)
    ]
    return build.mesh(made, access)


def index_for_opa(rules: int) -> dict[str, Any]:
    """The same rules as OPA finds them fastest."""
    services = rules // PER_SERVICE
    index: dict[str, Any] = {}
    for number in range(services):
        to = index.setdefault(f"s{number}", {})
        for rule in range(PER_SERVICE):
            for caller in callers(number, rule, services):
                methods = to.setdefault(identity(caller), {"GET": {}, "POST": {}})
                methods["GET"].update({f"/v{rule}/items/*": True, f"/v{rule}/items": True})
                methods["POST"][f"/v{rule}/items"] = True
    return index


def inputs(rules: int, count: int = 4000, seed: int = 7) -> list[dict[str, Any]]:
    """What is asked; of four, one by somebody who may not, or for what he may not."""
    draw, services = random.Random(seed), rules // PER_SERVICE
    found = []
    for number in range(count):
        service, rule = draw.randrange(services), draw.randrange(PER_SERVICE)
        method, path = draw.choice([("GET", f"/v{rule}/items/{draw.randrange(10**6)}"), ("POST", f"/v{rule}/items")])
        source = identity(draw.choice(callers(service, rule, services)))
        if number % 4 == 0:
            source, method = draw.choice([(identity(services + 5), method), (source, "DELETE")])
        found.append(
            {"source": {"spiffe": source}, "destination": {"service": f"s{service}"}, "method": method, "path": path}
        )
    return found


def rss_mb(*pids: int) -> float:
    """The resident memory of processes."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


@contextlib.contextmanager
def floor_server(folder: Path) -> Iterator[int]:
    """HAProxy that answers by itself; its port."""
    port = free_port()
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port))
    process = subprocess.Popen(["haproxy", "-f", str(folder / "haproxy.cfg")], stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(trust_env=False) as client:
            wait_for(lambda: _answers(client, port))
        yield port
    finally:
        process.kill()
        process.wait()


def _answers(client: httpx.Client, port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get(f"http://127.0.0.1:{port}").status_code == 200
    return False


@contextlib.contextmanager
def committing(folder: Path, mesh: Mesh) -> Iterator[None]:
    """Another commit every second, of which one service is another one."""
    over = threading.Event()

    def go_on() -> None:
        number = 0
        while not over.wait(1.0):
            number += 1
            changed = build.access("s0", build.rule("s0-new", [f"s{number % 9}"], f"GET /new/{number}"))
            access = {**mesh.access, changed.to: changed}
            publish(folder, build.mesh(mesh.services.values(), access.values()), f"{number:040x}")

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def compare(ours: httpx.Client, opa: httpx.Client, asked: list[dict[str, Any]]) -> None:
    """Raise `AssertionError` unless both answer alike."""
    for each in asked[:COMPARED]:
        answers = [client.post(ALLOW, json={"input": each}).json()["result"] for client in (ours, opa)]
        assert answers[0] == answers[1], (each, answers)


@dataclass(frozen=True)
class Rivals:
    """Everything that is asked."""

    ours: Server
    opa: httpx.Client
    opa_pid: int
    floor: int
    folder: Path
    mesh: Mesh

    def script(self, path: str) -> Path:
        """What wrk sends to a path."""
        script = self.folder / f"{path.rpartition('/')[2]}.lua"
        script.write_text(LUA % {"bodies": self.folder / "bodies.jsonl", "path": path})
        return script


def measured(rivals: Rivals, seconds: float, rounds: int) -> dict[str, float]:
    """All figures of one size and one number of workers."""
    allow, whole = rivals.script(ALLOW), rivals.script(WHOLE)
    opa, ours = rivals.opa.base_url.port or 0, rivals.ours.port

    def load(script: Path, port: int, connections: int) -> Load:
        return wrk(f"http://127.0.0.1:{port}", connections, seconds, "-s", str(script))

    loads = alternate(
        {
            "ours": lambda: load(allow, ours, 32),
            "opa": lambda: load(allow, opa, 32),
            "explained": lambda: load(whole, ours, 32),
        },
        rounds,
    )
    with awake():
        one = medians(
            alternate(
                {
                    "ours": lambda: load(allow, ours, 1),
                    "opa": lambda: load(allow, opa, 1),
                    "floor": lambda: load(allow, rivals.floor, 1),
                },
                rounds,
            )
        )
        with committing(rivals.ours.folder, rivals.mesh):
            moved = medians(alternate({"ours": lambda: load(allow, ours, 1)}, rounds))
    many = medians(loads)
    return {
        "rps": round(many["ours"].rps),
        "opa_rps": round(many["opa"].rps),
        "rps_ratio": ratio(loads["ours"], loads["opa"]),
        "explained_rps": round(many["explained"].rps),
        "explained_cost": ratio(loads["ours"], loads["explained"]),
        "p50_ms": one["ours"].p50_ms,
        "p99_ms": one["ours"].p99_ms,
        "opa_p50_ms": one["opa"].p50_ms,
        "opa_p99_ms": one["opa"].p99_ms,
        "floor_p99_ms": one["floor"].p99_ms,
        "p99_with_commits_ms": moved["ours"].p99_ms,
        "p99_32_ms": many["ours"].p99_ms,
        "opa_p99_32_ms": many["opa"].p99_ms,
        "rss_mb": rss_mb(*rivals.ours.workers()),
        "parent_rss_mb": rss_mb(rivals.ours.process.pid),
        "opa_rss_mb": rss_mb(rivals.opa_pid),
    }


def size(rules: int, workers: int, seconds: float, rounds: int, opa_binary: Path) -> dict[str, float]:
    """Start everything for one size, compare the answers, and measure."""
    mesh, asked = mesh_of(rules), inputs(rules)
    with tempfile.TemporaryDirectory(prefix="policyd-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        (folder / "bodies.jsonl").write_text("".join(json.dumps({"input": each}) + "\n" for each in asked))
        (folder / "opa").mkdir()
        (folder / "opa" / "authz.rego").write_text(OPA_RULES)
        (folder / "opa" / "data.json").write_text(json.dumps({"index": index_for_opa(rules)}))
        publish(folder, mesh)
        ours = stack.enter_context(serving(folder, "--workers", str(workers), "--log", "decisions.log"))
        logged = ("--set", "decision_logs.console=true", "--log-level", "error", str(folder / "opa"))
        opa = stack.enter_context(opa_server(opa_binary, folder, *logged))
        floor = stack.enter_context(floor_server(folder))
        compare(ours.client, opa, asked)
        rivals = Rivals(ours, opa, _child("opa"), floor, folder, mesh)
        return measured(rivals, seconds, rounds)


def _child(name: str) -> int:
    """The newest child of ours that runs a program of that name."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return max(int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == name)


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--rules", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--seconds", type=float, default=2.0, help="of one round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    wanted = parser.parse_args()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "policyd" / "bin" / "opa"
    opa = cache if cache.exists() else Path(shutil.which("opa") or "opa")
    sizes = []
    for rules in wanted.rules:
        found = {n: size(rules, n, wanted.seconds, wanted.rounds, opa) for n in wanted.workers}
        first, *more = found
        sizes.append({"rules": rules, **found[first], **{f"workers_{n}": found[n] for n in more}})
        if not wanted.json:
            for n, figures in found.items():
                print(f"{rules:,} rules, {n} worker{'s' if n > 1 else ''}")
                for key, value in figures.items():
                    print(f"  {key:22} {value:>12,}")
    if wanted.json:
        print(json.dumps({"sizes": sizes}))


if __name__ == "__main__":
    main()
