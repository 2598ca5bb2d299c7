"""Why, in words, from what `compiled` found while it decided: the nearest rules, and what each of them lacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from policyd.decisions.compiled import CompiledRule, Destination
from policyd.decisions.decision import Obstacle, Reason
from policyd.decisions.request import Request
from policyd.model.access import Rule
from policyd.model.names import DEFAULT_NAMESPACE, Name, parse_spiffe_id

NEAREST = 3
"""How many rules a denial names."""


def plain(text: str) -> Reason:
    """A reason that no rule has a part in."""
    return Reason(text)


def unknown(request: Request) -> Reason:
    """The destination is no service of the mesh."""
    return Reason(f"there is no service `{_short(request.destination)}`")


def allowed(request: Request, rule: Name, trust_domain: str) -> Reason:
    """Which rule lets the request in."""
    return Reason(f"rule `{_short(rule)}` allows {_what(request, trust_domain)}", rule)


def denied(
    destination: Destination,
    request: Request,
    obstacles: Mapping[int, Obstacle],
    at: datetime,
    trust_domain: str,
) -> tuple[Reason, ...]:
    """The denial in words, then the nearest rules.

    `obstacles` is what was in the way of the rules that name the caller. Of the others only those are near that
    would have allowed the request from somebody else.
    """
    found = [(obstacle, position) for position, obstacle in obstacles.items()]
    found += [
        (Obstacle.SOURCE, position)
        for position, compiled in enumerate(destination.rules)
        if position not in obstacles and compiled.obstacle(request.method, request.bare_path, at) is None
    ]
    found.sort(key=lambda miss: (miss[0].value, miss[1]))
    head = Reason(f"no rule of `{_short(request.destination)}` allows {_what(request, trust_domain)}")
    if not destination.rules:
        return head, Reason(f"nobody may call `{_short(request.destination)}`: it has no rules")
    near = [
        Reason(
            _miss(destination.rules[position], obstacle, request, trust_domain),
            _name(destination, position),
            obstacle,
        )
        for obstacle, position in found[:NEAREST]
    ]
    return (head, *near) if near else (head, Reason(f"no rule names {_caller(request.source, trust_domain)}"))


def _name(destination: Destination, position: int) -> Name:
    return destination.rules[position].rule.name


def _miss(compiled: CompiledRule, obstacle: Obstacle, request: Request, trust_domain: str) -> str:
    rule, path = compiled.rule, request.bare_path
    name = f"rule `{_short(rule.name)}`"
    match obstacle:
        case Obstacle.OBSERVES:
            return f"{name} would allow it, but it only observes"
        case Obstacle.EXPIRED:
            assert rule.expires is not None
            return f"{name} allowed it until {rule.expires:%Y-%m-%dT%H:%M:%SZ}"
        case Obstacle.METHOD:
            return f"{name} allows {_list(sorted(compiled.methods_on(path)))} on this path, not `{request.method}`"
        case Obstacle.SOURCE:
            return f"{name} allows it, but only from {_list(_sources(rule, trust_domain), quoted=False)}"
        case Obstacle.PATH:
            paths = sorted({str(path) for permit in rule.permits for path in permit.paths})
            return f"{name} allows other paths: {_list(paths)}"


def _sources(rule: Rule, trust_domain: str) -> list[str]:
    """The sources of a rule, each with its fields joined as they are meant."""
    told: dict[str, None] = {}
    for source in rule.sources:
        fields = [
            " or ".join(f"`{_short(service)}`" for service in source.services),
            " or ".join(f"namespace `{namespace}`" for namespace in source.namespaces),
            " or ".join(f"`{identity}`" for identity in source.identities),
            f"everyone in `{trust_domain}`" if source.anyone else "",
        ]
        told[" in ".join(field for field in fields if field) or "nobody"] = None
    return list(told)


def _what(request: Request, trust_domain: str) -> str:
    caller = _caller(request.source, trust_domain)
    return f"{caller} to `{request.method} {request.bare_path}` on `{_short(request.destination)}`"


def _caller(source: str, trust_domain: str) -> str:
    name = parse_spiffe_id(trust_domain, source)
    return f"`{_short(name) if name is not None else source}`"


def _short(name: Name) -> str:
    return name.name if name.namespace == DEFAULT_NAMESPACE else str(name)


def _list(items: Iterable[str], *, quoted: bool = True) -> str:
    shown = [f"`{item}`" if quoted else item for item in items]
    rest = len(shown) - 3
    return ", ".join(shown[:3]) + (f" and {rest} more" if rest > 0 else "")
