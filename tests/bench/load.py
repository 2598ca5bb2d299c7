"""What benchmarks of servers share: wrk as the load generator, rivals asked in turn, medians, CPUs kept awake."""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """What wrk measured."""

    rps: float
    p50_ms: float
    p99_ms: float


def wrk(url: str, connections: int, seconds: float, *more: str) -> Load:
    """One round. Raises `RuntimeError` where some answer was no success."""
    argv = ("wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", *more, url)
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(said)

    def found(pattern: str) -> str:
        match = re.search(pattern, said)
        assert match is not None, said
        return match[1]

    return Load(
        float(found(r"Requests/sec:\s+([\d.]+)")),
        _ms(found(r"(?m)^\s+50%\s+(\S+)")),
        _ms(found(r"(?m)^\s+99%\s+(\S+)")),
    )


def _ms(text: str) -> float:
    for unit, factor in (("us", 0.001), ("ms", 1.0), ("s", 1000.0)):
        if text.endswith(unit):
            return round(float(text.removesuffix(unit)) * factor, 4)
    raise ValueError(text)


def alternate(rivals: Mapping[str, Callable[[], Load]], rounds: int) -> dict[str, list[Load]]:
    """Each rival in turn, `rounds` times, so that whatever slows the machine slows all of them."""
    found: dict[str, list[Load]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, run in rivals.items():
            found[name].append(run())
    return found


def medians(rounds: Mapping[str, list[Load]]) -> dict[str, Load]:
    """The medians of each figure by itself."""
    return {
        name: Load(*(statistics.median(getattr(load, key) for load in loads) for key in ("rps", "p50_ms", "p99_ms")))
        for name, loads in rounds.items()
    }


def ratio(over: list[Load], under: list[Load]) -> float:
    """How many times as many requests a second, by the median of the rounds' own ratios.

    A machine changes its speed between rounds more than within one.
    """
    return round(statistics.median(ours.rps / theirs.rps for ours, theirs in zip(over, under, strict=True)), 2)


@contextlib.contextmanager
def awake() -> Iterator[None]:
    """Keep the CPUs from sleeping: what spins has the lowest priority."""
    spin = "import os\nos.nice(19)\nwhile True: pass"
    spinners = [subprocess.Popen([sys.executable, "-S", "-c", spin]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()
