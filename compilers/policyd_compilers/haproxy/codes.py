"""What the codes of this compiler's own losses mean."""

from __future__ import annotations

from policyd.base.codes import Explanation, table

CODES = table(
    Explanation(
        "PD1305",
        "a condition that haproxy does not tell from others",
        "`refused-stream` means that a peer did not begin to work on a request. HAProxy sees it as a failure like "
        "any other and does not try again. It opens another connection before it meets a peer's limit of streams, so "
        "a stream is refused only by an application.",
    ),
    Explanation(
        "PD1306",
        "no retry budget",
        "HAProxy bounds the tries of one call, not the share of active calls that are tries. In an outage every call "
        "may be made `attempts` times more.",
    ),
    Explanation(
        "PD1307",
        "the call as a whole is not bounded",
        "HAProxy bounds connecting and each wait for the server, not the whole call. With `perTry` each try waits so "
        "long, else as long as `request` says. Tries add up, and an answer that never stops coming is never cut off.",
    ),
    Explanation(
        "PD1309",
        "a breaker that haproxy has not",
        "HAProxy counts the requests under way to a version, and refuses one too many with 503. It pools connections "
        "and queues for each server, so it has no bound on the connections or the waiting requests of a version, nor "
        "on further tries under way.",
    ),
    Explanation(
        "PD1310",
        "no outlier detection",
        "HAProxy can take a server out after errors, but any number of them at once, and only a health check brings "
        "one back. A fault that all instances share would leave nobody to answer, which is what `maxEjected` "
        "promises not to happen; so nobody is left out.",
    ),
    Explanation(
        "PD1311",
        "a ring of haproxy's own",
        "For `ringHash` and for `maglev` HAProxy keeps a ring whose size it chooses. One key meets one instance, and "
        "few keys move when instances come and go. Its hash is another one than Envoy's: where callers have both, a "
        "key has an instance for each kind of proxy.",
    ),
    Explanation(
        "PD1312",
        "no preference for a zone",
        "HAProxy calls backup servers once all others are gone. It cannot send them as much as a weak zone lacks, "
        "so that the last instance of a zone would get everything. Instances of all zones are called alike.",
    ),
    Explanation(
        "PD1313",
        "no panic threshold",
        "HAProxy never calls a server that its checks found to be down. Where most instances are down, the others "
        "get all calls.",
    ),
    Explanation(
        "PD1314",
        "a share that grows evenly",
        "The share of a server that HAProxy starts slowly grows in even steps over the window.",
    ),
    Explanation(
        "PD1315",
        "no back-off",
        "HAProxy sends a further try to another server at once, and waits up to a second where there is only one. "
        "How long cannot be said.",
    ),
    Explanation(
        "PD1316",
        "an exchange that is not bounded",
        "HAProxy bounds each wait, not an exchange from its first byte to its last: one that keeps sending, or an "
        "upgraded connection, lasts until it is silent for `timeout.idle`.",
    ),
    Explanation(
        "PD1320",
        "no timeouts and retries by rule",
        "HAProxy bounds and repeats calls by backend, which is the version that answers. Two rules that lead to the "
        "same version cannot differ there, so the service's own timeouts and retries hold for both.",
    ),
    Explanation(
        "PD1321",
        "no copies of requests",
        "HAProxy mirrors only through an agent of its own beside it (SPOA). Requests are answered as they would be, "
        "and nobody gets a copy.",
    ),
    Explanation(
        "PD1322",
        "no faults",
        "HAProxy has no delay that leaves other requests alone, and half of a fault would be a wrong experiment: "
        "there is none of it.",
    ),
    Explanation(
        "PD1330",
        "no spans",
        "HAProxy as Debian builds it exports no spans. It passes `traceparent` on, so a trace goes on behind it, "
        "with a gap where its sidecars are.",
    ),
    Explanation(
        "PD1338",
        "no gateway",
        "A gateway ends TLS for names that clients ask for, judges tokens and calls services with an identity of its "
        "own. HAProxy is not made to do that; its ports stay closed.",
    ),
    Explanation(
        "PD1334",
        "no way out",
        "Calls to an external host are judged and encrypted by the caller's own sidecar. HAProxy is not made to do "
        "that; nobody behind it gets to the host.",
    ),
    Explanation(
        "PD1333",
        "no rate limit",
        "HAProxy counts requests in a sliding window, which has no burst: what a token bucket lets through would be "
        "refused, or the other way round. Limits that differ between data planes are left out and said.",
    ),
    Explanation(
        "PD1317",
        "no failover",
        "HAProxy has `backup` servers, and takes either the first of them that is up, alone, for all calls, or all "
        "of them at once; it does not try a call again there that failed at the others. So neither the order of "
        "fallbacks nor the promise to lose no call could be kept, and calls fail while the service is down.",
    ),
)
