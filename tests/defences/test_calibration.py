"""Thresholds by hand, and what they promise by simulation."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from untrigger.core.errors import OptionError
from untrigger.detectors.conformal import CalibrationOptions, calibrate, raised_into_gap, upper_tail


def test_the_threshold_is_an_order_statistic() -> None:
    clean = [float(i) for i in range(99)]  # 99 clean rows: above the k-th largest lie k in 100
    one = calibrate(clean, [200.0] * 30 + [0.0] * 70, fpr=0.03)
    assert (one.threshold, one.fpr, one.clean_rows) == (98.0, 0.01, 99)
    assert (one.above, one.expected) == (30, 1.0)
    loose = calibrate(clean, [200.0] * 30 + [0.0] * 70, fpr=0.03, false_share=0.5)
    assert (loose.threshold, loose.fpr, loose.expected) == (96.0, 0.03, 3.0)
    assert one.fpr_bound == loose.fpr_bound == 0.03, "the scores that are judged chose between three thresholds"


def test_rows_that_stand_a_little_out_are_no_finding() -> None:
    """The threshold is 98 and the median clean row has 49: rows must reach beyond 98 + 0.2 · 49 = 107.8."""
    clean = [float(i) for i in range(99)]
    near, far = (calibrate(clean, [score] * 30 + [0.0] * 70, fpr=0.01) for score in (107.7, 107.9))
    assert (near.above, near.far_above, near.found, near.p_value) == (30, 0, False, 1.0)
    assert (far.above, far.far_above, far.found) == (30, 30, True)
    assert (near.threshold, near.fpr, near.expected) == (far.threshold, far.fpr, far.expected)


def test_few_clean_rows_mean_a_larger_rate_than_asked_for() -> None:
    found = calibrate([1.0, 2.0, 3.0], [9.0] * 10, fpr=0.01)
    assert (found.threshold, found.fpr) == (3.0, 0.25)


def test_the_share_of_clean_rows_decides_between_thresholds() -> None:
    """Nine in a hundred lie between the two largest clean scores: the stricter threshold loses them."""
    clean = [0.0] * 97 + [5.0, 10.0]
    suspect = [11.0] * 4 + [7.0] * 96
    assert calibrate(clean, suspect, fpr=0.02).threshold == 5.0
    assert calibrate(clean, suspect, fpr=0.01).threshold == 10.0
    odd = calibrate(clean, [11.0] * 2 + [0.0] * 98, fpr=0.02, false_share=0.02)
    assert odd.threshold == 10.0, "no threshold is good enough: the better of the two"


def test_the_tail_by_hand() -> None:
    """One of two draws above the largest of three clean rows: 1 - P(none) = 1 - 3/4 · 4/5."""
    assert upper_tail(1, draws=2, a=1, b=3) == pytest.approx(1 - 3 / 4 * 4 / 5)
    assert upper_tail(2, draws=2, a=1, b=3) == pytest.approx(1 / 4 * 2 / 5)
    assert upper_tail(0, draws=2, a=1, b=3) == 1.0
    certain = sum(comb(20, k) * 0.3**k * 0.7 ** (20 - k) for k in range(9, 21))
    assert upper_tail(9, draws=20, a=3e7, b=7e7) == pytest.approx(certain, rel=1e-4), "many clean rows: a binomial"


@pytest.mark.parametrize("clean_rows", [60, 640])
def test_a_clean_pool_is_seldom_called_poisoned_and_the_rate_holds(clean_rows: int) -> None:
    rng = np.random.default_rng(0)
    runs = [calibrate(list(rng.gumbel(size=clean_rows)), list(rng.gumbel(size=800)), fpr=0.02) for _ in range(300)]
    assert sum(one.found for one in runs) / len(runs) <= 0.02
    assert all(one.fpr <= one.fpr_bound <= 0.02 for one in runs)
    assert np.mean([one.above / 800 for one in runs]) <= 1.1 * np.mean([one.fpr_bound for one in runs])


@pytest.mark.parametrize("poisoned", [80, 160])
def test_a_pool_with_outliers_is_found_and_mostly_outliers_are_flagged(poisoned: int) -> None:
    rng = np.random.default_rng(1)
    precision, recall = [], []
    for _ in range(100):
        clean, outliers = rng.normal(size=800 - poisoned), rng.normal(8.0, size=poisoned)
        one = calibrate(list(rng.normal(size=640)), [*clean, *outliers], fpr=0.01)
        assert one.found
        hits = (outliers > one.threshold).sum()
        precision.append(hits / one.above)
        recall.append(hits / poisoned)
    assert np.mean(precision) > 0.97
    assert np.mean(recall) > 0.99


def test_a_threshold_is_lifted_into_a_wide_gap_above_it_by_hand() -> None:
    """Twenty rows above 1: two stragglers, a gap from 1.2 to 3, the rest around 4; the median is 4."""
    rest = [3.0, *([4.0] * 17)]
    assert raised_into_gap(1.0, [0.5, 1.1, 1.2, *rest]) == pytest.approx(2.1)
    assert raised_into_gap(1.0, [0.5, *rest]) == pytest.approx(2.0), "an empty gap: no row changes, a larger margin"
    assert raised_into_gap(1.0, [1.1, 1.2, 1.3, 1.4, 1.5, *rest]) == 1.0, "five of twenty-three are more than a fifth"
    assert raised_into_gap(1.0, [1 + i / 10 for i in range(1, 31)]) == 1.0, "no gap is wide"
    assert raised_into_gap(1.0, [0.5, 1.0]) == 1.0, "nothing lies above"


@pytest.mark.parametrize("seed", range(5))
def test_a_victim_that_is_surer_of_its_training_rows_costs_less_precision(seed: int) -> None:
    """Clean suspect rows lie a third of a deviation further up than the rows that calibrate."""
    rng = np.random.default_rng(seed)
    clean, poisoned = rng.normal(0.33, size=900), rng.normal(9.0, 0.5, size=100)
    scores = [*clean, *poisoned]
    threshold = calibrate(list(rng.normal(size=360)), scores, fpr=0.01).threshold
    better = raised_into_gap(threshold, scores)
    assert (clean > better).sum() <= (clean > threshold).sum()
    assert (clean > better).sum() <= 2
    assert (poisoned > better).sum() >= 80


@pytest.mark.parametrize(
    ("clean", "more"),
    [([], {}), ([float("nan")], {}), ([1.0], {"fpr": 0.0}), ([1.0], {"fpr": 1.0})],
)
def test_what_cannot_be_calibrated_is_refused(clean: list[float], more: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        calibrate(clean, [1.0], **{"fpr": 0.01, **more})


@pytest.mark.parametrize(
    "more", [{"chance": 0.0}, {"chance": 1.0}, {"margin": -0.1}, {"gap_rows": 1.0}, {"gap_width": 0.0}]
)
def test_calibration_options_out_of_range_are_refused(more: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="gap_width"):
        CalibrationOptions(**more)
