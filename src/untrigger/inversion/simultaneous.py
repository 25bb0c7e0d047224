"""Simultaneous intervals: valid although many candidates were measured on the same held-out rows and the worst is reported."""

from __future__ import annotations

from statistics import NormalDist

from untrigger.core.candidate import Candidate
from untrigger.core.statistics import wilson

FAMILY_ERROR = 0.05
"""The chance that any of the lower ends of one scan is above the truth."""
_USUAL = NormalDist().inv_cdf(0.975)  # of the intervals that a measurement carries


def simultaneous_low(candidate: Candidate, *, comparisons: int, family_error: float = FAMILY_ERROR) -> float | None:
    """Return the lower end of the excess that holds for all ``comparisons`` at once; None where nothing was measured.

    The lower end of the suspect's rate less the upper end of the reference's, each with a share of ``family_error``
    (Bonferroni). It holds whatever the dependence of the two rates, so that it needs no pairing of the rows.
    """
    z = NormalDist().inv_cdf(1 - family_error / (2 * max(1, comparisons)))
    own, other, excess = candidate.suspect, candidate.reference, candidate.excess
    if own.value is None or other.value is None:
        return None
    if candidate.kind == "drift":  # a mean, no rate
        return (
            None
            if excess.value is None or excess.low is None
            else excess.value - (excess.value - excess.low) * z / _USUAL
        )
    low, _ = wilson(round(own.value * own.n), own.n, z=z)
    _, high = wilson(round(other.value * other.n), other.n, z=z)
    return None if low is None or high is None else low - high
