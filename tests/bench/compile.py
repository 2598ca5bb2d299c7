"""From intent files to every proxy's configuration: cold, and after one file changed.

`python tests/bench/compile.py [--json] [SERVICES ...]`

Each size is measured in a process of its own, so that peaks do not mix. Every service has two versions of one
instance each (so twice as many sidecars as services), five dependencies, two access rules, resilience, an SLO and a
canary. *cold* is everything from bytes to artefacts (the best of three runs); *change* is one file that names another
version, with the caches of the run before, until every proxy's configuration is known again (the median of 15).
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from policyd.base.collector import collect_seldom
from policyd.compiler.memo import Memo
from policyd.compiler.registry import load as load_compiler
from policyd.intents import MemoryTree, ParseCache, load
from policyd.lowering import LoweringMemo, lower
from policyd.plan.effective import effective
from policyd.plan.floor import Floor
from policyd.testing import large

SIZES = (100, 300, 1_000, 3_000)
CHANGES = 15
AT = datetime(2027, 1, 1, tzinfo=UTC)
MESH = """\
apiVersion: policyd.dev/v1alpha1
kind: Mesh
metadata: {name: bench}
spec: {trustDomain: bench.example, dataPlanes: [{name: sidecars, compiler: envoy}]}
"""


@dataclass(frozen=True)
class Measured:
    """One size. Times in seconds, memory in MB, configuration in bytes."""

    services: int
    proxies: int
    cold_s: float
    change_s: float
    change_ratio: float
    peak_mb: float
    bytes_per_proxy: int
    parsed_files: int
    recompiled_resources: int
    stages_ms: dict[str, float] = field(default_factory=dict)


@dataclass
class Pipeline:
    """The caches that live from commit to commit, and the stages that use them."""

    parsed: ParseCache = field(default_factory=ParseCache)
    lowered: LoweringMemo = field(default_factory=LoweringMemo)
    compiled: Memo = field(default_factory=Memo)
    parsed_files: int = 0
    sizes: tuple[int, ...] = ()
    stages_ms: dict[str, float] = field(default_factory=dict)

    def run(self, tree: MemoryTree) -> float:
        """Everything from a tree to every proxy's artefacts; returns seconds."""
        compiler = load_compiler("envoy")
        begin = time.perf_counter()
        loaded = load(tree, self.parsed)
        read = time.perf_counter()
        done = lower(loaded, self.lowered)
        assert done.mesh is not None, done.findings[:3]
        low = time.perf_counter()
        running = effective(done.mesh, (), done.mesh, Floor(AT))
        planned = time.perf_counter()
        self.compiled.age()
        results = [compiler.compile(running.mesh_for(node), node, self.compiled) for node in running.nodes()]
        end = time.perf_counter()
        self.parsed_files = loaded.parsed_files
        self.sizes = tuple(sum(len(artifact.body) for artifact in each.artifacts) for each in results)
        spans = {"load": read - begin, "lower": low - read, "effective": planned - low, "compile": end - planned}
        self.stages_ms = {name: round(span * 1_000, 2) for name, span in spans.items()}
        return end - begin


def files(count: int) -> dict[str, str]:
    """The intent repository: one file for each service."""
    return {"mesh.yaml": MESH, **{f"services/s{number:04}.yaml": service(number, count) for number in range(count)}}


def service(number: int, count: int, version: str = "v1") -> str:
    """One service's file. Its callers are spread over the mesh, so that a change touches sidecars everywhere."""
    name = large.name(number)
    return f"""\
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {{name: {name}, owner: bench, labels: {{tier: critical}}}}
spec:
  port: 8080
  protocol: http
  versions:
    v1: {{endpoints: [{large.address("10.1", number)}]}}
    v2: {{endpoints: [{large.address("10.2", number)}]}}
  version: {version}
  slo: {{availability: 99.9, window: 30d}}
  resilience:
    timeout: {{request: 2s, perTry: 600ms}}
    retries: {{attempts: 2, on: [connect-failure, reset, 503], budget: 20%}}
{large.reads(number, count)}---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {{name: {name}-writes, owner: bench}}
spec:
  to: {name}
  from: [{large.callers(number, count)[0]}]
  allow:
    - {{methods: [POST], paths: ["/v1/items/{{id}}/**"]}}
---
apiVersion: policyd.dev/v1alpha1
kind: CanarySplit
metadata: {{name: {name}}}
spec:
  service: {name}
  steps: [5, 25, 50, 100]
  hold: 60s
  gates: [{name}-availability]
"""


def changed(contents: dict[str, str], count: int) -> Iterator[MemoryTree]:
    """The repository again and again, each time with one other file that names another version."""
    for turn in range(CHANGES):
        number = (turn * 37) % count
        path = f"services/s{number:04}.yaml"
        contents = {**contents, path: service(number, count, version="v2")}
        yield MemoryTree(contents)


def measure(count: int) -> Measured:
    """One size, in this process, which collects garbage as seldom as `policyd` itself."""
    collect_seldom()
    contents = files(count)
    tree = MemoryTree(contents)
    colds = []
    pipeline = Pipeline()
    for _ in range(3 if count <= 1_000 else 1):
        pipeline = Pipeline()
        gc.collect()
        colds.append(pipeline.run(tree))
    cold_stages = {f"cold {name}": value for name, value in pipeline.stages_ms.items()}
    times, recompiled, parsed = [], [], []
    for head in changed(contents, count):
        before = pipeline.compiled.builds
        times.append(pipeline.run(head))
        recompiled.append(pipeline.compiled.builds - before)
        parsed.append(pipeline.parsed_files)
    change_stages = {f"change {name}": value for name, value in pipeline.stages_ms.items()}
    cold, change = min(colds), statistics.median(times)
    return Measured(
        services=count,
        proxies=len(pipeline.sizes),
        cold_s=round(cold, 4),
        change_s=round(change, 5),
        change_ratio=round(change / cold, 5),
        peak_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024, 1),
        bytes_per_proxy=round(statistics.mean(pipeline.sizes)),
        parsed_files=max(parsed),
        recompiled_resources=max(recompiled),
        stages_ms={**cold_stages, **change_stages},
    )


def measure_apart(count: int) -> Measured:
    """One size, in a process of its own."""
    arguments = [sys.executable, __file__, "--here", "--json", str(count)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return Measured(**json.loads(done.stdout)["sizes"][0])


def table(sizes: list[Measured]) -> str:
    """The result as a person reads it."""
    columns = (
        "services proxies cold_s change_s change_ratio peak_mb bytes_per_proxy parsed_files recompiled_resources"
    )
    names = columns.split()
    rows = [names, *([str(getattr(size, name)) for name in names] for size in sizes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(names))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one object instead of a table")
    parser.add_argument("--here", action="store_true", help="measure in this process")
    parser.add_argument("services", nargs="*", type=int, default=SIZES, help="sizes of the mesh")
    options = parser.parse_args()
    sizes = [(measure if options.here else measure_apart)(count) for count in options.services]
    print(json.dumps({"sizes": [asdict(size) for size in sizes]}) if options.json else table(sizes))


if __name__ == "__main__":
    main()
