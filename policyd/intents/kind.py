"""What all kinds of intents share: the strict base of every model, and `metadata`.

The models *are* the file format: a field's docstring is what an editor shows and what a finding quotes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict
from pydantic.alias_generators import to_camel

from policyd.intents.units import Label, shown, unreadable
from policyd.model.names import DEFAULT_NAMESPACE, Name

POLICYD = "policyd.dev/v1alpha1"
OPENSLO = "openslo/v1"

T = TypeVar("T")

Many = Annotated[tuple[T, ...], Strict(strict=False)]
"""A list in YAML, a tuple in the model; strict in its items."""


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


OneOrMany = Annotated[
    tuple[T, ...], Strict(strict=False), BeforeValidator(_listed, json_schema_input_type=list[T] | T)
]
"""`ops`, or `[ops, dev]`."""


class Part(BaseModel):
    """Base of every model: nothing is converted, nothing unknown is accepted, nothing changes afterwards."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
        hide_input_in_errors=True,
        defer_build=True,  # a command builds the validators of the kinds that it meets
    )

    unknown_hints: ClassVar[Mapping[str, str]] = {}
    """Hints for fields that people expect here and that are written differently."""


def _one_line(value: str) -> str:
    if not value.isprintable():
        raise unreadable(f"`{shown(value)}` is not one line of text", hint="for example `owner: team-buy`")
    return value


class Metadata(Part):
    """What the intent is called and who answers for it."""

    name: Label
    """The name, unique among its kind in its namespace: a DNS label."""
    namespace: Label = DEFAULT_NAMESPACE
    """The team's namespace. Rules and splits may only target services of their own namespace."""
    owner: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)] = ""
    """Who answers for it: a team or a person. Shown wherever policyd reports about this intent."""
    labels: Mapping[str, str] = Field(default_factory=dict)
    """Free labels. `tier: critical` asks the guardrails to be strict."""


class Intent(Part):
    """One document. Each kind narrows `kind` to its own name."""

    kind: str
    """What kind of intent this is."""
    metadata: Metadata
    """What the intent is called and who answers for it."""

    @property
    def name(self) -> Name:
        """Namespace and name."""
        return Name(self.metadata.namespace, self.metadata.name)

    @property
    def owner(self) -> str:
        """Who answers for it; empty when nobody is named."""
        return self.metadata.owner
