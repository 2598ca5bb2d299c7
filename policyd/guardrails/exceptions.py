"""Exceptions: a person accepts a finding, with an owner, a reason and an end.

`# policyd: allow PD2104 until 2027-01-31 because ...` takes away the findings of that code in its document, and
leaves a note in their place. An exception that does nothing is itself a finding, so that none outlives its cause.
Those from losses of a compiler are held to the same here, and heeded where losses are known (`acceptances`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from policyd.base.diagnostics import Finding, Severity
from policyd.compiler.losses import ACCEPTABLE
from policyd.intents import Document, Exemption

LONGEST = timedelta(days=366)
"""An exception that ends later than this is not an exception."""


def with_exceptions(
    document: Document, findings: Iterable[Finding], exemptible: Mapping[str, bool], at: datetime
) -> list[Finding]:
    """The findings of one document less those that it excepts, and what is to say about its exceptions.

    `exemptible` says of each code whether its rule may be excepted from.
    """
    remaining = list(findings)
    notes: list[Finding] = []
    for exemption in document.exemptions:
        refused = refusal(document, exemption, {**exemptible, **dict.fromkeys(ACCEPTABLE, True)}, at)
        if refused is not None or exemption.code in ACCEPTABLE:
            notes += [refused] if refused is not None else []
            continue
        excepted = [finding for finding in remaining if finding.code == exemption.code]
        if excepted:
            remaining = [finding for finding in remaining if finding.code != exemption.code]
            notes.append(held(exemption, excepted[0]))
        else:
            notes.append(not_needed(exemption))
    return remaining + notes


def held(exemption: Exemption, finding: Finding) -> Finding:
    """The note that an exception holds, about the finding that it excepts."""
    said = f"{finding.message} (excepted until {exemption.until:%Y-%m-%d}: {exemption.reason})"
    return _note(exemption, "PD2001", Severity.INFO, said)


def not_needed(exemption: Exemption) -> Finding:
    """The finding that an exception does nothing."""
    said = f"the exception from `{exemption.code}` is not needed: there is no such finding here"
    return _note(exemption, "PD2002", Severity.WARNING, said, "delete the comment")


def refusal(document: Document, exemption: Exemption, exemptible: Mapping[str, bool], at: datetime) -> Finding | None:
    """Why the exception does not hold, if it does not."""
    if not exemptible.get(exemption.code, False):
        said = f"`{exemption.code}` knows no exceptions"
        return _note(exemption, "PD2003", Severity.ERROR, said, "`rego/README.md` lists the rules that do")
    if not document.owner:
        said = f"the exception from `{exemption.code}` has no owner"
        return _note(exemption, "PD2004", Severity.ERROR, said, f"give `{document.name.name}` an `owner`")
    if exemption.until <= at:
        said = f"the exception from `{exemption.code}` ended on {exemption.until:%Y-%m-%d}"
        return _note(exemption, "PD2005", Severity.WARNING, said, "mend the cause, or have the exception renewed")
    if exemption.until > at + LONGEST:
        said = f"the exception from `{exemption.code}` ends in more than a year"
        return _note(exemption, "PD2006", Severity.ERROR, said, "choose an end within a year, and renew it then")
    return None


def _note(exemption: Exemption, code: str, severity: Severity, message: str, hint: str = "") -> Finding:
    return Finding(code, severity, message, exemption.location, hint)
