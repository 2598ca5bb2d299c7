"""Where an allowed request goes, in words: versions with their weights, bounds, further tries, what holds it back.

Read from the service as its callers' sidecars have it, which is what they were compiled from.
"""

from __future__ import annotations

from collections.abc import Iterator

from policyd.model.access import ANY_METHOD
from policyd.model.service import WHOLE, Service


def routing(service: Service, method: str) -> tuple[str, ...]:
    """What becomes of a request with `method`, a line each."""
    return (*_versions(service), *_instance(service), *_tries(service, method), *_held_back(service))


def _versions(service: Service) -> Iterator[str]:
    split = service.split
    if split.first is not None:
        yield f"with `{split.first.name}: {split.first.value}` it goes to `{split.first_version}`"
    heaviest = sorted(split.weights, key=lambda each: (-each[1], each[0]))
    shares = [f"`{version}` with weight {_percent(weight)}" for version, weight in heaviest]
    if len(shares) == 1:
        shares = [f"`{heaviest[0][0]}`"]
    yield ("otherwise it goes to " if split.first is not None else "it goes to ") + ", to ".join(shares)
    for version in split.versions:
        found = service.version(version)
        if found is None or not found.endpoints:
            yield f"`{version}` has no instance: what goes there is answered 503"


def _instance(service: Service) -> Iterator[str]:
    """Which instance, where that is by a key; else it is whichever suits the balance."""
    key = service.resilience.load_balancing.key
    if key is not None:
        what = f"header `{key.header}`" if key.header else f"cookie `{key.cookie}`"
        yield f"what has one value of the {what} goes to one instance"


def _tries(service: Service, method: str) -> Iterator[str]:
    timeouts, retries = service.resilience.timeouts, service.resilience.retries
    bound = f"answered within {_time(timeouts.request_ms)}" if timeouts.request_ms else "not bounded in time"
    each = f", each try within {_time(timeouts.per_try_ms)}" if timeouts.per_try_ms else ""
    if not retries.attempts:
        yield f"{bound}{each}, tried once"
    elif method not in retries.methods:
        yield f"{bound}{each}, tried once: `{method}` may not be sent twice"
    else:
        on = ", ".join(f"`{condition}`" for condition in retries.on)
        more = f"{retries.attempts} retr{'y' if retries.attempts == 1 else 'ies'}"
        yield f"{bound}{each}, with up to {more} on {on}"


def _held_back(service: Service) -> Iterator[str]:
    for limit in service.rate_limits:
        whose = "each caller" if limit.each_caller else "all callers together"
        some = "" if limit.methods == (ANY_METHOD,) and not limit.paths else " of some requests"
        yield f"refused with 429 beyond {limit.requests}{some} in {_time(limit.per_ms)} of {whose}, at each instance"
    breaker, outliers = service.resilience.circuit_breaker, service.resilience.outlier_detection
    if breaker is not None:
        bounds = {"requests": breaker.requests, "waiting requests": breaker.pending, "retries": breaker.retries}
        said = [f"{bound} {what}" for what, bound in bounds.items() if bound]
        if said:
            yield f"refused with 503 beyond {', '.join(said)} at once, for each caller's sidecar and version"
    if outliers is not None:
        yield f"instances that keep failing are left out, at most {_percent(outliers.max_ejected)} of them"


def _percent(points: int) -> str:
    return f"{points * 100 / WHOLE:g} %"


def _time(milliseconds: int) -> str:
    return f"{milliseconds / 1_000:g} s" if milliseconds >= 1_000 else f"{milliseconds} ms"
