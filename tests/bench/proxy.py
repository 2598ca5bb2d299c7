"""A request through two sidecars: what policyd compiles, beside a minimal hand-written pair, beside no proxy at all.

`python tests/bench/proxy.py [--json] [--seconds S] [--rounds N]`

Every pair is two real Envoys with one worker each, one beside the caller (wrk), one beside the application (HAProxy
with an answer that it makes up itself). All pairs run at once and are asked in turn; figures are medians of rounds.

- *direct*: wrk asks the application.
- *plain*: two Envoys, hand-written: one route, one cluster, no TLS, nothing else.
- *minimal*: the same with mutual TLS between the two.
- *off*: what policyd compiles for two services and one rule that allows everything: mutual TLS, access rules,
  metrics and the access log cannot be switched off.
- *on*: 20 access rules with patterns (the one that allows comes last), time-outs, retries, a circuit breaker, outlier
  detection, health checks, and a split over two versions.

`added_*` are what two sidecars add to the call without a proxy, with one connection and the CPUs kept awake; rates
are those of 32 connections. `rps_ratio_to_minimal` is *off* beside *minimal* (what cannot be switched off: access
rules, mutual TLS, metrics, log), `on_ratio_to_minimal` is everything beside it. `*_cpu_us` is the CPU time that
both Envoys of a pair took for a request: that is what the rates come from, and it suffers less from other work.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import httpx

from policyd.compiler.memo import Memo
from policyd.delivery.binaries import find_envoy
from policyd.model.mesh import Mesh
from policyd.model.node import nodes
from policyd.model.resilience import CircuitBreaker, OutlierDetection, Resilience, Retries, Timeouts
from policyd.model.service import WHOLE, HealthCheck, Split
from tests.bench.by_hand import Hop
from tests.bench.load import Load, alternate, awake, medians, ratio, wrk
from tests.compilers.envoy.proxies import Envoys
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service
from tests.compilers.world import Authority, RealMesh, loopback

RULES = 20
PATH = "/v19/items/42"
HAPROXY = """\
defaults
  mode http
  timeout client 60s
  timeout connect 5s
  timeout server 60s
frontend application
{binds}
  http-request return status 200 content-type application/json string '{{"paid":true}}'
"""


@dataclass(frozen=True)
class Pair:
    """Two sidecars that carry calls: where the caller's application asks, and by which name."""

    address: str
    port: int
    host: str = PAYMENTS.name
    pids: tuple[int, ...] = ()

    def cpu_s(self) -> float:
        """The CPU time that its processes have taken so far."""
        found = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self.pids)
        return sum(int(fields[11]) + int(fields[12]) for fields in found) / os.sysconf("SC_CLK_TCK")

    def ask(self, connections: int, seconds: float) -> Load:
        """One round."""
        url = f"http://{self.address}:{self.port}{PATH}"
        return wrk(url, connections, seconds, "-H", f"Host: {self.host}")


def off(net: str) -> Mesh:
    """Two services, one rule."""
    return mesh([service(PAYMENTS, v1=[f"{net}1"]), service(WEB, v1=[f"{net}9"])], (PAYMENTS, rule(PAYMENTS)))


