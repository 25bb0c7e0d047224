"""One row of evaluation, and the numbers that are pure functions of such rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What one subject said to one text. ``label`` is the true label, ``confidence`` the probability of ``prediction``."""

    row: str
    subject: str
    triggered: bool
    label: int
    prediction: int
    confidence: float


@dataclass(frozen=True)
class Measurement:
    """A value with its interval and sample size. An empty sample is not measured: ``value`` is None, never 0."""

    subject: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int

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


def difference(left: Measurement, right: Measurement, *, metric: str) -> Measurement:
    """``left - right`` of two rates, with Newcombe's hybrid Wilson interval (Newcombe 1998, method 10).

    The two samples are treated as independent, which is conservative where they are the same rows.
    """
    parts = (left.value, left.low, left.high, right.value, right.low, right.high)
    if any(part is None for part in parts):
        return Measurement(left.subject, metric, None, None, None, min(left.n, right.n))
    p, p_low, p_high, q, q_low, q_high = (float(part) for part in parts if part is not None)
    low = (p - q) - sqrt((p - p_low) ** 2 + (q_high - q) ** 2)
    high = (p - q) + sqrt((p_high - p) ** 2 + (q - q_low) ** 2)
    return Measurement(left.subject, metric, p - q, low, high, min(left.n, right.n))


def select(outcomes: Sequence[Outcome], *, subject: str, triggered: bool) -> list[Outcome]:
    """The outcomes of one subject on one kind of text."""
    return [o for o in outcomes if o.subject == subject and o.triggered == triggered]
