"""`kind: AccessRule`: who may call a service. What no rule allows is denied."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from policyd.intents.http import MethodOrAny
from policyd.intents.kind import Intent, Many, OneOrMany, Part
from policyd.intents.token_claims import Claims
from policyd.intents.units import Identity, Instant, IpBlock, Label, Path, Port, Reference, unreadable

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

    ip_block: OneOrMany[IpBlock] = ()
    """Addresses of the direct peer, `10.0.0.0/8`. They narrow the other fields; alone they mean every verified
    identity that calls from there."""

    @model_validator(mode="after")
    def _names_someone(self) -> Source:
        if not (self.service or self.namespace or self.identity or self.anyone or self.ip_block):
            raise unreadable(
                "a source without fields matches nobody",
                hint="name a `service`, a `namespace`, an `identity` or an `ipBlock`",
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
    ports: Many[Port] = ()
    """Ports of the service; every one of them unless you say so."""


class Connections(Part):
    """Connections to a `tcp` service, which has no methods and paths."""

    connections: Literal[True]
    """Whoever the rule names may connect: `allow: [{connections: true}]`."""
    ports: Many[Port] = ()
    """Ports of the service; every one of them unless you say so."""


def _permits(value: object) -> str:
    return "connections" if isinstance(value, dict) and "connections" in value else "requests"


class Jwt(Part):
    """A token of the person behind the call, beside the identity of the calling service."""

    issuer: Label
    """Who issued it: one of the mesh's `issuers`."""
    claims: Claims = Field(default_factory=dict)
    """What it must say: `{role: [admin, ops]}` is one of these roles; several claims must all hold."""


class AccessRuleSpec(Part):
    """The rule."""

    to: Reference
    """The service that may be called; it must be in the rule's own namespace."""
    from_: Annotated[
        Many[Annotated[Source, BeforeValidator(_source, json_schema_input_type=str | Source)]], Field(min_length=1)
    ] = Field(alias="from")
    """Who may call: `web`, `namespace/web`, `{namespace: ops}`, `{identity: "spiffe://..."}`, or `"*"` for everyone
    in this mesh."""
    allow: Annotated[
        Many[
            Annotated[
                Annotated[Permit, Tag("requests")] | Annotated[Connections, Tag("connections")],
                Discriminator(_permits),
            ]
        ],
        Field(min_length=1, examples=[[{"methods": ["*"], "paths": ["/**"]}]]),
    ]
    """What they may call. Nothing is left out quietly: every path is `paths: [/**]`, every method is
    `methods: ["*"]`. To a `tcp` service, `[{connections: true}]`."""
    mode: Literal["enforce", "observe"] = "enforce"
    """`observe` only counts and logs where the rule would decide otherwise, and changes nothing."""
    jwt: Jwt | None = None
    """A valid token (JWT) that the request must carry in `authorization: Bearer ...`. Without one it is answered
    401."""
    replaces: OneOrMany[Label] = ()
    """Of a rule that is only observed: the rules whose place it would take."""
    expires: Instant | None = None
    """A date or an instant, UTC: from then on the rule allows nothing."""

    @model_validator(mode="after")
    def _replaces_as_observer(self) -> AccessRuleSpec:
        if self.replaces and self.mode != "observe":
            raise unreadable(
                "only a rule with `mode: observe` can say what it `replaces`",
                hint="delete the rule that is replaced, and `replaces` with it",
                code="PD1111",
            )
        return self


class AccessRule(Intent):
    """Who may call a service. There are only rules that allow; what no rule allows is denied."""

    api_version: Literal["policyd.dev/v1alpha1"]
    kind: Literal["AccessRule"]
    spec: AccessRuleSpec
