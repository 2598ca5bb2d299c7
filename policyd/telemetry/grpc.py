"""How gRPC calls ended, from an Envoy's counters by status.

Every answer is 200, so that `upstream_rq_5xx` says little. As seen on Envoy 1.40, and held to by
`tests/compilers/envoy/test_grpc_calls.py`, `cluster.<name>.grpc.<status>` counts final outcomes when a call ends,
after all tries; what this sidecar answered itself for want of an upstream is in `upstream_rq_5xx`, too. A call that
was cut off, by either end or by its time, ended with no status and is in none.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

FILTER = r"grpc\.([0-9]+|request_message_count)"
"""What is read of each cluster, as a part of a regular expression; the messages tell that gRPC is spoken."""
FAILED = frozenset({2, 4, 12, 13, 14, 15})
"""Those of a server: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS. The rest is about
what was asked. Source: OpenTelemetry, semantic conventions for gRPC, "Status codes" of a server."""
REFUSED = frozenset({7, 16})
"""PERMISSION_DENIED and UNAUTHENTICATED, what 403 and 401 are in HTTP."""
_HERE = frozenset({4, 14})
"""What 5xx of this sidecar's own become."""
_STAT = re.compile(r"cluster\.(?P<cluster>[^.]+)\.grpc\.(?P<status>[0-9]+|request_message_count)")


def ended(values: Mapping[str, int]) -> dict[str, dict[int, int]]:
    """Of each cluster that was called in gRPC, how many calls ended with which status."""
    found: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for match in filter(None, map(_STAT.fullmatch, values)):
        statuses = found[match["cluster"]]
        if match["status"].isdigit():
            statuses[int(match["status"])] = values[match.string]
    return dict(found)


def outcomes(statuses: Mapping[int, int], errors: int, refused: int) -> tuple[int, int, int]:
    """Completed calls, errors and refusals; `errors` and `refused` are answers of 5xx, and of 401 and 403.

    An answer of 5xx was counted as a status if this sidecar gave it. Answers that are neither gRPC nor a failure are
    not counted. None of the three ever goes back, and none moves further than the first.
    """
    failed = max(errors, sum(statuses.get(status, 0) for status in _HERE))
    denied = refused + sum(statuses.get(status, 0) for status in REFUSED)
    others = sum(count for status, count in statuses.items() if status not in _HERE | REFUSED)
    broken = sum(statuses.get(status, 0) for status in FAILED - _HERE)
    return others + failed + denied, broken + failed, denied
