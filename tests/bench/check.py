"""`policyd check`, as a person runs it: a process of its own, from start to exit.

`python tests/bench/check.py [--json] [--services N]`

N files beside the mesh's, each with a service and its access rules (two documents); all rules that ship with policyd.
*cold* begins without any remembered verdict, *changed* is one file that names another version, *unchanged* the very
same files again. `start_s` is the check of the mesh's file alone, seen before: nothing can be faster than that. Each
is the median of five runs. Where `conftest` is installed it judges the same files by six rules, in the same run; it
only evaluates rules, and neither types, refers, lowers nor looks for losses.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from policyd.testing import large

RUNS = 5
SERVICES = 999
MESH = """\
apiVersion: policyd.dev/v1alpha1
kind: Mesh
metadata: {name: bench, owner: bench}
spec: {trustDomain: bench.example, dataPlanes: [{name: sidecars, compiler: envoy}]}
---
apiVersion: policyd.dev/v1alpha1
kind: RolloutStrategy
metadata: {name: careful, owner: bench}
spec: {waves: [{proxies: 1}, {proxies: 20%}, {proxies: 100%}], hold: 30s}
"""
RIVAL = """\
package main

deny contains msg if {
	input.kind == "Service"
	not input.metadata.owner
	msg := "no owner"
}

deny contains msg if {
	input.kind == "Service"
	not input.spec.healthCheck
	msg := "no health check"
}

deny contains msg if {
	input.kind == "Service"
	not input.spec.slo
	msg := "no SLO"
}

deny contains msg if {
	input.kind == "Service"
	input.spec.resilience.retries.attempts > 3
	msg := "too many retries"
}

deny contains msg if {
	input.kind == "AccessRule"
	some source in input.spec.from
	source == "*"
	msg := "everyone may call"
}

deny contains msg if {
	input.kind == "AccessRule"
	some permit in input.spec.allow
	"/**" in permit.paths
	msg := "every path"
}
"""


@dataclass(frozen=True)
class Measured:
    """Times in seconds, of whole processes."""

    documents: int
    files: int
    rules: int
    engine: str
    start_s: float
    cold_s: float
    changed_s: float
    unchanged_s: float
    changed_asked: int
    conftest_s: float | None


def service(number: int, count: int, version: str = "v1") -> str:
    """One service's file."""
    name = large.name(number)
    return f"""\
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {{name: {name}, owner: bench}}
spec:
  port: 8080
  versions:
    v1: {{endpoints: [{large.address("10.1", number)}]}}
    v2: {{endpoints: [{large.address("10.2", number)}]}}
  version: {version}
  healthCheck: {{path: /healthz}}
  slo: {{availability: 99.9, window: 30d}}
{large.reads(number, count)}"""


class Bench:
    """A folder of intents, and a cache that nobody else uses."""

    def __init__(self, folder: Path, count: int) -> None:
        self._count = count
        self._cache = folder / "cache"
        self.intents = folder / "intents"
        (self.intents / "services").mkdir(parents=True)
        (self.intents / "mesh.yaml").write_text(MESH)
        for number in range(count):
            self.write(number, "v1")

    def write(self, number: int, version: str) -> None:
        """Let one service's file name a version."""
        (self.intents / "services" / f"s{number:04}.yaml").write_text(service(number, self._count, version))

    def forget(self) -> None:
        """Drop every remembered verdict."""
        shutil.rmtree(self._cache, ignore_errors=True)

    def policyd(self, *words: str) -> tuple[float, str]:
        """Run a verb; seconds from its start to its end, and what it printed."""
        command = [sys.executable, "-m", "policyd", *words]
        begin = time.perf_counter()
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "XDG_CACHE_HOME": str(self._cache)},
        )
        return time.perf_counter() - begin, done.stdout

    def check(self) -> tuple[float, dict[str, object]]:
        """`policyd check`."""
        seconds, said = self.policyd("check", str(self.intents), "--output", "json")
        return seconds, json.loads(said)

    def conftest(self, folder: Path) -> float | None:
        """The rival, where it is installed; seconds."""
        program = shutil.which("conftest")
        if program is None:
            return None
        (folder / "policy").mkdir(exist_ok=True)
        (folder / "policy" / "rules.rego").write_text(RIVAL)
        begin = time.perf_counter()
        arguments = ["test", "--quiet", "--policy", str(folder / "policy"), str(self.intents)]
        subprocess.run([program, *arguments], capture_output=True, check=True)
        return time.perf_counter() - begin


def median(measure: Callable[[int], float]) -> float:
    """The median of some runs; each is told its number."""
    return round(statistics.median(measure(turn) for turn in range(RUNS)), 3)


def measure(count: int) -> Measured:
    """All of it, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="policyd-bench-") as name:
        folder = Path(name)
        bench = Bench(folder, count)

        def cold(_: int) -> float:
            bench.forget()
            return bench.check()[0]

        asked: list[int] = []

        def changed(turn: int) -> float:
            bench.write(turn * 37 % count, "v2")
            seconds, said = bench.check()
            asked.append(int(str(said["asked"])))
            return seconds

        (folder / "small").mkdir()
        (folder / "small" / "mesh.yaml").write_text(MESH)
        bench.policyd("check", str(folder / "small"))
        start_s = median(lambda _: bench.policyd("check", str(folder / "small"))[0])
        cold_s, changed_s = median(cold), median(changed)
        said = bench.check()[1]
        return Measured(
            documents=int(str(said["documents"])),
            files=int(str(said["files"])),
            rules=int(str(said["rules"])),
            engine=str(said["engine"]),
            start_s=start_s,
            cold_s=cold_s,
            changed_s=changed_s,
            unchanged_s=median(lambda _: bench.check()[0]),
            changed_asked=max(asked),
            conftest_s=bench.conftest(folder),
        )


def table(measured: Measured) -> str:
    """The result as a person reads it."""
    rows = [(name, "not installed" if value is None else str(value)) for name, value in asdict(measured).items()]
    return "\n".join(f"{name.ljust(14)} {value}" for name, value in rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one object instead of a table")
    parser.add_argument("--services", type=int, default=SERVICES)
    options = parser.parse_args()
    measured = measure(options.services)
    print(json.dumps(asdict(measured)) if options.json else table(measured))


if __name__ == "__main__":
    main()
