"""A route beside what it is checked against, for the checks of the pass `route_checks`."""

from __future__ import annotations

from dataclasses import dataclass

from policyd.base.diagnostics import Finding, Severity
from policyd.intents import Document
from policyd.intents.place import Step
from policyd.lowering.work import Work
from policyd.model.names import Name
from policyd.model.route import Route
from policyd.model.service import Service


@dataclass(frozen=True, slots=True)
class Checked:
    """A route beside what it is checked against."""

    work: Work
    document: Document
    to: Name
    route: Route

    @property
    def service(self) -> Service | None:
        """The route's own service, if there is one."""
        return self.work.services.get(self.to)

    def finding(
        self,
        code: str,
        message: str,
        number: int,
        *path: Step,
        hint: str = "",
        severity: Severity = Severity.ERROR,
        at_key: bool = False,
    ) -> Finding:
        """About something in the rule with that number, from 0."""
        here = ("spec", "rules", number, *path)
        return self.document.finding(code, message, *here, hint=hint, severity=severity, at_key=at_key)

    def at_target(self, number: int, index: int, field: str = "") -> tuple[Step, ...]:
        """Where a target of a split stands: `split` may be one of them, or a list."""
        listed = isinstance(self.document.raw["spec"]["rules"][number].get("split"), list)
        return ("split", *((index,) if listed else ()), *((field,) if field else ()))
