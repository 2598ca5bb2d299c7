"""Rules of a route, and what changes in them, in plain words: for status, logs, reviews and answers."""

from __future__ import annotations

from collections.abc import Iterator

from policyd.base.durations import spoken
from policyd.model.names import DEFAULT_NAMESPACE
from policyd.model.route import Carrier, Condition, How, Match, Override, Route, RouteRule, Target
from policyd.model.route_actions import Fault
from policyd.model.service import WHOLE


def route_changes(base: Route | None, target: Route | None) -> Iterator[str]:
    """`+route beta (header x-beta: yes): v2`, `~route beta ...`, `-route beta`; the order where that changes."""
    before, after = _by_name(base), _by_name(target)
    for name, rule in after.items():
        old = before.get(name)
        if old != rule:
            yield f"{'+' if old is None else '~'}route {name} {_rule(rule)}"
    yield from (f"-route {name}" for name in before if name not in after)
    stayed = [name for name in after if name in before]
    if stayed != [name for name in before if name in after]:
        yield f"route order {' > '.join(after)}"


def _by_name(route: Route | None) -> dict[str, RouteRule]:
    return {rule.name: rule for rule in route.rules} if route is not None else {}


def _rule(rule: RouteRule) -> str:
    return f"({requests(rule.match)}): {outcome(rule)}"


def requests(match: Match) -> str:
    """Which requests: `POST /v1/**, header x-beta: yes`."""
    parts = []
    if match.hosts:
        parts.append(f"host {' or '.join(match.hosts)}")
    line = " ".join([*(["|".join(match.methods)] if match.methods else []), " or ".join(map(str, match.paths))])
    parts += [line.strip()] if line.strip() else []
    kinds = (("header", match.headers), ("query", match.query), ("cookie", match.cookies))
    parts += [f"{kind} {_condition(each)}" for kind, conditions in kinds for each in conditions]
    return ", ".join(parts) or "every request"


def _condition(condition: Condition) -> str:
    if condition.how is How.PRESENT:
        return condition.name
    return f"{condition.name}: {condition.value}{'...' if condition.how is How.PREFIX else ''}"


def outcome(rule: RouteRule) -> str:
    """What becomes of the requests that a rule takes: `v2 25 % / v1 75 %, timeout 500 ms`."""
    return ", ".join(_outcome(rule))


def _outcome(rule: RouteRule) -> Iterator[str]:
    if rule.targets:
        yield " / ".join(_target(each) for each in rule.targets)
    yield from _override(rule.override)
    if rule.sticky is not None:
        yield f"sticky by {'cookie' if rule.sticky.by is Carrier.COOKIE else 'header'} {rule.sticky.name}"
    yield from _actions(rule)


def _actions(rule: RouteRule) -> Iterator[str]:
    for mirror in rule.mirrors:
        yield f"{mirror.share / 100:g} % mirrored to {_target(Target(WHOLE, mirror.version, mirror.service))}"
    fault = rule.fault or Fault()
    if fault.delay_share:
        yield f"{fault.delay_share / 100:g} % delayed by {spoken(fault.delay_ms)}"
    if fault.abort_share:
        yield f"{fault.abort_share / 100:g} % answered {fault.abort_status}"
    if rule.redirect is not None:
        to = rule.redirect
        scheme = f"{to.scheme}:" if to.scheme else ""
        yield f"redirect {to.code} to {scheme}{f'//{to.host}' if to.host else ''}{to.path}"
    if rule.rewrite is not None:
        to_what = " ".join(each for each in (rule.rewrite.host, rule.rewrite.path) if each)
        yield f"rewritten to {to_what}"


def _target(target: Target) -> str:
    if target.version:
        name = target.version
    elif target.service is None:
        name = "its own split"
    else:
        short = target.service.namespace == DEFAULT_NAMESPACE
        name = f"service {target.service.name if short else target.service}"
    return name if target.weight == WHOLE else f"{name} {target.weight / 100:g} %"


def _override(override: Override) -> Iterator[str]:
    bounds = (("timeout", override.request_ms), ("per try", override.per_try_ms), ("idle", override.idle_ms))
    yield from (f"{word} {spoken(bound)}" for word, bound in bounds if bound is not None)
    if override.retries is not None:
        yield f"retries {override.retries.attempts}"
