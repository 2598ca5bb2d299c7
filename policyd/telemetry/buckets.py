"""What can be said from a latency histogram: quantiles, and how many answers were slower than a bound.

Inside a bucket answers are taken as evenly spread, as Prometheus' `histogram_quantile` does; the error is at most
the width of one bucket.
"""

from __future__ import annotations

import math
from bisect import bisect_left

from policyd.telemetry.source import Buckets


def add(left: Buckets | None, right: Buckets | None) -> Buckets | None:
    """Both together. Histograms with different bounds cannot be added: the one with more answers stays."""
    if left is None or right is None:
        return right if left is None else left
    if left.bounds_ms != right.bounds_ms:
        return left if left.total >= right.total else right
    return Buckets(left.bounds_ms, tuple(a + b for a, b in zip(left.counts, right.counts, strict=True)))


def subtract(after: Buckets, before: Buckets) -> Buckets | None:
    """What came between two looks, or `None` where a count went back or the bounds changed."""
    if after.bounds_ms != before.bounds_ms:
        return None
    counts = tuple(a - b for a, b in zip(after.counts, before.counts, strict=True))
    return None if any(count < 0 for count in counts) else Buckets(after.bounds_ms, counts)


def quantile(buckets: Buckets, q: float) -> float | None:
    """The latency in milliseconds that a share `q` of the answers did not exceed; `None` without answers.

    Above the last finite bound that bound is the answer: nothing finer is known.
    """
    if not buckets.total:
        return None
    rank = q * buckets.total
    index = bisect_left(buckets.counts, rank)
    lower = buckets.bounds_ms[index - 1] if index else 0.0
    upper = buckets.bounds_ms[index]
    if math.isinf(upper):
        return lower
    below = buckets.counts[index - 1] if index else 0
    inside = buckets.counts[index] - below
    return lower + (upper - lower) * ((rank - below) / inside) if inside else upper


def slower_than(buckets: Buckets, threshold_ms: float) -> int:
    """How many answers took longer than `threshold_ms`, rounded up; above the last finite bound all of them did."""
    index = bisect_left(buckets.bounds_ms, threshold_ms)
    if index >= len(buckets.bounds_ms):
        return 0
    upper = buckets.bounds_ms[index]
    above = buckets.total - buckets.counts[index]
    if upper == threshold_ms:
        return above
    below = buckets.counts[index - 1] if index else 0
    inside = buckets.counts[index] - below
    if math.isinf(upper):
        return above + inside
    lower = buckets.bounds_ms[index - 1] if index else 0.0
    return above + math.ceil(inside * (upper - threshold_ms) / (upper - lower))
