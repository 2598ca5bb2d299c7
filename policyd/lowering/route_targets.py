"""Part of the pass `route_checks`: where the requests of a rule go, and where copies of them go."""

from __future__ import annotations

from collections.abc import Iterator

from policyd.base.diagnostics import Finding, Severity
from policyd.intents.place import Step
from policyd.intents.translate import nearest
from policyd.lowering.checked_route import Checked
from policyd.lowering.references import exists, known_services
from policyd.lowering.services import short
from policyd.lowering.stand_ins import differences
from policyd.model.access import Access
from policyd.model.names import Name
from policyd.model.route import RouteRule
from policyd.model.scope import Callers
from policyd.model.service import WHOLE, Protocol, Service

_NAMED_CALLERS = 3


def targets(checked: Checked, number: int, rule: RouteRule) -> Iterator[Finding]:
    """What is wrong with the targets of a rule's split."""
    service = checked.service
    assert service is not None
    suggestions = known_services(checked.work, checked.document)
    seen: set[tuple[str, Name | None]] = set()
    for index, one in enumerate(rule.targets):
        if (one.version, one.service) in seen:
            yield checked.finding("PD1253", "the same target stands twice", number, *checked.at_target(number, index))
        seen.add((one.version, one.service))
        if one.version and service.version(one.version) is None:
            known = [version.name for version in service.versions]
            yield checked.finding(
                "PD1252",
                f"`{service.name.name}` has no version `{one.version}`",
                number,
                *checked.at_target(number, index, "version"),
                hint=nearest(one.version, known),
            )
        if one.service is not None:
            path = ("spec", "rules", number, *checked.at_target(number, index, "service"))
            yield from exists(checked.work, checked.document, one.service, suggestions, *path)
            yield from _other(checked, number, checked.at_target(number, index, "service"), one.service)
    total = sum(one.weight for one in rule.targets)
    if rule.targets and total != WHOLE:
        yield checked.finding(
            "PD1253",
            f"the weights of `{rule.name}` add up to {total / 100:g}, not 100",
            number,
            "split",
            hint="weights are per cent of the requests",
            at_key=True,
        )


def _other(checked: Checked, number: int, path: tuple[Step, ...], other: Name) -> Iterator[Finding]:
    """Another service takes only the requests of those who may call it by its own access rules."""
    there = checked.work.services.get(other)
    if there is None or checked.work.settings is None:
        return
    named = short(other, checked.document.name.namespace)
    if there.protocol is Protocol.TCP:
        yield checked.finding("PD1260", f"`{named}` speaks `tcp`, which has no requests", number, *path)
        return
    yield from _differences(checked, number, path, there, named)
    domain, known = checked.work.settings.trust_domain, checked.work.services.keys()
    may, may_too = (
        Callers.of(checked.work.access.get(name, Access(name)), domain).among(known) for name in (checked.to, other)
    )
    if without := sorted(may - may_too - {other}):
        callers = ", ".join(f"`{short(name, checked.document.name.namespace)}`" for name in without[:_NAMED_CALLERS])
        more = f" and {len(without) - _NAMED_CALLERS} more" if len(without) > _NAMED_CALLERS else ""
        yield checked.finding(
            "PD1256",
            f"{callers}{more} may call `{checked.to.name}` and not `{named}`: none of their requests go there",
            number,
            *path,
            severity=Severity.WARNING,
            hint=f"a route opens nothing; an access rule to `{named}` does",
        )


def _differences(
    checked: Checked, number: int, path: tuple[Step, ...], there: Service, named: str
) -> Iterator[Finding]:
    """What a request that was made for the route's service meets at another one."""
    service = checked.service
    assert service is not None
    if service.protocol is not there.protocol and Protocol.GRPC in (service.protocol, there.protocol):
        yield checked.finding(
            "PD1267",
            f"`{checked.to.name}` speaks {service.protocol.value} and `{named}` {there.protocol.value}",
            number,
            *path,
            hint="a call of gRPC is answered by gRPC alone, and understood by nothing else",
        )
        return
    for message, hint in differences(service, there, named):
        yield checked.finding("PD1268", message, number, *path, hint=hint, severity=Severity.WARNING)


def mirrors(checked: Checked, number: int, rule: RouteRule) -> Iterator[Finding]:
    """What is wrong with where a rule sends copies."""
    service = checked.service
    assert service is not None
    listed = isinstance(checked.document.raw["spec"]["rules"][number].get("mirror"), list)
    answering = {target.version for target in rule.targets} if len(rule.targets) == 1 else set()
    suggestions = known_services(checked.work, checked.document)
    for index, mirror in enumerate(rule.mirrors):
        path: tuple[Step, ...] = ("mirror", index) if listed else ("mirror",)
        if mirror.version and service.version(mirror.version) is None:
            known = [version.name for version in service.versions]
            said = f"`{service.name.name}` has no version `{mirror.version}`"
            yield checked.finding("PD1252", said, number, *path, hint=nearest(mirror.version, known))
        if mirror.service is not None:
            where = ("spec", "rules", number, *path)
            yield from exists(checked.work, checked.document, mirror.service, suggestions, *where)
            yield from _other(checked, number, path, mirror.service)
        elif not mirror.version or mirror.version in answering:
            yield _itself(checked, number, rule, path, Severity.ERROR)
        elif mirror.version == service.serving and _follows(rule, checked.to):
            yield _itself(checked, number, rule, path, Severity.WARNING)
        if any((mirror.version, mirror.service) == (each.version, each.service) for each in rule.mirrors[:index]):
            yield checked.finding(
                "PD1255",
                f"`{rule.name}` sends two copies of a request to the same place",
                number,
                *path,
                hint="keep one of them",
            )


def _follows(rule: RouteRule, to: Name) -> bool:
    """Whether all requests of a rule go where the service itself leads: to the version that serves, in the end."""
    return all(not target.version and target.service in (None, to) for target in rule.targets)


def _itself(checked: Checked, number: int, rule: RouteRule, path: tuple[Step, ...], severity: Severity) -> Finding:
    return checked.finding(
        "PD1255",
        f"`{rule.name}` sends a copy of a request to where the request goes itself",
        number,
        *path,
        hint="mirror to another version, or to another service",
        severity=severity,
    )
