"""What the findings of decisions mean: `PD1391`, about what is expected of access rules."""

from __future__ import annotations

from policyd.base.codes import Explanation, table

CODES = table(
    Explanation(
        "PD1391",
        "an expectation does not hold",
        "A case of a `PolicyTest` expects another decision than the rules of the same commit make. Either the rule "
        "is wrong or the expectation is: the commit is refused until both agree. A case is judged at its instant "
        "`at`, or now, and without whom a `Revocation` cuts off; rules that are only observed decide nothing. "
        "A `Route` is followed as the caller's sidecar follows it: what arrives is judged, by every service that may "
        "get a share of it, and what a rule of the route answers itself is `redirect` or `abort`.",
    ),
)
