"""What the mesh says and HAProxy cannot. The losses that every proxy shares are in `policyd.compiler.losses`."""

from __future__ import annotations

from collections.abc import Iterator

from policyd.base.diagnostics import Severity
from policyd.compiler import losses
from policyd.compiler.artifact import Loss
from policyd.model.balancing import BY_KEY, EVENLY
from policyd.model.mesh import Settings
from policyd.model.names import DEFAULT_NAMESPACE, Name
from policyd.model.provenance import Key
from policyd.model.resilience import Retries
from policyd.model.service import WHOLE, Protocol, Service
from policyd_compilers.haproxy import route_losses
from policyd_compilers.haproxy.retries import STATUSES, WORDS, known

KNOWN = ", ".join([*WORDS, *sorted(STATUSES)])


def of_service(service: Service) -> tuple[Loss, ...]:
    """What is lost of a service, wherever it is compiled."""
    if service.protocol is Protocol.TCP:
        return losses.of_protocol(service)
    if service.external is not None:
        return (_outside(service),)
    if service.gateway is not None:
        return (_edge(service),)
    return (
        *_of_retries(service),
        *_of_timeouts(service),
        *_of_breaker(service),
        *_of_outliers(service),
        *_of_balancing(service),
        *_of_limits(service),
        *_of_failover(service),
        *route_losses.of_route(service),
    )


def _outside(service: Service) -> Loss:
    return Loss(
        "PD1334",
        Severity.ERROR,
        Key("Service", service.name),
        f"`{service.name}` lies outside of the mesh, where haproxy leads nobody: its callers get 403",
        hint="call it from services behind Envoy",
    )


def _edge(service: Service) -> Loss:
    return Loss(
        "PD1338",
        Severity.ERROR,
        Key("Service", service.name),
        f"`{service.name}` is a gateway, which haproxy is not made to be: nobody gets in there",
        hint="run it, and the mesh behind it, with Envoy",
    )


def of_settings(settings: Settings) -> tuple[Loss, ...]:
    """What is lost of what the whole mesh shares."""
    if settings.tracing is None:
        return ()
    return (
        Loss(
            "PD1330",
            Severity.WARNING,
            Key("Mesh", Name(DEFAULT_NAMESPACE, settings.name)),
            "the mesh asks for spans, which haproxy does not make: its sidecars are in no trace",
            hint="`traceparent` and `x-request-id` pass through them, so the spans of others stay joined",
        ),
    )


def _of_retries(service: Service) -> Iterator[Loss]:
    retries, key = service.resilience.retries, Key("Service", service.name)
    if not retries.attempts:
        return
    for condition in retries.on:
        if not known(condition):
            yield losses.of_retry_condition(service, condition, "haproxy", KNOWN)
        elif not WORDS.get(condition, (condition,)):
            yield Loss(
                "PD1305",
                Severity.INFO,
                key,
                f"`{service.name}` retries on `{condition}`, which haproxy sees only as a failure: it is left out",
                hint="haproxy opens another connection before it meets a peer's limit of streams",
            )
    yield Loss(
        "PD1306",
        Severity.WARNING,
        key,
        f"`{service.name}` bounds its retries to {retries.budget * 100 / WHOLE:g} % of the active calls, "
        "which haproxy cannot: only the attempts of one call are bounded",
        hint=f"each call is tried at most {retries.attempts + 1} times",
    )
    if (retries.base_ms, retries.max_ms) != (Retries().base_ms, Retries().max_ms):
        yield Loss(
            "PD1315",
            Severity.INFO,
            key,
            f"`{service.name}` says how long to wait before a further try; haproxy asks another instance at once",
        )


def _of_timeouts(service: Service) -> Iterator[Loss]:
    timeouts = service.resilience.timeouts
    if timeouts.stream_ms:
        yield Loss(
            "PD1316",
            Severity.WARNING,
            Key("Service", service.name),
            f"`{service.name}` bounds an exchange to {timeouts.stream_ms} ms, which haproxy cannot",
            hint="`timeout.idle` holds for exchanges of every kind",
        )
    if not timeouts.request_ms:
        return
    each = timeouts.per_try_ms or timeouts.request_ms
    yield Loss(
        "PD1307",
        Severity.INFO,
        Key("Service", service.name),
        f"`{service.name}` bounds the whole call to {timeouts.request_ms} ms; haproxy bounds each wait for an "
        f"answer, to {each} ms",
        hint="a call that is tried again, or an answer that comes in drops, may take longer",
    )


def _of_breaker(service: Service) -> Iterator[Loss]:
    breaker = service.resilience.circuit_breaker
    if breaker is None:
        return
    bounds = {"connections": breaker.connections, "pending": breaker.pending, "retries": breaker.retries}
    if lost := [f"`{name}: {bound}`" for name, bound in bounds.items() if bound]:
        yield Loss(
            "PD1309",
            Severity.WARNING,
            Key("Service", service.name),
            f"`{service.name}` bounds {', '.join(lost)}, which haproxy cannot: that is left out",
            hint="`requests` holds in every data plane",
        )


def _of_outliers(service: Service) -> Iterator[Loss]:
    if service.resilience.outlier_detection is None:
        return
    yield Loss(
        "PD1310",
        Severity.WARNING,
        Key("Service", service.name),
        f"`{service.name}` has outlier detection, which haproxy cannot bound by time or share: nobody is left out",
        hint="a health check finds instances that are gone",
    )


def _of_balancing(service: Service) -> Iterator[Loss]:
    balancing, key = service.resilience.load_balancing, Key("Service", service.name)
    if balancing.policy in BY_KEY:
        yield Loss(
            "PD1311",
            Severity.INFO,
            key,
            f"`{service.name}` is balanced by a key, for which haproxy has a ring of its own: sizes are left out",
            hint="one key meets one instance, maybe another one than from an Envoy",
        )
    if balancing.zone is not None:
        yield Loss(
            "PD1312",
            Severity.WARNING,
            key,
            f"`{service.name}` prefers the caller's zone, which haproxy cannot do in part: zones make no difference",
            hint="calls go to the instances of every zone",
        )
    if service.resilience.panic:
        yield Loss(
            "PD1313",
            Severity.WARNING,
            key,
            f"`{service.name}` has a panic threshold, which haproxy has not: who is unhealthy is never called",
        )
    slow = balancing.slow_start
    if slow is not None and slow.aggression != EVENLY:
        yield Loss(
            "PD1314",
            Severity.INFO,
            key,
            f"`{service.name}` starts instances with `aggression: {slow.aggression / EVENLY:g}`; with haproxy their "
            "share grows evenly",
        )


def _of_limits(service: Service) -> Iterator[Loss]:
    if not service.rate_limits:
        return
    yield Loss(
        "PD1333",
        Severity.WARNING,
        Key("Service", service.name),
        f"`{service.name}` limits how many requests it takes, which haproxy is not made to do: none is refused",
        hint="`circuitBreaker.requests` bounds in every data plane what a caller has under way",
    )


def _of_failover(service: Service) -> Iterator[Loss]:
    if not service.failover:
        return
    yield Loss(
        "PD1317",
        Severity.WARNING,
        Key("Service", service.name),
        f"`{service.name}` has fallbacks, which haproxy cannot take in their order for each caller: while it is down "
        "calls to it fail",
        hint="callers behind Envoy are led on",
    )
