"""`kind: AccessRule`: who may call a service. What no rule allows is denied."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from policyd.intents.http import MethodOrAny
from policyd.intents.kind import Intent, Many, OneOrMany, Part
from policyd.intents.units import Identity, Instant, Label, Path, Reference, unreadable

EVERYONE = "*"


class Source(Part):
    """Callers. Several fields narrow it down; several values of a field widen it."""

    service: OneOrMany[Reference] = ()
    """Services by name, `web` or `namespace/web`."""
    namespace: OneOrMany[Label] = ()
    """Every service of these namespaces."""
    identity: OneOrMany[Identity] = ()
    """Whole SPIFFE IDs, for callers of another trust domain."""
    anyone: Literal[True] | None = None
    """Every verified identity of this mesh's trust domain; the same as `from: ["*"]`."""

    @model_validator(mode="after")
    def _names_someone(self) -> Source:
        if not (self.service or self.namespace or self.identity or self.anyone):
            raise unreadable(
                "a source without fields matches nobody",
                hint="name a `service`, a `namespace` or an `identity`",
                code="PD1104",
            )
        return self


def _source(value: object) -> object:
    if value == EVERYONE:
        return {"anyone": True}
    return {"service": value} if isinstance(value, str) else value


class Permit(Part):
    """What may be called: one of the methods on one of the paths."""

    methods: Annotated[Many[MethodOrAny], Field(min_length=1, examples=[["*"]])]
    """The methods, each by name (`GET` does not include `HEAD`), or `["*"]` for every method."""
    paths: Annotated[Many[Path], Field(min_length=1, examples=[["/**"]])]
    """The paths: `/v1/orders/{id}` with `{id}` for one segment, `/v1/**` for `/v1` and all below, `[/**]` for every
    path."""


class AccessRuleSpec(Part):
    """The rule."""

    to: Reference
    """The service that may be called; it must be in the rule's own namespace."""
    from_: Annotated[
        Many[Annotated[Source, BeforeValidator(_source, json_schema_input_type=str | Source)]], Field(min_length=1)
    ] = Field(alias="from")
    """Who may call: `web`, `namespace/web`, `{namespace: ops}`, `{identity: "spiffe://..."}`, or `"*"` for everyone
    in this mesh."""
    allow: Annotated[Many[Permit], Field(min_length=1, examples=[[{"methods": ["*"], "paths": ["/**"]}]])]
    """What they may call. Nothing is left out quietly: every path is `paths: [/**]`, every method is
    `methods: ["*"]`."""
    mode: Literal["enforce", "observe"] = "enforce"
    """`observe` only counts and logs where the rule would decide otherwise, and changes nothing."""
    expires: Instant | None = None
    """A date or an instant, UTC: from then on the rule allows nothing."""


class AccessRule(Intent):
    """Who may call a service. There are only rules that allow; what no rule allows is denied."""

    api_version: Literal["policyd.dev/v1alpha1"]
    kind: Literal["AccessRule"]
    spec: AccessRuleSpec
