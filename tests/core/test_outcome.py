"""Rates and their intervals, against published values."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap, norm
from statsmodels.stats.proportion import confint_proportions_2indep

from untrigger.core.statistics import (
    NORMAL_95,
    Measurement,
    Outcome,
    paired_difference,
    paired_ratio,
    rate,
    select,
    tango,
    unpaired_difference,
    wilson,
)

# Newcombe 1998 (Stat. Med. 17, 857-872), table I, method 3: the Wilson score interval without continuity correction.
PUBLISHED = [
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718),
]


@pytest.mark.parametrize(("hits", "n", "low", "high"), PUBLISHED)
def test_wilson_as_published(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)


@given(n=st.integers(1, 3000), share=st.floats(0, 1))
def test_the_interval_holds_the_value_and_stays_a_share(n: int, share: float) -> None:
    hits = round(share * n)
    low, high = wilson(hits, n)
    assert low is not None
    assert high is not None
    assert 0 <= low <= hits / n + 1e-12
    assert hits / n - 1e-12 <= high <= 1
    mirrored = wilson(n - hits, n)
    assert mirrored == pytest.approx((1 - high, 1 - low))


# Newcombe 1998 (Stat. Med. 17, 873-890), table II, method 10: the difference of two independent proportions.
DIFFERENCES = [
    ((56, 70), (48, 80), 0.2, 0.0524, 0.3339),
    ((9, 10), (3, 10), 0.6, 0.1705, 0.8090),
    ((10, 10), (0, 20), 1.0, 0.6791, 1.0),
]


@pytest.mark.parametrize(("left", "right", "value", "low", "high"), DIFFERENCES)
def test_the_difference_as_published(
    left: tuple[int, int], right: tuple[int, int], value: float, low: float, high: float
) -> None:
    one, other = (
        rate([True] * hits + [False] * (n - hits), subject=name, metric="asr")
        for name, (hits, n) in (("purified", left), ("clean", right))
    )
    result = unpaired_difference(one, other, metric="excess_asr")
    assert (result.value, result.low, result.high) == pytest.approx((value, low, high), abs=1e-4)
    assert (result.subject, result.metric, result.n) == ("purified", "excess_asr", min(left[1], right[1]))


@given(n=st.integers(1, 500), m=st.integers(1, 500), data=st.data())
def test_the_intervals_are_those_of_the_libraries(n: int, m: int, data: st.DataObject) -> None:
    hits, other = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    expected = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-9)
    left, right = (rate([True] * a + [False] * (b - a), subject="s", metric="m") for a, b in ((hits, n), (other, m)))
    result = unpaired_difference(left, right, metric="m")
    low, high = confint_proportions_2indep(hits, n, other, m, method="newcomb")
    assert (result.low, result.high) == pytest.approx((low, high), abs=1e-9)


def test_the_quantile_is_that_of_the_normal_distribution() -> None:
    assert pytest.approx(norm.ppf(0.975), abs=1e-15) == NORMAL_95


def test_nothing_counted_is_not_measured_and_never_zero() -> None:
    empty = rate([], subject="victim", metric="asr")
    assert (empty.value, empty.low, empty.high, empty.n) == (None, None, None, 0)
    assert empty.percent() == "not measured"
    full = rate([True, False], subject="clean", metric="asr")
    for pair in ((empty, full), (full, empty)):
        assert unpaired_difference(*pair, metric="excess_asr").value is None


def test_a_rate_is_printed_with_its_interval() -> None:
    assert rate([True] * 81 + [False] * 182, subject="v", metric="asr").percent() == "30.8 % (25.5 to 36.6, n = 263)"
    assert Measurement("v", "auroc", 0.5, None, None, 9).percent() == "50.0 %"


def test_select_keeps_one_subject_and_one_kind_of_text() -> None:
    rows = [Outcome("1", s, t, 0, 1, 0.9) for s in ("victim", "clean") for t in (False, True)]
    assert select(rows, subject="clean", triggered=True) == [rows[3]]


def test_the_paired_difference_as_published() -> None:
    """Airway reactivity before and after stem cell transplantation, as in Fagerland, Lydersen and Laake 2014."""
    pairs = [(True, True), (True, False), *[(False, True)] * 7, *[(False, False)] * 12]
    result = paired_difference(pairs, subject="purified", metric="accuracy_loss")
    assert (result.value, result.low, result.high) == pytest.approx((-6 / 21, -0.517, -0.026), abs=5e-4)
    assert (result.subject, result.metric, result.n) == ("purified", "accuracy_loss", 21)


def test_no_pairs_are_not_measured() -> None:
    result = paired_difference([], subject="purified", metric="excess_asr")
    assert (result.value, result.low, result.high, result.n) == (None, None, None, 0)


@given(n=st.integers(1, 400), data=st.data())
def test_the_paired_interval_holds_the_value_and_turns_with_the_sign(n: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, n))
    second = data.draw(st.integers(0, n - first))
    low, high = tango(first, second, n)
    assert -1 <= low <= (first - second) / n + 1e-9
    assert (first - second) / n - 1e-9 <= high <= 1
    assert tango(second, first, n) == pytest.approx((-high, -low), abs=1e-9)


@pytest.mark.parametrize("n", [20, 40])
def test_the_paired_interval_covers_the_truth_as_often_as_it_says(n: int) -> None:
    """All tables of ``n`` pairs, each with its probability, for true shares of discordant pairs from none to a half."""
    tables = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
    intervals = {table: tango(*table, n) for table in tables}
    ways = {(b, c): comb(n, b) * comb(n - b, c) for b, c in tables}
    covered = []
    for p in (0.01, 0.05, 0.1, 0.2, 0.3):
        for q in (0.0, 0.02, 0.1, 0.2):
            held = [t for t in tables if intervals[t][0] <= p - q <= intervals[t][1]]
            covered.append(sum(ways[b, c] * p**b * q**c * (1 - p - q) ** (n - b - c) for b, c in held))
    assert min(covered) > 0.92, "never far below 95 %"
    assert 0.94 < sum(covered) / len(covered) < 0.99, "and no wider than it has to be"


def test_pairs_that_agree_say_more_than_two_samples_of_their_size() -> None:
    """Two models that are right on the same 180 of 200 rows: the paired interval is far narrower than the unpaired one."""
    hits = [True] * 180 + [False] * 20
    paired = paired_difference(zip(hits, hits, strict=True), subject="a", metric="m")
    one, other = (rate(hits, subject=name, metric="m") for name in "ab")
    apart = unpaired_difference(one, other, metric="m")
    assert paired.value == apart.value == 0
    assert (paired.high or 1) < 0.4 * (apart.high or 0)


def test_the_ratio_by_hand() -> None:
    """Means 1 and 2; variances of the means 2/9 and 2/27, their covariance 1/9: the roots of Fieller's quadratic."""
    ratio_of_means = paired_ratio([(0.0, 5 / 3), (1.0, 2.0), (2.0, 7 / 3)], subject="s", metric="m")
    z = NORMAL_95**2
    a, b, c = 4 - z * 2 / 81, 2 - z * 2 / 27, 1 - z * 2 / 9
    roots = [(b - (b * b - a * c) ** 0.5) / a, (b + (b * b - a * c) ** 0.5) / a]
    assert (ratio_of_means.value, ratio_of_means.low, ratio_of_means.high, ratio_of_means.n) == pytest.approx(
        (0.5, *roots, 3)
    )


