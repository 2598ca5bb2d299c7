"""What the response flags of an Envoy's access log mean, in words, and what of the intents they point at.

Source: Envoy documentation, "Access logging", `%RESPONSE_FLAGS%`. The same table is in the Envoy compiler's README.
"""

from __future__ import annotations

from collections.abc import Iterator

FLAGS: dict[str, str] = {
    "DC": "the caller went away before the answer was complete",
    "DF": "the name of the upstream could not be resolved",
    "DI": "the request was delayed on purpose, by a fault that was injected",
    "DO": "the request was dropped on purpose, to take load off the upstream",
    "DPE": "the caller broke the HTTP protocol",
    "DR": "the caller took the request back",
    "DT": "the call or its connection lasted longer than it may",
    "FI": "the request was answered with an error on purpose, by a fault that was injected",
    "IH": "a header had a value that is not allowed",
    "LH": "this sidecar's own application failed its health check",
    "LR": "this sidecar itself gave up the connection to the upstream",
    "NC": "the route leads to a version that this sidecar does not have: see `policyd doctor mesh`",
    "NFCF": "this sidecar had not got all of its configuration yet: see `policyd doctor mesh`",
    "NR": "no route is for this host and path",
    "OM": "this sidecar was overloaded itself",
    "RFCF": "the answer came from a cache",
    "RL": "too many requests: see `rateLimit` and the answer's `retry-after`",
    "RLSE": "whoever counts for a rate limit did not answer",
    "SI": "nothing was sent on the call for longer than it may be idle: see `timeout.idle`",
    "UAEX": "whoever else is asked for permission refused it",
    "UC": "the upstream closed the connection before its answer was complete",
    "UDO": "the request was dropped on purpose: the upstream takes none",
    "UF": "no connection to the upstream came about: nothing listens there, or the handshake failed",
    "UH": "no instance is well: see `healthCheck` and `outlierDetection`, and `policyd map` for what is left out",
    "UMSDR": "the call lasted longer than a stream to the upstream may",
    "UO": "the circuit to this version is open: see `circuitBreaker`",
    "UPE": "the upstream broke the HTTP protocol",
    "UR": "the upstream took the request back without an answer",
    "URX": "every try has failed, and there is none left: see `retries`",
    "UT": "no answer came in time: see `timeout.request` and `timeout.perTry`",
}
"""By flag; a line has none (`-`) or several, joined by commas."""


def explained(flags: str) -> Iterator[tuple[str, str]]:
    """Each flag of a line with its words; one that is not known says so."""
    for flag in flags.split(","):
        if flag and flag != "-":
            yield flag, FLAGS.get(flag, "a flag that policyd does not know")
