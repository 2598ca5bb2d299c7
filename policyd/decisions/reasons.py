"""Why, in words, by the comparisons that decided: the rule that allows, or the nearest ones and what each lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from policyd.decisions.compiled import NO_METHODS, CompiledRule
from policyd.decisions.decision import Cause, Obstacle, Reason, Would
from policyd.decisions.destination import Destination, Verdict
from policyd.decisions.request import Request, TokenState
from policyd.model.access import Rule, Source
from policyd.model.methods import CONNECTION
from policyd.model.names import DEFAULT_NAMESPACE, Name, parse_spiffe_id

NEAREST = 3
"""How many rules a denial names."""


def plain(text: str) -> tuple[Reason, ...]:
    """A reason that no rule has a part in."""
    return (Reason(text),)


def nobody(request: Request) -> tuple[Reason, ...]:
    """The caller is not verified."""
    return plain(f"`{request.source}` is not a SPIFFE ID, so nobody knows who calls")


def unknown(request: Request) -> tuple[Reason, ...]:
    """The destination is no service of the mesh."""
    return (Reason(f"there is no service `{short(request.destination)}`"),)


def why(destination: Destination, request: Request, at: datetime, verdict: Verdict) -> tuple[Reason, ...]:
    """The answer in words, then the rules that it hangs on, then what is only observed."""
    to, caller = short(request.destination), caller_text(request.source, destination.trust_domain)
    match verdict.cause:
        case Cause.UNKNOWN_PORT:
            return plain(f"`{to}` has no port {request.port}: its port is {destination.port}")
        case Cause.REVOKED:
            return plain(f"{caller} is revoked: it may not call `{to}`, whatever the rules say")
        case Cause.ALLOWED:
            assert verdict.rule is not None
            before, _ = allowing(verdict.rule, request.destination)
            first = Reason(f"{before}{caller} to {_what(request)}", verdict.rule)
            return (first, *_observed(verdict))
    head = Reason(f"no rule of `{to}` allows {caller} to {_what(request)}")
    if not destination.rules:
        return head, Reason(f"nobody may call `{to}`: it has no rules")
    near = _nearest(destination, request, at)
    return (head, *near) if near else (head, Reason(f"no rule names {caller}"))


def allowing(rule: Name, destination: Name) -> tuple[str, str]:
    """That a rule allows, in words: what stands before the caller and the request, and what behind them."""
    return f"rule `{short(rule)}` allows ", f" on `{short(destination)}`"


def _observed(verdict: Verdict) -> Iterator[Reason]:
    """What an observed rule would close; what it would open is among the nearest rules already."""
    if verdict.would is Would.DENY and verdict.observer is not None and verdict.rule is not None:
        text = f"rule `{short(verdict.observer)}`, observed in place of `{short(verdict.rule)}`, would deny it"
        yield Reason(text, verdict.observer, Obstacle.OBSERVES)


def _nearest(destination: Destination, request: Request, at: datetime) -> tuple[Reason, ...]:
    """The nearest of the rules that name the caller, and of those that would allow it from somebody else."""
    path, naming = request.bare_path, destination.naming(request.source)
    own = {position for named in naming for position in named.rules}
    found: list[tuple[int, int, Obstacle]] = []
    for position in own:
        obstacle = destination.obstacle(position, naming, request, path, at)
        assert obstacle is not None
        found.append((obstacle.value, position, obstacle))
    wanted = NEAREST
    for position in _permitting(destination, request.method, path):
        # Of those that name others only the first few are told; most of them do not permit the request at all.
        if position not in own and destination.obstacle(position, naming, request, path, at) is Obstacle.SOURCE:
            found.append((Obstacle.SOURCE.value, position, Obstacle.SOURCE))
            wanted -= 1
            if not wanted:
                break
    found.sort()
    return tuple(
        Reason(
            _miss(destination, destination.rules[position], obstacle, request), _name(destination, position), obstacle
        )
        for _, position, obstacle in found[:NEAREST]
    )


def _permitting(destination: Destination, method: str, path: str) -> Iterator[int]:
    """The rules that permit a method on a canonical path, or one of an opaque destination, to somebody."""
    parts = path[1:].split("/")
    for position, compiled in enumerate(destination.rules):
        if method in compiled.literal.get(path, NO_METHODS) or compiled.permits_parts(method, parts):
            yield position


def _name(destination: Destination, position: int) -> Name:
    return destination.rules[position].rule.name


def _miss(destination: Destination, compiled: CompiledRule, obstacle: Obstacle, request: Request) -> str:
    rule, path = compiled.rule, request.bare_path
    name = f"rule `{short(rule.name)}`"
    match obstacle:
        case Obstacle.OBSERVES:
            return f"{name} would allow it, but it only observes"
        case Obstacle.TOKEN:
            return f"{name} asks for {_token(rule)}; {_given(compiled, request)}"
        case Obstacle.EXPIRED:
            assert rule.expires is not None
            return f"{name} allowed it until {rule.expires:%Y-%m-%dT%H:%M:%SZ}"
        case Obstacle.ADDRESS:
            where = f"not from `{request.ip}`" if request.ip else "and where it calls from is not known"
            return f"{name} allows it, but only from {_sources(destination, rule)}, {where}"
        case Obstacle.METHOD:
            return f"{name} allows {_list(sorted(compiled.methods_on(path)))} on this path, not `{request.method}`"
        case Obstacle.PORT:
            what = "this path" if path else "connections"
            return f"{name} allows {what}, but at port {_list(map(str, compiled.ports_on(path)))}"
        case Obstacle.SOURCE:
            return f"{name} allows it, but only from {_sources(destination, rule)}"
        case Obstacle.PATH:
            return f"{name} allows {_otherwise(rule, request)}"


def _otherwise(rule: Rule, request: Request) -> str:
    if request.method == CONNECTION:
        return "no connections"
    return f"other paths: {_list(sorted({str(path) for permit in rule.permits for path in permit.paths}))}"


def _token(rule: Rule) -> str:
    assert rule.token is not None
    claims = [f"`{name}` {' or '.join(f'`{value}`' for value in values)}" for name, values in rule.token.claims]
    return f"a token of `{rule.token.issuer}`" + (f" with {' and '.join(claims)}" if claims else "")


def _given(compiled: CompiledRule, request: Request) -> str:
    token = request.token
    if token.state is not TokenState.VALID:
        return "there is no valid one" if token.state is TokenState.ABSENT else "the one that was sent is not valid"
    if not token.issuer:
        return "the one that was sent is another"
    if compiled.token is None or not compiled.token.issuer or token.issuer != compiled.token.issuer:
        return f"the one that was sent is of `{token.issuer}`"
    return "the one that was sent says otherwise"


def _sources(destination: Destination, rule: Rule) -> str:
    """The sources of a rule, each with its fields joined as they are meant."""
    said = destination.sources_told.get(rule.name)
    if said is None:
        told = {_source(source, destination.trust_domain): None for source in rule.sources}
        said = destination.sources_told[rule.name] = _list(told, quoted=False)
    return said


def _source(source: Source, trust_domain: str) -> str:
    fields = [
        " or ".join(f"`{short(service)}`" for service in source.services),
        " or ".join(f"namespace `{namespace}`" for namespace in source.namespaces),
        " or ".join(f"`{identity}`" for identity in source.identities),
        f"everyone in `{trust_domain}`" if source.anyone else "",
    ]
    who = " in ".join(field for field in fields if field)
    if not source.ip_blocks:
        return who or "nobody"
    return f"{who or 'everyone'} at {' or '.join(f'`{block}`' for block in source.ip_blocks)}"


def _what(request: Request) -> str:
    if request.method == CONNECTION:
        return f"connect to `{short(request.destination)}`"
    return f"`{request.method} {request.bare_path}` on `{short(request.destination)}`"


def caller_text(source: str, trust_domain: str) -> str:
    """A caller as people know it: by name where it is a service of the mesh."""
    name = parse_spiffe_id(trust_domain, source)
    return f"`{short(name) if name is not None else source}`"


def short(name: Name) -> str:
    """A name without the default namespace."""
    return name.name if name.namespace == DEFAULT_NAMESPACE else str(name)


def _list(items: Iterable[str], *, quoted: bool = True) -> str:
    shown = [f"`{item}`" if quoted else item for item in items]
    rest = len(shown) - 3
    return ", ".join(shown[:3]) + (f" and {rest} more" if rest > 0 else "")
