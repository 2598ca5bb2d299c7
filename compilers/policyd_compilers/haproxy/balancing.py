"""Load balancing: how a caller's sidecar chooses an instance, and what of a request decides."""

from __future__ import annotations

from collections.abc import Iterator

from policyd.model.balancing import BY_KEY, LoadBalancing, Policy, SlowStart
from policyd.model.service import WHOLE
from policyd_compilers.haproxy.text import argument, milliseconds

_ALGORITHMS = {
    Policy.LEAST_REQUEST: "random(2)",
    Policy.ROUND_ROBIN: "roundrobin",
    Policy.RANDOM: "random(1)",
}


def rules(asked: LoadBalancing) -> Iterator[str]:
    """The lines of a backend. There is one way to find an instance by a key, a ring; `losses` says so."""
    key = _key(asked)
    if not key:
        yield f"balance {_ALGORITHMS[asked.policy]}"
        return
    yield f"balance hash {key}"
    yield "hash-type consistent"


def draw(asked: LoadBalancing, named: str) -> Iterator[str]:
    """The lines of a frontend that make one key have one version, where each request would draw anew."""
    if key := _key(asked):
        yield f"http-request set-var(txn.draw) {key},xxh32,mod({WHOLE}) if {named} {{ {key} -m found }}"


def server(slow: SlowStart | None) -> str:
    """The words of a `server` line that let it warm up."""
    return f" slowstart {milliseconds(slow.window_ms)}" if slow is not None else ""


def _key(asked: LoadBalancing) -> str:
    if asked.policy not in BY_KEY or asked.key is None:
        return ""
    if asked.key.header:
        return f"req.fhdr({argument(asked.key.header)})"
    return f"req.cook({argument(asked.key.cookie)})"
