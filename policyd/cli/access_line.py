"""One line of a sidecar's access log, read: the request, who sent it, and what the proxy says that decided.

Both kinds of sidecars write one JSON object for each request. Which rule decided stands there under its name and the
hash of its wording (`namespace/rule#hash`), so that a line can be told from one of other rules of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from policyd.base.errors import UsageError
from policyd.cli.asking import Known
from policyd.cli.logged_way import Way, led_on, read_way
from policyd.compiler.naming import parse_cluster_name, unpinned
from policyd.compiler.rules import NOT_IN_SCOPE
from policyd.decisions import Outcome
from policyd.model.methods import CONNECTION
from policyd.model.names import Name
from policyd.model.node import service_of

_LONGEST = 64 * 1024
_NOTHING = {"", "-"}
_UNREAD = {400, 408, 413, 426, 431, 501}
"""What a proxy answers to who does not speak HTTP, or too much of it."""
_OUTCOMES = {400: Outcome.REJECT, 401: Outcome.DENY, 403: Outcome.DENY}


class NobodyError(UsageError):
    """No service has the name that was called."""

    def __init__(self, host: str) -> None:
        super().__init__(f"the caller may call nobody named `{host}`", hint="an `Egress` names one outside")


@dataclass(frozen=True, slots=True)
class Logged:
    """What a line says. Texts that it does not say are empty."""

    method: str
    path: str
    host: str
    status: int
    caller: str = ""
    rule: str = ""
    """The policy that decided: `namespace/rule#hash`, or in a word why none did."""
    start: datetime | None = None
    node: str = ""
    ip: str = ""
    inbound: bool = True
    """Whether the callee's sidecar wrote it; the caller's own knows no rules."""
    would: str = ""
    """`would-allow` or `would-deny` with a rule, or `same`, where the callee's sidecar observes rules."""
    way: Way = field(default_factory=Way)
    """What became of it besides the decision."""

    @property
    def unread(self) -> bool:
        """Whether the proxy itself could not read the request, so that there is nothing to replay."""
        return not self.method

    @property
    def by_rule(self) -> bool:
        """Whether a rule let the request in, whatever the application answered then."""
        return "#" in self.rule

    @property
    def outcome(self) -> Outcome | None:
        """What the proxy decided; `None` where the line does not say so."""
        if self.by_rule:
            return Outcome.ALLOW
        return _OUTCOMES.get(self.status)


def read_line(text: str) -> Logged:
    """The line. Raises `UsageError` for one that our sidecars do not write, with what is wrong with it."""
    try:
        said = orjson.loads(text) if len(text) <= _LONGEST else None
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        raise UsageError(
            "this is no line of an access log: a line is one JSON object",
            hint="give the whole line as it stands in the log of a sidecar, in quotes, or on standard input",
        )
    needed = ("method", "host") if _text(said, "method") == CONNECTION else ("method", "path", "host")
    missing = [name for name in needed if not _text(said, name)]
    status = said.get("status")
    if isinstance(status, bool) or not isinstance(status, int):
        missing.append("status")
    unread = missing == ["method", "path", "host"] and status in _UNREAD and _text(said, "details")
    if missing and not unread:
        words = ", ".join(f"`{name}`" for name in missing)
        raise UsageError(f"the line does not say {words}", hint="the access log of a sidecar has them all")
    assert isinstance(status, int)
    return Logged(
        method=_text(said, "method"),
        path=_text(said, "path"),
        host=_text(said, "host"),
        status=status,
        caller=_text(said, "caller"),
        rule=_text(said, "rule"),
        start=_start(said.get("start")),
        node=_text(said, "node"),
        ip=_text(said, "ip"),
        inbound=said.get("listener", "inbound") != "outbound",
        would=_text(said, "would"),
        way=read_way(said),
    )