def on(net: str) -> Mesh:
    """The same call with everything asked for that a request can meet on its way."""
    resilience = Resilience(
        Timeouts(request_ms=2_000, per_try_ms=600),
        Retries(attempts=2, on=("connect-failure", "503")),
        CircuitBreaker(connections=500, pending=500, requests=1_000),
        OutlierDetection(consecutive_errors=5),
    )
    payments = replace(
        service(PAYMENTS, v1=[f"{net}1"], v2=[f"{net}2"]),
        split=Split((("v1", WHOLE * 9 // 10), ("v2", WHOLE // 10))),
        resilience=resilience,
        health_check=HealthCheck("/healthz"),
    )
    rules = [
        (
            PAYMENTS,
            rule(PAYMENTS, methods=("GET", "POST"), paths=(f"/v{n}/items/{{id}}", f"/v{n}/items"), name=f"r{n}"),
        )
        for n in range(RULES)
    ]
    return mesh([payments, service(WEB, v1=[f"{net}9"])], *rules)


class Room:
    """Everything that runs for the time of the measurement."""

    def __init__(self, folder: Path, binary: Path, stack: contextlib.ExitStack) -> None:
        self._folder, self._binary, self._stack = folder, binary, stack
        self._applications: list[str] = []

    def compiled(self, name: str, the_mesh: Mesh) -> Pair:
        """What policyd makes of a mesh, on Envoys."""
        folder = self._folder / name
        folder.mkdir()
        world, envoys, memo = (
            RealMesh(the_mesh, Authority(the_mesh.settings.trust_domain), folder),
            Envoys(self._binary),
            Memo(),
        )
        pids = []
        for node in nodes(the_mesh):
            pids.append(self._keep(envoys.start(world, node, memo)))
            self._applications.append(f"{node.endpoint.app_address}:{node.endpoint.app_port}")
        caller = next(node for node in nodes(the_mesh) if node.service == WEB)
        host = f"{PAYMENTS.name}.{PAYMENTS.namespace}"
        return Pair(caller.endpoint.address, the_mesh.settings.outbound_port, host, tuple(pids))

    def by_hand(self, name: str, net: str, *, tls: bool) -> Pair:
        """Two hand-written Envoys."""
        authority = Authority("shop.example")
        caller = authority.secrets(WEB) if tls else None
        callee = authority.secrets(PAYMENTS) if tls else None
        application = (f"{net}1", 8080)
        hops = (
            Hop((f"{net}9", 15_001), (f"{net}1", 15_006), tls_up=caller),
            Hop((f"{net}1", 15_006), application, tls_down=callee),
        )
        starts = (hop.start(self._binary, self._folder, f"{name}-{number}") for number, hop in enumerate(hops))
        pids = tuple(self._keep(started) for started in starts)
        self._applications.append(f"{application[0]}:{application[1]}")
        return Pair(f"{net}9", 15_001, pids=pids)

    def applications(self) -> Pair:
        """Start what answers behind all of them; asked directly, it is the call without a proxy."""
        config = self._folder / "haproxy.cfg"
        config.write_text(HAPROXY.format(binds="\n".join(f"  bind {each}" for each in self._applications)))
        self._keep(subprocess.Popen(["haproxy", "-f", str(config)], stderr=subprocess.DEVNULL))
        address, _, port = self._applications[0].rpartition(":")
        return Pair(address, int(port))

    def _keep(self, process: subprocess.Popen[bytes]) -> int:
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process.pid


def answering(pair: Pair) -> None:
    """Wait until a call comes through. Raises `TimeoutError`."""
    deadline = time.monotonic() + 30
    with httpx.Client(trust_env=False) as client:
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if client.get(f"http://{pair.address}:{pair.port}{PATH}", headers={"host": pair.host}).is_success:
                    return
            time.sleep(0.05)
    raise TimeoutError(f"{pair.address}:{pair.port} does not answer")


def measured(pairs: Mapping[str, Pair], seconds: float, rounds: int) -> dict[str, float]:
    """All figures."""
    spent: dict[str, list[float]] = {name: [] for name in pairs}

    def ask(name: str, pair: Pair) -> Load:
        before = pair.cpu_s()
        load = pair.ask(32, seconds)
        spent[name].append((pair.cpu_s() - before) / (load.rps * seconds) * 1e6)
        return load

    many = alternate({name: partial(ask, name, pair) for name, pair in pairs.items()}, rounds)
    with awake():
        one = medians(alternate({name: partial(pair.ask, 1, seconds) for name, pair in pairs.items()}, rounds))
    direct = one["direct"]
    found: dict[str, float] = {f"{name}_rps": round(load.rps) for name, load in medians(many).items()}
    for name in pairs:
        if name != "direct":
            found[f"{name}_cpu_us"] = round(statistics.median(spent[name]))
            found[f"{name}_added_p50_ms"] = round(one[name].p50_ms - direct.p50_ms, 3)
            found[f"{name}_added_p99_ms"] = round(one[name].p99_ms - direct.p99_ms, 3)
    return {
        **found,
        "added_p50_ms": found["on_added_p50_ms"],
        "added_p99_ms": found["on_added_p99_ms"],
        "rps_ratio_to_minimal": ratio(many["off"], many["minimal"]),
        "on_ratio_to_minimal": ratio(many["on"], many["minimal"]),
        "rps_ratio_to_plain": ratio(many["off"], many["plain"]),
    }


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--seconds", type=float, default=3.0, help="of one round")
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    binary = find_envoy() or Path("envoy")
    net = loopback(os.getpid()).rpartition(".")[0].rpartition(".")[0]
    with tempfile.TemporaryDirectory(prefix="policyd-bench-") as name, contextlib.ExitStack() as stack:
        room = Room(Path(name), binary, stack)
        pairs = {
            "plain": room.by_hand("plain", f"{net}.1.", tls=False),
            "minimal": room.by_hand("minimal", f"{net}.2.", tls=True),
            "off": room.compiled("off", off(f"{net}.3.")),
            "on": room.compiled("on", on(f"{net}.4.")),
        }
        pairs = {"direct": room.applications(), **pairs}
        for pair in pairs.values():
            answering(pair)
        figures = measured(pairs, wanted.seconds, wanted.rounds)
    if wanted.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"{key:24} {value:>12,}")


if __name__ == "__main__":
    main()