def test_the_ratio_has_the_interval_of_the_bootstrap() -> None:
    rng = np.random.default_rng(0)
    control = rng.random(600) < 0.75
    victim, purified = (np.where(control, rng.random(600) < keep, rng.random(600) < 0.6) for keep in (0.97, 0.95))
    top, bottom = purified * 1.0 - control, victim * 1.0 - control
    ratio_of_means = paired_ratio(zip(top.tolist(), bottom.tolist(), strict=True), subject="s", metric="m")

    def ratio(left: np.ndarray, right: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(left.mean(axis=axis) / right.mean(axis=axis))

    drawn = bootstrap((top, bottom), ratio, paired=True, n_resamples=2000, method="percentile", random_state=1)
    assert (ratio_of_means.low, ratio_of_means.high) == pytest.approx(tuple(drawn.confidence_interval), abs=0.03)
    assert (
        ratio_of_means.low is not None
        and ratio_of_means.high is not None
        and ratio_of_means.low < float(ratio(top, bottom)) < ratio_of_means.high
    )


def test_a_ratio_to_what_may_be_nothing_is_not_measured() -> None:
    for pairs in ([], [(1.0, 0.0)] * 9, [(1.0, -1.0)] * 9, [(1.0, 1.0), (1.0, -1.0), (1.0, 1.0), (1.0, 0.0)]):
        ratio_of_means = paired_ratio(pairs, subject="s", metric="m")
        assert (ratio_of_means.value, ratio_of_means.low, ratio_of_means.high, ratio_of_means.n) == (
            None,
            None,
            None,
            len(pairs),
        )