def destination_of(logged: Logged, known: Known) -> Name:
    """The service that was called: by the node that wrote the line, by the version that it went to, or by the host.

    That is read as callers of the mesh write it. Raises `UsageError` where none of them tells, and
    `NobodyError` where the caller's sidecar says that nobody is called so.
    """
    own = service_of(logged.node)
    if logged.inbound and own is not None:
        return own
    if (other := led_on(logged.way, known.instances)) is not None:
        return other.service
    if called := parse_cluster_name(unpinned(logged.way.upstream)):
        return called[0]
    host = logged.host.lower().partition(":")[0].removesuffix(".")
    if host in known.outside:
        return known.outside[host]
    name, _, namespace = host.removesuffix(f".{known.trust_domain}").partition(".")
    namespace = namespace or _home(logged)
    sound = bool(name and namespace) and "." not in namespace
    found = Name(namespace, name) if sound else None
    missing = found is None or (known.services is not None and found not in known.services)
    if missing and logged.way.route == NOT_IN_SCOPE:
        raise NobodyError(logged.host)
    if found is None:
        raise UsageError(f"which service `{logged.host}` is cannot be told", hint="name it: `--to payments`")
    return found


def differences(logged: Logged, answer: Mapping[str, Any]) -> tuple[str, ...]:
    """Where the log and the replay disagree, and why that may be; empty where they agree."""
    decided = logged.outcome
    if decided is None and not logged.inbound:
        return ()  # the caller's own sidecar says what became of the call, and knows no rules
    if decided is None:
        return ("the line does not say what decided: only the replay does",)
    now = answer["logged_now"]
    if decided.value == answer["outcome"]:
        return (*(_reworded(logged, answer, now) if logged.by_rule else ()), *_observed(logged, answer))
    told = f"the log says `{decided.value}`" + (f" by `{logged.rule}`" if logged.rule else "")
    first = f"{told}, and the replay `{answer['outcome']}`"
    if not logged.by_rule:
        return (f"{first}: the rules have changed since",)
    if answer["cause"] == "revoked":
        return (f"{first}: the caller has been cut off since",)
    if now == logged.rule:
        return (f"{first}, by the same rule: it asks for what a line does not carry; see `--jwt-claim` and `--ip`",)
    return (f"{first}: the rules have changed since", _now(logged, now))


def _reworded(logged: Logged, answer: Mapping[str, Any], now: str) -> tuple[str, ...]:
    """Both allow: by the same rule in the same words, or not."""
    if answer["policy"] == logged.rule:
        return ()
    if answer["rule"] == logged.rule.partition("#")[0]:
        return (f"the rule was worded otherwise then: the log says `{logged.rule}`, now it is `{answer['policy']}`",)
    return (f"another rule let it in then: the log says `{logged.rule}`", _now(logged, now))


def _observed(logged: Logged, answer: Mapping[str, Any]) -> tuple[str, ...]:
    """Whether the observed rules would have changed it then, and would now."""
    then, now = logged.would.partition(" ")[0], answer["would"] or "same"
    if not then or then == now:
        return ()
    return (f"observed rules said `{logged.would}` then and `{now}` now: they have changed, or ask for a token",)


def _now(logged: Logged, now: str) -> str:
    if now == logged.rule:
        return "that rule is as it was"
    return f"that rule is `{now}` now" if now else "there is no such rule now"


def _home(logged: Logged) -> str:
    """The namespace that a short host name means: the caller's, or that of the rule, which is its service's."""
    own = service_of(logged.node)
    if own is not None:
        return own.namespace
    parts = logged.caller.split("/")
    if len(parts) == 7 and parts[3] == "ns":
        return parts[4]
    return logged.rule.partition("/")[0] if logged.by_rule else ""


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) and value not in _NOTHING else ""


def _start(said: object) -> datetime | None:
    """When the request came; `None` where the line does not say. Rules of another instant would explain nothing."""
    if said is None or (isinstance(said, str) and said in _NOTHING):
        return None
    try:
        at = datetime.fromisoformat(said) if isinstance(said, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise UsageError(
            f"the line does not say when: `start` is `{said}`", hint="an instant such as `2026-11-25T15:00:00.123Z`"
        )
    return at
