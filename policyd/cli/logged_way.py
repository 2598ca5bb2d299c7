"""The way of a logged request, as far as its line says it: which version answered, in how many tries, what failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policyd.cli.response_flags import explained
from policyd.compiler.naming import APP, is_failover, parse_cluster_name, parse_fallback_name, unpinned
from policyd.compiler.rules import NOT_IN_SCOPE
from policyd.decisions.reasons import short
from policyd.model.names import Name
from policyd.model.node import service_of, version_of

_ROUTES = {"split": "by its weight", "first": "since it carries the header of `first`"}
_RULE = "rule:"


@dataclass(frozen=True, slots=True)
class Way:
    """What a line says of routing. Texts that it does not say are empty; HAProxy has no flags of these names."""

    upstream: str = ""
    """`namespace/service/version` at the caller, `app` at the callee."""
    host: str = ""
    route: str = ""
    attempts: int = 0
    flags: str = ""
    failure: str = ""
    """Why no connection came about, in the proxy's words."""
    details: str = ""
    request_id: str = ""
    trace_id: str = ""

    @property
    def rule(self) -> str:
        """The rule of a route that took it; empty where none did."""
        return self.route.removeprefix(_RULE) if self.route.startswith(_RULE) else ""


def read_way(said: Mapping[str, Any]) -> Way:
    """What a line says; whatever is not of its kind counts as not said."""

    def text(name: str) -> str:
        value = said.get(name)
        return value if isinstance(value, str) and value != "-" else ""

    attempts = said.get("attempts", said.get("retries"))
    made = attempts + ("attempts" not in said) if isinstance(attempts, int) and not isinstance(attempts, bool) else 0
    envoy = "attempts" in said or (said.get("listener") != "outbound" and "route" in said)
    return Way(
        upstream=text("upstream"),
        host=text("upstream_host"),
        route=text("route"),
        attempts=made,
        flags=text("flags") if envoy else "",
        failure=text("upstream_failure"),
        details=text("details"),
        request_id=text("request_id"),
        trace_id=text("trace_id"),
    )


@dataclass(frozen=True, slots=True)
class Answering:
    """Who answered a call in the place of the version that was meant, or was the last to be tried."""

    service: Name
    version: str
    node: str = ""
    """The instance, where it is known."""


def led_on(way: Way, instances: Mapping[str, str]) -> Answering | None:
    """Whom a call was led on to; `None` for a call that stayed, and where nobody knows.

    Envoy names the way and the address where it ended; `instances` (node ids by address) say whose that is.
    """
    node = _instance(way, instances)
    if (found := parse_fallback_name(way.upstream)) is not None:
        return Answering(*found, node)
    service, meant = service_of(node), parse_cluster_name(way.upstream)
    if not is_failover(way.upstream) or service is None or (service, version_of(node)) == meant:
        return None
    return Answering(service, version_of(node), node)


def way_text(way: Way, instances: Mapping[str, str]) -> Iterator[str]:
    """The way in words, a line each; nothing where the line says nothing."""
    if way.route == NOT_IN_SCOPE:
        yield "no rule lets the caller call this host, so its own sidecar answered"
        return
    if way.rule:
        yield f"rule `{way.rule}` of the route took it{'' if way.upstream else ', and it went nowhere'}"
    if (called := parse_cluster_name(unpinned(way.upstream))) is not None:
        service, version = called
        other = led_on(way, instances)
        where = f" at {way.host}" if way.host and other is None else ""
        yield f"went to version `{version}` of `{short(service)}`{where}{_how(way)}{_tries(way)}"
        if other is not None:
            yield _fallback(way, other)
        elif is_failover(way.upstream) and way.host and not _instance(way, instances):
            yield "it may have been led on from there: no instance of the mesh has that address now, see `failover`"
    elif way.upstream == APP:
        yield "went to the application beside the sidecar"
    for flag, words in explained(way.flags):
        yield f"`{flag}`: {words}"
    if way.failure:
        yield f"in the proxy's own words: {way.failure}"
    if way.trace_id:
        yield f"in trace `{way.trace_id}`"


def way_json(way: Way, instances: Mapping[str, str]) -> dict[str, object]:
    """The same for programs."""
    called, other = parse_cluster_name(unpinned(way.upstream)), led_on(way, instances)
    return {
        "upstream": way.upstream,
        "version": called[1] if called is not None else "",
        "host": way.host,
        "route": way.route,
        "rule": way.rule,
        "led_on": f"{other.service}/{other.version}" if other is not None else "",
        "instance": _instance(way, instances),
        "attempts": way.attempts,
        "flags": [{"flag": flag, "words": words} for flag, words in explained(way.flags)],
        "failure": way.failure,
        "details": way.details,
        "request_id": way.request_id,
        "trace_id": way.trace_id,
    }


def _how(way: Way) -> str:
    """Why this version: a rule that names it, or the split of the service."""
    if way.upstream != unpinned(way.upstream):
        return ", which the rule names"
    return f", {_ROUTES[way.route]}" if way.route in _ROUTES else ""


def _tries(way: Way) -> str:
    return f", in {way.attempts} tries" if way.attempts > 1 else ""


def _fallback(way: Way, other: Answering) -> str:
    """Who took the place; one who was asked and failed as well answered nothing."""
    where = f" at {way.host}" if way.host else ""
    deed = "was tried last" if way.flags else "took its place"
    return f"all its instances were down, and fallback `{other.version}` of `{short(other.service)}`{where} {deed}"


def _instance(way: Way, instances: Mapping[str, str]) -> str:
    return instances.get(way.host.rpartition(":")[0].strip("[]"), "")
