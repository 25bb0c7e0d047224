"""How well a detector found the poisoned rows: numbers of scores, flags and the truth."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan, sqrt

import numpy as np

from untrigger.core.statistics import Measurement, rate

SUBJECT = "detector"


def detection(scores: Sequence[float], *, flagged: Sequence[bool], poisoned: Sequence[bool]) -> list[Measurement]:
    """AUROC of the scores; precision, recall and false-positive rate of the flags; each over the whole pool.

    Args:
        scores: one a row, larger is more suspicious.
        flagged: what the detector says of each row.
        poisoned: what is true of it.
    """
    pairs = list(zip(flagged, poisoned, strict=True))
    return [
        _auroc(scores, poisoned=poisoned),
        rate((bad for flag, bad in pairs if flag), subject=SUBJECT, metric="precision"),
        rate((flag for flag, bad in pairs if bad), subject=SUBJECT, metric="recall"),
        rate((flag for flag, bad in pairs if not bad), subject=SUBJECT, metric="fpr"),
    ]


def auroc(scores: Sequence[float], *, poisoned: Sequence[bool]) -> float:
    """The chance that a poisoned row has a larger score than a clean one, ties counted half; NaN without one of each.

    By ranks (Mann-Whitney): ``(sum of the poisoned rows' ranks - m(m + 1)/2) / (m n)``.
    """
    bad = np.asarray(poisoned, dtype=bool)
    m, n = int(bad.sum()), int((~bad).sum())
    if not m or not n:
        return nan
    _, inverse, counts = np.unique(np.asarray(scores, dtype=float), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[bad].sum() - m * (m + 1) / 2) / (m * n))


def _auroc(scores: Sequence[float], *, poisoned: Sequence[bool]) -> Measurement:
    """The area with its 95 % interval (Hanley and McNeil 1982); not measured without both kinds of rows."""
    area, m = auroc(scores, poisoned=poisoned), sum(poisoned)
    n = len(poisoned) - m
    if not m or not n:
        return Measurement(SUBJECT, "auroc", None, None, None, len(poisoned))
    spread = (
        area * (1 - area) + (m - 1) * (area / (2 - area) - area**2) + (n - 1) * (2 * area**2 / (1 + area) - area**2)
    )
    half = 1.959963984540054 * sqrt(max(0.0, spread) / (m * n))
    return Measurement(SUBJECT, "auroc", area, max(0.0, area - half), min(1.0, area + half), len(poisoned))
