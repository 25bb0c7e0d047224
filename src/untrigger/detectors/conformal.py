"""Thresholds from held-out clean rows: what share of clean rows a threshold flags, and whether more were flagged than that.

The clean rows' scores are ranked. A further clean row has a score above the k-th largest of n with probability ``k / (n + 1)``,
whatever the scores' distribution (conformal p-values for outliers: Bates et al. 2023, 2104.08279).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor, isfinite

from untrigger.core.errors import OptionError


@dataclass(frozen=True)
class CalibrationOptions:
    """When rows above a threshold count as a finding, and when the threshold is raised into a gap above it.

    Attributes:
        chance: the probability of flagging anything in a clean pool, above 0 and below 1. Not tuned.
        margin: how far above a threshold more rows must be than chance explains, as a share of its distance from the median
            clean row. Chosen in ``docs/results/bedkd.md#clean-pools``.
        gap_rows: share of the rows above a threshold that raising it may give up. Chosen in
            ``docs/results/bedkd.md#threshold``.
        gap_width: width of a gap that is wide enough, as a share of the distance from the threshold to the median of those
            rows. Chosen there too.
    """

    chance: float = 0.01
    margin: float = 0.2
    gap_rows: float = 0.2
    gap_width: float = 0.25

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for shares out of range.
        """
        if not (0 < self.chance < 1 and self.margin >= 0 and 0 <= self.gap_rows < 1 and self.gap_width > 0):
            raise OptionError(
                f"chance {self.chance}, margin {self.margin}, gap_rows {self.gap_rows}, gap_width {self.gap_width}",
                expected="chance above 0 and below 1, no negative margin, gap_rows below 1, gap_width above 0",
            )


@dataclass(frozen=True)
class CalibratedThreshold:
    """A threshold and what was above it. Rows with a larger score are flagged if ``found``.

    Attributes:
        threshold: the k-th largest score of the clean rows.
        fpr: the share of further clean rows above the k-th largest of n, ``k / (n + 1)``.
        fpr_bound: the same for the lowest threshold that was tried. The scores that are judged chose between the thresholds, so
            this, and not ``fpr``, bounds the share of further clean rows above it.
        clean_rows: n, the number of clean rows that calibrated it.
        above: number of suspect rows above the threshold.
        expected: how many of them the false-positive rate explains.
        far_above: number of suspect rows above it by the margin of the options; a model knows the clean rows that it was trained
            on better than others, so some of them have slightly larger scores.
        p_value: the probability of as many rows above the threshold as are far above it if all suspect rows were clean, times
            the number of thresholds tried.
        found: whether that is too small to be chance.
    """

    threshold: float
    fpr: float
    clean_rows: int
    above: int
    far_above: int
    expected: float
    p_value: float
    found: bool
    fpr_bound: float

    @property
    def false_share(self) -> float:
        """Return the expected share of clean rows among those above the threshold, 0 to 1."""
        return min(1.0, self.expected / self.above) if self.above else 1.0


def calibrate(
    clean: Sequence[float],
    suspect: Sequence[float],
    *,
    fpr: float,
    false_share: float = 0.02,
    options: CalibrationOptions | None = None,
) -> CalibratedThreshold:
    """Return the threshold for ``suspect`` scores that ``clean`` scores allow, larger scores being more suspicious.

    Of all thresholds whose false-positive rate is at most ``fpr`` it is the lowest at which clean rows are expected to be
    at most ``false_share`` of the rows above it; if there is none, the one with the smallest such share. With fewer
    than ``1/fpr - 1`` clean rows the largest clean score is the threshold, and its false-positive rate is larger than
    requested.

    Args:
        clean: scores of clean rows that the detector was not trained on.
        suspect: scores of the whole pool.
        fpr: the largest share of clean rows that may be flagged, above 0 and below 1.
        false_share: the largest share of clean rows wanted among the flagged ones, above 0 and at most 1.
        options: see ``CalibrationOptions``; None for the defaults.

    Raises:
        OptionError: for shares out of range or scores that are not numbers.
    """
    if not (0 < fpr < 1 and 0 < false_share <= 1):
        raise OptionError(f"fpr {fpr}, false_share {false_share}", expected="shares above 0 and below 1")
    if not clean or not all(map(isfinite, [*clean, *suspect])):
        raise OptionError("no clean scores, or scores that are not numbers", expected="one number a row")
    options = options or CalibrationOptions()
    ranked = sorted(clean, reverse=True)
    largest = max(1, floor(fpr * (len(ranked) + 1) + 1e-9))
    tried = [_at(ranked, suspect, k=k, tries=largest, options=options) for k in range(largest, 0, -1)]
    good = [one for one in tried if one.false_share <= false_share]
    return good[0] if good else min(tried, key=lambda one: one.false_share)


def raised_into_gap(threshold: float, scores: Sequence[float], *, options: CalibrationOptions | None = None) -> float:
    """Return ``threshold``, or the middle of the wide gap among the ``scores`` just above it if there is one.

    A victim is more certain of the rows that it was trained on, so clean suspect rows reach further up than the clean rows that
    calibrated. If the rows above the threshold form two groups, the lower one at most ``gap_rows`` of them (or empty), the
    gap between them is where clean rows end. The false-positive rate can only fall.
    """
    options = options or CalibrationOptions()
    above = sorted(score for score in scores if score > threshold)
    if not above:
        return threshold
    low = [threshold, *above[: floor(options.gap_rows * len(above)) + 1]]
    gap, at = max((b - a, i) for i, (a, b) in enumerate(pairwise(low)))
    wide = gap >= options.gap_width * (above[len(above) // 2] - threshold)
    return low[at] + gap / 2 if wide else threshold


def flagging_threshold(
    calibrated: CalibratedThreshold, scores: Sequence[float], *, options: CalibrationOptions | None = None
) -> float:
    """Return the threshold that rows are flagged by: raised if something was found, else as calibrated."""
    return raised_into_gap(calibrated.threshold, scores, options=options) if calibrated.found else calibrated.threshold


def _at(
    ranked: Sequence[float], suspect: Sequence[float], *, k: int, tries: int, options: CalibrationOptions
) -> CalibratedThreshold:
    """Return what the ``k``-th largest clean score is as a threshold."""
    threshold, n = ranked[k - 1], len(ranked)
    far = threshold + options.margin * (threshold - ranked[n // 2])
    above, far_above = (sum(score > limit for score in suspect) for limit in (threshold, far))
    p_value = min(1.0, tries * upper_tail(far_above, draws=len(suspect), a=k, b=n + 1 - k))
    expected = len(suspect) * k / (n + 1)
    return CalibratedThreshold(
        threshold,
        fpr=k / (n + 1),
        clean_rows=n,
        above=above,
        far_above=far_above,
        expected=expected,
        p_value=p_value,
        found=p_value <= options.chance and far_above >= 2 * expected,
        fpr_bound=tries / (n + 1),
    )


def upper_tail(least: int, *, draws: int, a: float, b: float) -> float:
    """Return ``P(K >= least)`` of a beta-binomial: that many of ``draws`` clean rows above the ``a``-th largest of ``a + b - 1``.

    A sum of probabilities, because ``scipy.stats.betabinom.sf`` is 1 minus a sum, which loses small tails to rounding.
    """
    import numpy as np
    from scipy.stats import betabinom

    if least <= 0:
        return 1.0
    return min(1.0, float(betabinom.pmf(np.arange(least, draws + 1), draws, a, b).sum()))
