"""What the checker's own codes mean. The rules' codes are explained by the rules themselves (`explanations`)."""

from __future__ import annotations

from collections.abc import Mapping

from policyd.base.codes import Explanation, table
from policyd.guardrails.bundle import Bundle
from policyd.guardrails.metadata import TEAM_CODE, rules

CODES = table(
    Explanation("PD2001", "An exception holds", "A comment takes this finding away until its date, for its reason."),
    Explanation(
        "PD2002",
        "An exception that is not needed",
        "The document has no finding of that code any more. Delete the comment, so that it cannot hide a new one.",
    ),
    Explanation(
        "PD2003",
        "No exception from this rule",
        "Only rules marked `exemptible` can be excepted from; what else policyd finds has to be mended.",
    ),
    Explanation(
        "PD2004", "An exception without an owner", "Somebody answers for an exception: the document's owner."
    ),
    Explanation(
        "PD2005",
        "An exception has ended",
        "From its date on an exception hides nothing. Mend the cause, or renew it with a new date.",
    ),
    Explanation(
        "PD2006",
        "An exception that lasts too long",
        "An exception ends within a year. Where the finding is wrong for ever, change the rule.",
    ),
    Explanation(
        "PD2010",
        "The package of a team rule",
        "Team rules live in packages of their own; names that start with `policyd` or `system` are taken.",
    ),
    Explanation("PD2011", "An unreadable team rule", "A rule file is UTF-8 text."),
    Explanation(
        "PD2012",
        "Team rules need OPA",
        "Team rules are checked by `opa check` before they run. Install OPA, or vouch for their digest.",
    ),
    Explanation(
        "PD2013",
        "A team rule does not compile",
        "`opa check --strict` refuses the rule. `http.send`, `opa.runtime` and `net.lookup_ip_addr` are not offered.",
    ),
    Explanation(TEAM_CODE, "A team rule objects", "The team's own rule said so, and gave no code of its own."),
)


def explanations(bundle: Bundle) -> Mapping[str, Explanation]:
    """The checker's codes and those of a bundle's rules. Raises `ValueError` where two rules share a code."""
    own = (
        Explanation(info.code, info.title, info.description)
        for info in rules(bundle).values()
        if info.code != TEAM_CODE
    )
    return table(*CODES.values(), *own)
