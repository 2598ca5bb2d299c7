"""`kind: Revocation`: what is cut off now, everywhere, and stays cut off."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from policyd.intents.kind import Intent, Part
from policyd.intents.units import Caller, Fingerprint, Reference, unreadable


class Cut(Part):
    """Who is cut off: an identity, an identity towards one service, or everything that a root has signed."""

    identity: Caller | None = None
    """A service of the mesh or a whole SPIFFE ID, which may call nobody any more."""
    from_: Caller | None = Field(default=None, alias="from")
    """The same, towards one service only: the one named by `to`."""
    to: Reference | None = None
    """The service that `from` may not call any more; it must be in the revocation's own namespace."""
    root: Fingerprint | None = None
    """The SHA-256 of a root certificate that nobody trusts any more."""

    @model_validator(mode="after")
    def _one_cut(self) -> Cut:
        said = [self.identity is not None, self.from_ is not None or self.to is not None, self.root is not None]
        if sum(said) != 1 or (self.from_ is None) != (self.to is None):
            raise unreadable(
                "a cut is one of `{identity}`, `{from, to}` and `{root}`",
                hint="for example `cut: {identity: web}`, or `cut: {from: web, to: payments}`",
                code="PD1111" if sum(said) > 1 else "PD1104",
            )
        return self


class RevocationSpec(Part):
    """The cut, and why."""

    cut: Annotated[Cut, Field(examples=[{"identity": "web"}])]
    """Who is cut off."""
    reason: Annotated[str, Field(min_length=1, max_length=1_000)]
    """Why, for whoever finds it closed: `key found in a build log, SEC-88`."""


class Revocation(Intent):
    """Cuts an identity, an edge or a root off, at once and everywhere. Nothing that goes back brings it back."""

    api_version: Literal["policyd.dev/v1alpha1"]
    kind: Literal["Revocation"]
    spec: RevocationSpec
