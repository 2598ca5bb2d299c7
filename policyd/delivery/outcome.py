"""What became of an assignment."""

from __future__ import annotations

from dataclasses import dataclass

from policyd.delivery.resource_types import short_name

NO_ANSWER = "neither acknowledged nor refused"
"""The reason of a refusal by silence: the deadline passed (Envoy keeps silent about some clusters that fail late)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One node did not take its snapshot, and has been sent back to the last set that it acknowledged.

    `resources` are those that the proxy's words name, or all of the refused response where they name none. `proxy`
    is the program that refused, such as `envoy 1.40.0`, empty where it did not say.
    """

    node_id: str
    digest: str
    type_url: str
    resources: tuple[str, ...]
    error_detail: str
    proxy: str = ""

    @property
    def resource(self) -> str:
        """The first resource that is to blame, empty where none is known."""
        return self.resources[0] if self.resources else ""

    @property
    def silent(self) -> bool:
        """Whether the node gave no answer at all, rather than a refusal in words."""
        return self.error_detail == NO_ANSWER

    def __str__(self) -> str:
        what = ", ".join(f"`{name}`" for name in self.resources) or "everything"
        return f"`{self.node_id}` refused {short_name(self.type_url)} {what}: {self.error_detail}"


@dataclass(frozen=True, slots=True)
class Applied:
    """Every connected node acknowledged its whole snapshot.

    `absent` nodes were not connected and get it on their return; for `superseded` ones a later assignment came
    before this one was acknowledged.
    """

    acknowledged: frozenset[str]
    absent: frozenset[str] = frozenset()
    superseded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Refused:
    """At least one connected node refused; `refusals` (never empty) are in order of node id."""

    refusals: tuple[Refusal, ...]
    acknowledged: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    superseded: frozenset[str] = frozenset()

    @property
    def first(self) -> Refusal:
        """The refusal to show when only one can be shown."""
        return self.refusals[0]
