"""Thresholds from held-out clean rows: what share of clean rows a threshold flags, and whether more were flagged than that.

The clean rows' scores are ranked. A further clean row lies above the k-th largest of n with probability ``k / (n + 1)``,
whatever the scores' distribution (conformal p-values for outliers: Bates et al. 2023, 2104.08279).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, floor, isfinite, lgamma

from untrigger.core.errors import OptionError

GIVEN_UP = 0.2  # share of the rows above a threshold that lifting it may give up
MARGIN = 0.2  # how far above a threshold more rows must lie than chance explains, as a share of its way from the median clean row
WIDE = 0.25  # how much of the way from the threshold to the median of those rows a gap must take up


@dataclass(frozen=True)
class Calibrated:
    """A threshold and what was seen above it. Rows with a score above ``threshold`` are flagged where ``found``.

    Attributes:
        threshold: the k-th largest score of the clean rows.
        fpr: the share of further clean rows that lie above the k-th largest of n, ``k / (n + 1)``.
        promised: the same for the lowest threshold that was tried. The scores that are judged chose between the thresholds, so
            that this, and not ``fpr``, is the share of further clean rows that lie above at most.
        clean: n, how many clean rows calibrated it.
        above: suspect rows above the threshold.
        expected: how many of them the false-positive rate explains.
        beyond: suspect rows that lie above it by ``MARGIN``; a model knows the clean rows it was trained on better than others,
            so that some stand a little out.
        chance: the probability of as many or more above the threshold as lie beyond it if all suspect rows were clean, every
            threshold that was tried counted.
        found: whether that is too small to be chance.
    """

    threshold: float
    fpr: float
    clean: int
    above: int
    beyond: int
    expected: float
    chance: float
    found: bool
    promised: float

    @property
    def false_share(self) -> float:
        """The expected share of clean rows among those above the threshold, 0 to 1."""
        return min(1.0, self.expected / self.above) if self.above else 1.0


def calibrate(
    clean: Sequence[float], suspect: Sequence[float], *, fpr: float, false_share: float = 0.02, chance: float = 0.01
) -> Calibrated:
    """The threshold for ``suspect`` scores that ``clean`` scores allow, larger scores being more suspicious.

    Of all thresholds whose false-positive rate is at most ``fpr`` it is the lowest at which clean rows are expected to be
    at most ``false_share`` of what lies above it; where there is none, the one with the smallest such share. With fewer
    than ``1/fpr - 1`` clean rows the largest clean score is the threshold, and its false-positive rate is larger than
    asked for.

    Args:
        clean: scores of clean rows that the detector was not trained on.
        suspect: scores of the whole pool.
        fpr: the most that may be flagged of clean rows, above 0 and below 1.
        false_share: the most clean rows that are wanted among the flagged ones, above 0 and at most 1.
        chance: the probability of calling a clean pool poisoned, above 0 and below 1.

    Raises:
        OptionError: for shares out of range or scores that are no numbers.
    """
    if not (0 < fpr < 1 and 0 < false_share <= 1 and 0 < chance < 1):
        raise OptionError(
            f"fpr {fpr}, false_share {false_share}, chance {chance}", expected="shares above 0 and below 1"
        )
    if not clean or not all(map(isfinite, [*clean, *suspect])):
        raise OptionError("no clean scores, or scores that are no numbers", expected="one number a row")
    ranked = sorted(clean, reverse=True)
    most = max(1, floor(fpr * (len(ranked) + 1) + 1e-9))
    tried = [_at(ranked, suspect, k=k, tries=most, chance=chance) for k in range(most, 0, -1)]
    good = [one for one in tried if one.false_share <= false_share]
    return good[0] if good else min(tried, key=lambda one: one.false_share)


def lifted(threshold: float, scores: Sequence[float]) -> float:
    """``threshold``, or the middle of the wide gap among the ``scores`` just above it, where there is one.

    A victim is surer of the rows that it was trained on, so clean suspect rows reach further up than the clean rows that
    calibrated. Where the rows above the threshold fall into two groups, the lower one holding at most ``GIVEN_UP`` of them
    (or none), the gap between them is where clean rows end. A gap is wide that takes up ``WIDE`` of the way from the
    threshold to the median of the rows above it. The false-positive rate can only fall.
    """
    above = sorted(score for score in scores if score > threshold)
    if not above:
        return threshold
    low = [threshold, *above[: floor(GIVEN_UP * len(above)) + 1]]
    gap, at = max((b - a, i) for i, (a, b) in enumerate(pairwise(low)))
    wide = gap >= WIDE * (above[len(above) // 2] - threshold)
    return low[at] + gap / 2 if wide else threshold


def threshold_of(seen: Calibrated, scores: Sequence[float]) -> float:
    """The threshold that rows are flagged by: lifted where something was found, else as it was calibrated."""
    return lifted(seen.threshold, scores) if seen.found else seen.threshold


def _at(ranked: Sequence[float], suspect: Sequence[float], *, k: int, tries: int, chance: float) -> Calibrated:
    threshold, n = ranked[k - 1], len(ranked)
    far = threshold + MARGIN * (threshold - ranked[n // 2])
    above, beyond = (sum(score > limit for score in suspect) for limit in (threshold, far))
    p = min(1.0, tries * tail(beyond, draws=len(suspect), a=k, b=n + 1 - k))
    expected = len(suspect) * k / (n + 1)
    found = p <= chance and beyond >= 2 * expected
    return Calibrated(threshold, k / (n + 1), n, above, beyond, expected, p, found=found, promised=tries / (n + 1))


def tail(least: int, *, draws: int, a: float, b: float) -> float:
    """``P(K >= least)`` of a beta-binomial: as many of ``draws`` clean rows above the ``a``-th largest of ``a + b - 1``."""
    if least <= 0:
        return 1.0
    return min(1.0, sum(exp(_log_mass(k, draws=draws, a=a, b=b)) for k in range(least, draws + 1)))


def _log_mass(k: int, *, draws: int, a: float, b: float) -> float:
    ways = lgamma(draws + 1) - lgamma(k + 1) - lgamma(draws - k + 1)
    return ways + _log_beta(k + a, draws - k + b) - _log_beta(a, b)


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
