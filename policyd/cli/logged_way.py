"""The way of a logged request, as far as its line says it: which version answered, in how many tries, what failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policyd.cli.response_flags import explained
from policyd.compiler.naming import APP, is_failover, parse_cluster_name, parse_fallback_name, unpinned
from policyd.compiler.rules import NOT_IN_SCOPE
from policyd.decisions.reasons import short

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


def way_text(way: Way) -> Iterator[str]:
    """The way in words, a line each; nothing where the line says nothing."""
    if way.route == NOT_IN_SCOPE:
        yield "no rule lets the caller call this host, so its own sidecar answered"
        return
    if way.rule:
        yield f"rule `{way.rule}` of the route took it{'' if way.upstream else ', and it went nowhere'}"
    if (called := parse_cluster_name(unpinned(way.upstream))) is not None:
        service, version = called
        led_on = parse_fallback_name(way.upstream)
        where = f" at {way.host}" if way.host and led_on is None else ""
        yield f"went to version `{version}` of `{short(service)}`{where}{_how(way)}{_tries(way)}"
        if led_on is not None:
            answering = f" at {way.host}" if way.host else ""
            yield f"all its instances were down, and `{led_on[1]}` of `{short(led_on[0])}`{answering} took its place"
        elif is_failover(way.upstream):
            yield "it may have been led on from there: the instance says to whom, see `failover`"
    elif way.upstream == APP:
        yield "went to the application beside the sidecar"
    for flag, words in explained(way.flags):
        yield f"`{flag}`: {words}"
    if way.failure:
        yield f"in the proxy's own words: {way.failure}"
    if way.trace_id:
        yield f"in trace `{way.trace_id}`"


def way_json(way: Way) -> dict[str, object]:
    """The same for programs."""
    called = parse_cluster_name(unpinned(way.upstream))
    return {
        "upstream": way.upstream,
        "version": called[1] if called is not None else "",
        "host": way.host,
        "route": way.route,
        "rule": way.rule,
        "led_on": _led_on(way),
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


def _led_on(way: Way) -> str:
    """The service and version that answered in the place of the one that was meant; empty for no other."""
    found = parse_fallback_name(way.upstream)
    return f"{found[0]}/{found[1]}" if found is not None else ""
