"""The sequential test that watches a canary: bounded false aborts, however often one looks.

Null hypothesis: the canary's error rate is at most `THETA_0` times the baseline's. While it holds, and given that
`k` errors happened in a tick in which the canary served `n_c` requests and the baseline `n_b`, the number of them
that fall on the canary is binomial with probability at most `theta_0 n_c / (theta_0 n_c + n_b)`. (Two Poisson
streams conditioned on their sum; the unknown base rate, with its peaks and its daily swing, cancels.) Under the
alternative `theta` the probability is `theta n_c / (theta n_c + n_b)`. The logarithm of the likelihood ratio is

    k_c ln(theta / theta_0) - (k_c + k_b) ln((theta n_c + n_b) / (theta_0 n_c + n_b)),

and its exponential has conditional expectation 1 at the boundary of the null and at most 1 inside it. So the
product over ticks and strata is a test supermartingale for each `theta`, and so is their mean `E`: an *e-process*.
Ville's inequality then bounds the chance that `E` ever reaches `1 / alpha`, over an unlimited number of looks, by
`alpha`. A fixed-sample test looked at every tick has no such bound.

Sources: Ville (1939); Robbins (1970), "Statistical methods related to the law of the iterated logarithm" (mixtures);
Przyborowski and Wilenski (1940) for the conditional test of two Poisson rates; Ramdas, Grünwald, Vovk and Shafer
(2023), "Game-theoretic statistics and safe anytime-valid inference".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ALPHA = 0.01
"""The bound on the chance that a canary no worse than `THETA_0` times the baseline is ever aborted."""
THETA_0 = 1.5
"""How many times the baseline's error rate is still taken as equal."""
GRID = tuple(THETA_0 * factor for factor in (1.5, 2, 3, 5, 10, 20, 50, 100, 300))
"""The alternatives, equally weighted: from somewhat worse to broken."""
LIMIT = 1 / ALPHA

_LOG_RATIOS = tuple(math.log(theta / THETA_0) for theta in GRID)

Evidence = tuple[float, ...]
"""The whole state of the test: one log likelihood ratio for each value of `GRID`."""

START: Evidence = (0.0,) * len(GRID)


@dataclass(frozen=True, slots=True)
class Counts:
    """One stratum of one tick: requests and errors of the canary and of the baseline."""

    canary_requests: int
    canary_errors: int
    stable_requests: int
    stable_errors: int

    @property
    def comparable(self) -> bool:
        """Whether both arms served: with one of them silent there is nothing to compare."""
        return self.canary_requests > 0 and self.stable_requests > 0


def update(evidence: Evidence, strata: Iterable[Counts]) -> Evidence:
    """The evidence after one more tick. A stratum of which one arm is silent leaves it as it is.

    (The formula says the same: without baseline, or without canary, the likelihood ratio is exactly 1.)
    """
    logs = list(evidence)
    for counts in strata:
        if counts.comparable:
            for index, step in enumerate(increments(counts)):
                logs[index] += step
    return tuple(logs)


def increments(counts: Counts) -> tuple[float, ...]:
    """What one stratum of one tick adds to each log likelihood ratio."""
    n_c, n_b = counts.canary_requests, counts.stable_requests
    errors = counts.canary_errors + counts.stable_errors
    null = THETA_0 * n_c + n_b
    return tuple(
        counts.canary_errors * log_ratio - errors * math.log((theta * n_c + n_b) / null)
        for theta, log_ratio in zip(GRID, _LOG_RATIOS, strict=True)
    )


def log_e_value(evidence: Sequence[float]) -> float:
    """`ln E`, the logarithm of the mean likelihood ratio; never overflows."""
    top = max(evidence)
    return top + math.log(sum(math.exp(value - top) for value in evidence) / len(evidence))


def e_value(evidence: Sequence[float]) -> float:
    """`E`, for people; values above what a float holds are shown as the largest float."""
    return math.exp(min(log_e_value(evidence), 709.0))


def rejects(evidence: Sequence[float]) -> bool:
    """Whether the canary is worse than the null allows: `E >= 1 / ALPHA`."""
    return log_e_value(evidence) >= -math.log(ALPHA)
