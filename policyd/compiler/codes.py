"""What the codes of shared losses mean. A compiler's own stand in its `codes`; numbers from PD1301 to PD1389."""

from __future__ import annotations

from policyd.base.codes import Explanation, table

CODES = table(
    Explanation(
        "PD1301",
        "tcp is not carried",
        "The service speaks `tcp`, and this kind of sidecar carries requests alone: nobody gets a way to it, and it "
        "gets no inbound listener. Envoy's carry connections, too.",
    ),
    Explanation(
        "PD1302",
        "unknown retry condition",
        "The proxy has no word for a condition in `retries.on`. It is left out; the other conditions hold.",
    ),
    Explanation(
        "PD1303",
        "a method that is never canonical",
        "A rule allows a method that every sidecar refuses with 400 before any rule. Take it out of the rule.",
    ),
    Explanation(
        "PD1304",
        "path rules on opaque paths",
        "A service with `opaquePaths: true` is not judged by path, so a rule that names paths there would promise "
        "what nobody keeps. Those sets of paths allow nothing; `/**` does.",
    ),
    Explanation(
        "PD1308",
        "a condition that the proxy cannot judge",
        "A rule asks for something that the proxy has no word for, a token for example. The rule is left out of its "
        "configuration whole, so that nothing is allowed that the rule does not mean; what it means is denied, too. "
        "A rule that is only observed is then not observed there.",
    ),
)
