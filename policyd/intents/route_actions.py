"""Parts of `kind: Route`: what a rule does to requests besides choosing where they go."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainValidator, model_validator

from policyd.intents.kind import Part
from policyd.intents.route_matches import Host
from policyd.intents.units import Label, Path, Reference, Share, positive_ms, shown, unreadable

LONGEST_DELAY_MS = 30_000


def _delay(value: object) -> int:
    milliseconds = positive_ms(value)
    if milliseconds > LONGEST_DELAY_MS:
        raise unreadable(f"`{shown(value)}` is a delay of more than 30s", hint="the longest is `30s`", code="PD1109")
    return milliseconds


Delayed = Annotated[int, PlainValidator(_delay, json_schema_input_type=str)]


class Mirror(Part):
    """A copy of the requests goes there as well; nobody waits for its answer: `mirror: {version: v2, share: 10%}`."""

    version: Label | None = None
    """A version of the service itself."""
    service: Reference | None = None
    """Another service, by its own access rules; the version that serves there."""
    share: Share = 10_000
    """How many of the requests."""

    @model_validator(mode="after")
    def _one_of(self) -> Mirror:
        if (self.version is None) == (self.service is None):
            raise unreadable(
                "a mirror is a `version` or a `service`", hint="for example `mirror: {version: v2}`", code="PD1104"
            )
        return self


class Delay(Part):
    """Answers that come late."""

    time: Delayed
    """How late, `30s` at most."""
    share: Share
    """How many of the requests."""


class Abort(Part):
    """Answers that are nothing but a status."""

    status: Annotated[int, Field(ge=400, le=599)]
    """The status."""
    share: Share
    """How many of the requests."""


class Fault(Part):
    """Trouble on purpose, to see what callers make of it. Guardrails ask for a label, and spare critical services."""

    delay: Delay | None = None
    """`delay: {time: 2s, share: 10%}`"""
    abort: Abort | None = None
    """`abort: {status: 503, share: 1%}`"""

    @model_validator(mode="after")
    def _does_something(self) -> Fault:
        if self.delay is None and self.abort is None:
            raise unreadable(
                "the fault does nothing", hint="for example `fault: {abort: {status: 503, share: 1%}}`", code="PD1104"
            )
        return self


class Redirect(Part):
    """The client is sent elsewhere: `redirect: {code: 308, path: /v2/orders}`. The query stays."""

    code: Literal[301, 302, 303, 307, 308] = 302
    """The status; 307 and 308 keep the method."""
    scheme: Literal["http", "https"] | None = None
    """The scheme of the new place."""
    host: Host | None = None
    """The host of the new place."""
    path: Path | None = None
    """The whole path of the new place."""

    @model_validator(mode="after")
    def _leads_elsewhere(self) -> Redirect:
        if self.scheme is None and self.host is None and self.path is None:
            raise unreadable(
                "the redirect leads back to itself", hint="say a `host`, a `path` or a `scheme`", code="PD1104"
            )
        _literal(self.path, "redirect")
        return self


class Rewrite(Part):
    """What the callee sees in place of what was asked. Its access rules judge what arrives."""

    path: Path | None = None
    """For a path `/v1/**` what stands in the place of `/v1`; for any other the whole path."""
    host: Host | None = None
    """The `Host` that arrives."""

    @model_validator(mode="after")
    def _changes_something(self) -> Rewrite:
        if self.path is None and self.host is None:
            raise unreadable("the rewrite changes nothing", hint="for example `rewrite: {path: /v2}`", code="PD1104")
        _literal(self.path, "rewrite")
        return self


def _literal(path: Path | None, what: str) -> None:
    if path is not None and (path.rest or None in path.segments):
        raise unreadable(f"`{path}` is a pattern", hint=f"a {what} names one path: `/v2/orders`", code="PD1110")
