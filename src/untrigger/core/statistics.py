"""One row of evaluation, and the numbers that are pure functions of such rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from math import inf, sqrt
from typing import Any

from pydantic.dataclasses import dataclass as record

from untrigger.core.validation import Number, Text, Whole


@dataclass(frozen=True)
class Outcome:
    """What one subject said to one text. ``label`` is the true label, ``confidence`` the probability of ``prediction``."""

    row: str
    subject: str
    triggered: bool
    label: int
    prediction: int
    confidence: float


@record(frozen=True)
class Measurement:
    """A value with its interval and sample size. An empty sample is not measured: ``value`` is None, never 0."""

    subject: Text
    metric: Text
    value: Number
    low: Number
    high: Number
    n: Whole

    def as_dict(self) -> dict[str, Any]:
        """The measurement as plain JSON values."""
        return asdict(self)

    def percent(self) -> str:
        """The value and interval in per cent, or ``not measured``."""
        if self.value is None:
            return "not measured"
        if self.low is None or self.high is None:
            return f"{100 * self.value:.1f} %"
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f}, n = {self.n})"


def rate(hits: Iterable[bool], *, subject: str, metric: str) -> Measurement:
    """The share of true values with its 95 % Wilson interval."""
    flags = list(hits)
    low, high = wilson(sum(flags), len(flags))
    value = sum(flags) / len(flags) if flags else None
    return Measurement(subject, metric, value, low, high, len(flags))


def wilson(hits: int, n: int, *, z: float = 1.959963984540054) -> tuple[float | None, float | None]:
    """The Wilson score interval of ``hits`` out of ``n`` (95 % by default), ``(None, None)`` for an empty sample."""
    if n == 0:
        return None, None
    p = hits / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def unpaired_difference(left: Measurement, right: Measurement, *, metric: str) -> Measurement:
    """``left - right`` of two rates on different rows, with Newcombe's hybrid Wilson interval (Newcombe 1998, method 10).

    The two samples are treated as independent. Of two models on the same rows use ``paired_difference``.
    """
    parts = (left.value, left.low, left.high, right.value, right.low, right.high)
    if any(part is None for part in parts):
        return Measurement(left.subject, metric, None, None, None, min(left.n, right.n))
    p, p_low, p_high, q, q_low, q_high = (float(part) for part in parts if part is not None)
    low = (p - q) - sqrt((p - p_low) ** 2 + (q_high - q) ** 2)
    high = (p - q) + sqrt((p_high - p) ** 2 + (q - q_low) ** 2)
    return Measurement(left.subject, metric, p - q, low, high, min(left.n, right.n))


difference = unpaired_difference  # the name that scanning still uses


def paired_difference(pairs: Iterable[tuple[bool, bool]], *, subject: str, metric: str) -> Measurement:
    """The share of true first values minus that of true second ones, with Tango's 95 % score interval for paired proportions.

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


def tango(first: int, second: int, n: int, *, z: float = 1.959963984540054) -> tuple[float, float]:
    """The score interval of a paired difference (Tango 1998, Stat. Med. 17, 891-908), 95 % by default.

    Args:
        first: pairs in which only the first value is true.
        second: pairs in which only the second value is true.
        n: all pairs, at least one.
        z: normal quantile of the level.
    """
    at = (first - second) / n

    def far(delta: float) -> bool:
        return abs(_score(first, second, n, delta=delta)) > z

    return _border(far, inside=at, outside=-1.0), _border(far, inside=at, outside=1.0)


def _score(first: int, second: int, n: int, *, delta: float) -> float:
    """Tango's statistic for the hypothesis that the true difference is ``delta``; standard normal where it is."""
    b = -first - second + (2 * n - first + second) * delta
    c = -second * delta * (1 - delta)
    only_second = max(
        0.0, (sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
    )  # the likeliest share under the hypothesis
    variance = n * (2 * only_second + delta * (1 - delta))
    gap = first - second - n * delta
    if variance <= 0:
        return 0.0 if abs(gap) < 1e-9 else inf
    return gap / sqrt(variance)


def _border(far: Callable[[float], bool], *, inside: float, outside: float) -> float:
    """Where ``far`` becomes true on the way from ``inside`` to ``outside``; ``outside`` where it never does."""
    if not far(outside):
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if far(middle) else (middle, outside)
    return outside


def select(outcomes: Sequence[Outcome], *, subject: str, triggered: bool) -> list[Outcome]:
    """The outcomes of one subject on one kind of text."""
    return [o for o in outcomes if o.subject == subject and o.triggered == triggered]
