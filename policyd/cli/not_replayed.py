"""Lines of an access log that say all there is to know: no rule was asked, so that there is nothing to replay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from rich.text import Text

from policyd.cli.access_line import Logged
from policyd.cli.logged_way import way_json, way_text
from policyd.cli.output import printable, words
from policyd.decisions import Outcome


@dataclass(frozen=True, slots=True)
class ByItself:
    """What became of a request before anybody looked for a rule."""

    outcome: Outcome
    status: int
    cause: str
    reason: str


def unread(logged: Logged) -> ByItself:
    """The proxy could not read it."""
    reason = f"the proxy could not read the request, and refused it before any rule: `{logged.way.details}`"
    return ByItself(Outcome.REJECT, logged.status, "unread", reason)


def nobody(logged: Logged) -> ByItself:
    """The caller's own sidecar knows nobody of that name."""
    reason = f"the caller may call nobody who is called `{logged.host}`: no service, and no host of an `Egress`"
    return ByItself(Outcome.DENY, logged.status, "unknown-destination", reason)


def as_text(said: ByItself, logged: Logged) -> Iterator[Text]:
    """It in words."""
    outcome = f"{said.outcome.value} ({said.status})"
    request = f"{logged.method} {logged.path}".strip()
    callee = logged.host or (logged.node if logged.inbound else "")
    who = printable(f"  {logged.caller or logged.node} → {callee}  ")
    yield Text.assemble((outcome, "bold red"), who, words(request, "bold"))
    yield Text.assemble("  ", words(said.reason))
    for told in way_text(logged.way, {}):
        yield Text.assemble(("  · ", "cyan"), words(told))


def as_json(said: ByItself, logged: Logged) -> dict[str, object]:
    """The same for programs, in the form of an answer that was replayed, as far as it goes."""
    told = {"rule": logged.rule, "status": logged.status, "start": logged.start}
    return {
        **{name: value for name, value in asdict(said).items() if name != "reason"},
        "allow": False,
        "rule": "",
        "source": logged.caller,
        "method": logged.method,
        "path": logged.path,
        "reasons": [{"text": said.reason, "place": ""}],
        "logged": told,
        "way": way_json(logged.way, {}),
        "agrees": True,
        "differences": [],
    }
