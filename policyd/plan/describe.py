"""A change in plain words, for status, logs and reviews."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from operator import attrgetter

from policyd.model.access import Access, Rule
from policyd.model.gateway import Gateway
from policyd.model.mesh import Settings
from policyd.model.names import DEFAULT_NAMESPACE, Name
from policyd.model.release import Wave
from policyd.model.route_words import route_changes
from policyd.model.service import WHOLE, Service
from policyd.plan.change import Change, Stage, WaveStage, WeightStage

_PARTS: Mapping[str, Callable[[Service], object]] = {
    "local ports": attrgetter("local_ports"),
    "timeouts": attrgetter("resilience.timeouts"),
    "retries": attrgetter("resilience.retries"),
    "circuit breaker": attrgetter("resilience.circuit_breaker"),
    "outlier detection": attrgetter("resilience.outlier_detection"),
    "load balancing": attrgetter("resilience.load_balancing"),
    "panic threshold": attrgetter("resilience.panic"),
    "health check": attrgetter("health_check"),
    "rate limits": attrgetter("rate_limits"),
    "failover": attrgetter("failover"),
    "upgrades": attrgetter("upgrades"),
    "gateway": attrgetter("gateway"),
}
"""What of a service is named where it changes, without saying how."""


def describe(change: Change) -> str:
    """One line: `checkout: v1 -> v2`, `access to payments: +rule web-pays, -rule ops-pays`."""
    name = _short(change.name)
    match change.base, change.target:
        case None, Service(gateway=Gateway()):
            return f"{name}: new gateway"
        case None, Service() as target:
            return f"{name}: new service, {target.serving} serves"
        case Service(), None:
            return f"{name}: removed"
        case Service() as base, Service() as target:
            return f"{name}: {', '.join(_service(base, target)) or 'unchanged'}"
        case ((None | Access()), (None | Access())):
            rules = ", ".join(_rules(change.base, change.target))
            return f"access to {name}: {rules or 'unchanged'}"
        case Settings() as base, Settings() as target:
            return f"settings: {', '.join(_fields(base, target)) or 'unchanged'}"
        case _:
            return f"settings: {name}"


def describe_stage(stage: Stage) -> str:
    """A stage in words: `25 % of requests`, `1 instance of each service`."""
    match stage:
        case WeightStage(weight=0, first=first) if first is not None:
            return f"requests with `{first.name}: {first.value}`"
        case WeightStage(weight=weight):
            return f"{_percent(weight)} of requests"
        case WaveStage(count=count, share=share):
            return describe_wave(Wave(count, share))


def describe_wave(wave: Wave) -> str:
    """A wave in words; with a count and a share, whichever is more."""
    if wave.share >= WHOLE:
        return "every proxy"
    parts = []
    if wave.count:
        parts.append(f"{wave.count} instance{'s' if wave.count > 1 else ''} of each service")
    if wave.share:
        parts.append(f"{_percent(wave.share)} of proxies")
    return " or ".join(parts) or "1 instance of each service"


def _service(base: Service, target: Service) -> Iterator[str]:
    if base.split != target.split:
        yield f"{base.serving} -> {target.serving}"
    if base.protocol is not target.protocol:
        yield f"protocol {base.protocol.value} -> {target.protocol.value}"
    if base.port != target.port:
        yield f"port {base.port} -> {target.port}"
    for words, of in _PARTS.items():
        if of(base) != of(target):
            yield words
    if base.route != target.route:
        yield from route_changes(base.route, target.route)
    if base.opaque_paths != target.opaque_paths:
        yield "opaque paths" if target.opaque_paths else "judged paths"


def _rules(base: Access | Service | Settings | None, target: Access | Service | Settings | None) -> Iterator[str]:
    before, after = _by_name(base), _by_name(target)
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        sign = "+" if old is None else "-" if new is None else "~"
        yield f"{sign}rule {_short(name)}"


def _by_name(access: Access | Service | Settings | None) -> dict[Name, Rule]:
    return {rule.name: rule for rule in access.rules} if isinstance(access, Access) else {}


def _fields(base: Settings, target: Settings) -> Iterator[str]:
    for field in fields(Settings):
        if field.compare and getattr(base, field.name) != getattr(target, field.name):
            yield field.name.removesuffix("_s").replace("_", " ")


def _short(name: Name) -> str:
    return name.name if name.namespace in {"", DEFAULT_NAMESPACE} else str(name)


def _percent(points: int) -> str:
    return f"{points / 100:g} %"
