"""Outcomes, and the rates, intervals and differences that are counted from them.

The intervals are written out here although libraries have some of them, because a scan computes one for every candidate and
``import untrigger`` must stay light: Wilson's is ``scipy.stats.binomtest(...).proportion_ci("wilson")`` (which also runs an
exact test each time), Newcombe's ``statsmodels.stats.proportion.confint_proportions_2indep(method="newcomb")``; neither library
has Tango's or Fieller's. ``tests/core/test_outcome.py`` compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf, sqrt

import pydantic.dataclasses

from untrigger.core.validation import Number, Text, Whole

NORMAL_95 = 1.959963984540054
"""The normal quantile of a two-sided 95 % interval (``scipy.stats.norm.ppf(0.975)``)."""


@dataclass(frozen=True)
class Outcome:
    """The prediction of one subject for one text.

    Attributes:
        row: id of the row.
        subject: name of the model.
        triggered: whether the text holds the trigger.
        label: the true label.
        prediction: the predicted label.
        confidence: the probability of ``prediction``, 0 to 1.
    """

    row: str
    subject: str
    triggered: bool
    label: int
    prediction: int
    confidence: float


@pydantic.dataclasses.dataclass(frozen=True)
class Measurement:
    """A value with its interval and sample size. An empty sample is not measured: ``value`` is None, never 0."""

    subject: Text
    metric: Text
    value: Number
    low: Number
    high: Number
    n: Whole

    def percent(self) -> str:
        """Return the value and interval in per cent, or ``not measured``."""
        if self.value is None:
            return "not measured"
        if self.low is None or self.high is None:
            return f"{100 * self.value:.1f} %"
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f}, n = {self.n})"


def rate(hits: Iterable[bool], *, subject: str, metric: str) -> Measurement:
    """Return the share of true values with its 95 % Wilson interval."""
    flags = list(hits)
    low, high = wilson(sum(flags), len(flags))
    value = sum(flags) / len(flags) if flags else None
    return Measurement(subject, metric, value, low, high, len(flags))


def wilson(hits: int, n: int, *, z: float = NORMAL_95) -> tuple[float | None, float | None]:
    """Return the Wilson score interval of ``hits`` out of ``n``, ``(None, None)`` for an empty sample."""
    if n == 0:
        return None, None
    p = hits / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def unpaired_difference(left: Measurement, right: Measurement, *, metric: str) -> Measurement:
    """Return ``left - right`` of two rates on different rows, with Newcombe's interval (1998, method 10).

    The two samples are treated as independent. For two models on the same rows use ``paired_difference``.
    """
    parts = (left.value, left.low, left.high, right.value, right.low, right.high)
    if any(part is None for part in parts):
        return Measurement(left.subject, metric, None, None, None, min(left.n, right.n))
    p, p_low, p_high, q, q_low, q_high = (float(part) for part in parts if part is not None)
    low = (p - q) - sqrt((p - p_low) ** 2 + (q_high - q) ** 2)
    high = (p - q) + sqrt((p_high - p) ** 2 + (q - q_low) ** 2)
    return Measurement(left.subject, metric, p - q, low, high, min(left.n, right.n))


def paired_difference(pairs: Iterable[tuple[bool, bool]], *, subject: str, metric: str) -> Measurement:
    """Return the share of true first values minus that of true second ones, with Tango's 95 % score interval.

    Args:
        pairs: one for each row: what was true of the first model there, and of the second.
        subject: of the measurement.
        metric: of the measurement.
    """
    rows = list(pairs)
    n = len(rows)
    if n == 0:
        return Measurement(subject, metric, None, None, None, 0)
    first, second = sum(a and not b for a, b in rows), sum(b and not a for a, b in rows)
    low, high = tango(first, second, n)
    return Measurement(subject, metric, (first - second) / n, low, high, n)


def paired_ratio(pairs: Iterable[tuple[float, float]], *, subject: str, metric: str) -> Measurement:
    """Return the mean of the first values over that of the second ones, with Fieller's 95 % interval (1954).

    Not measured where the second mean is not above 0 beyond its own interval: then the ratio's interval has no end.

    Args:
        pairs: one for each row: numerator and denominator there.
        subject: of the measurement.
        metric: of the measurement.
    """
    rows = list(pairs)
    n = len(rows)
    top, bottom = (sum(row[i] for row in rows) / max(1, n) for i in (0, 1))

    def covariance(i: int, j: int) -> float:
        """Return the covariance of two means."""
        means = (top, bottom)
        return sum((row[i] - means[i]) * (row[j] - means[j]) for row in rows) / max(1, n) ** 2

    z = NORMAL_95**2
    square = bottom**2 - z * covariance(1, 1)
    if bottom <= 0 or square <= 0:
        return Measurement(subject, metric, None, None, None, n)
    product, constant = top * bottom - z * covariance(0, 1), top**2 - z * covariance(0, 0)
    half = sqrt(max(0.0, product**2 - square * constant))
    return Measurement(subject, metric, top / bottom, (product - half) / square, (product + half) / square, n)


def tango(first: int, second: int, n: int, *, z: float = NORMAL_95) -> tuple[float, float]:
    """Return the score interval of a paired difference (Tango 1998, Stat. Med. 17, 891-908).

    Args:
        first: pairs in which only the first value is true.
        second: pairs in which only the second value is true.
        n: all pairs, at least one.
        z: normal quantile of the level.
    """
    estimate = (first - second) / n

    def rejected(delta: float) -> bool:
        return abs(_tango_statistic(first, second, n, delta=delta)) > z

    return _bound(rejected, inside=estimate, outside=-1.0), _bound(rejected, inside=estimate, outside=1.0)


def _tango_statistic(first: int, second: int, n: int, *, delta: float) -> float:
    """Return the test statistic of the hypothesis that the true difference is ``delta``; standard normal if it is."""
    b = -first - second + (2 * n - first + second) * delta
    c = -second * delta * (1 - delta)
    only_second = max(0.0, (sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n))  # maximum likelihood under the hypothesis
    variance = n * (2 * only_second + delta * (1 - delta))
    gap = first - second - n * delta
    if variance <= 0:
        return 0.0 if abs(gap) < 1e-9 else inf
    return gap / sqrt(variance)


def _bound(rejected: Callable[[float], bool], *, inside: float, outside: float) -> float:
    """Return where ``rejected`` becomes true between ``inside`` and ``outside``, by bisection; ``outside`` if nowhere."""
    if not rejected(outside):
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if rejected(middle) else (middle, outside)
    return outside


def select(outcomes: Sequence[Outcome], *, subject: str, triggered: bool) -> list[Outcome]:
    """Return the outcomes of one subject on triggered or on clean texts."""
    return [o for o in outcomes if o.subject == subject and o.triggered == triggered]
