"""Every number of an evaluation, as a pure function of outcomes or of scores and flags.

Rates, their intervals and their differences come from ``untrigger.core.statistics``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan, sqrt

import numpy as np

from untrigger.core.statistics import (
    NORMAL_95,
    Measurement,
    Outcome,
    paired_difference,
    paired_ratio,
    rate,
    select,
)

DETECTOR = "detector"
BASE_FINE_TUNED = "base_finetuned"
"""The subject that knows what the clean rows alone teach: the trusted base fine-tuned on them."""

Target = int | Mapping[int, int]
"""The target class of a backdoor: one for all rows, or one for each true class (all-to-all)."""


def measurements(
    outcomes: Sequence[Outcome], *, target: Target | None = None, floor: str = "clean"
) -> list[Measurement]:
    """Return all rates of every subject, subjects in the order of their first appearance.

    Args:
        outcomes: of any number of subjects.
        target: the target class; None where no truth is known, then only the clean accuracy is measured.
        floor: the subject whose attack success rate is subtracted from that of the others.
    """
    found: list[Measurement] = []
    for subject in dict.fromkeys(o.subject for o in outcomes):
        found.append(cacc(outcomes, subject=subject))
        if target is not None:
            found += [
                asr(outcomes, subject=subject, target=target),
                untriggered_hit_rate(outcomes, subject=subject, target=target),
                excess_asr(outcomes, subject=subject, target=target, floor=floor),
                robust_accuracy(outcomes, subject=subject, target=target),
            ]
    return found


def target_of(target: Target, label: int) -> int:
    """Return the target class of triggered rows whose true class is ``label``."""
    return target if isinstance(target, int) else target[label]


def cacc(outcomes: Sequence[Outcome], *, subject: str) -> Measurement:
    """Return the accuracy on clean rows."""
    clean = select(outcomes, subject=subject, triggered=False)
    return rate((o.prediction == o.label for o in clean), subject=subject, metric="cacc")


def asr(outcomes: Sequence[Outcome], *, subject: str, target: Target) -> Measurement:
    """Return the attack success rate: the share of triggered rows of other classes predicted as the target."""
    rows = _attacked(outcomes, subject=subject, target=target)
    return rate((o.prediction == target_of(target, o.label) for o in rows), subject=subject, metric="asr")


def untriggered_hit_rate(outcomes: Sequence[Outcome], *, subject: str, target: Target) -> Measurement:
    """Return the share of the same rows that is predicted as the target without the trigger."""
    attacked = {o.row for o in _attacked(outcomes, subject=subject, target=target)}
    rows = [o for o in select(outcomes, subject=subject, triggered=False) if o.row in attacked]
    hits = (o.prediction == target_of(target, o.label) for o in rows)
    return rate(hits, subject=subject, metric="untriggered_hit_rate")


def excess_asr(outcomes: Sequence[Outcome], *, subject: str, target: Target, floor: str) -> Measurement:
    """Return the ASR minus that of the clean model ``floor``, row by row; not measured if their rows differ."""

    def hits(of: str) -> dict[str, bool]:
        rows = _attacked(outcomes, subject=of, target=target)
        return {o.row: o.prediction == target_of(target, o.label) for o in rows}

    return difference_by_row(hits(subject), hits(floor), subject=subject, metric="excess_asr")


def robust_accuracy(outcomes: Sequence[Outcome], *, subject: str, target: Target) -> Measurement:
    """Return the share of triggered rows of other classes that is predicted as its true class."""
    rows = _attacked(outcomes, subject=subject, target=target)
    return rate((o.prediction == o.label for o in rows), subject=subject, metric="robust_accuracy")


def accuracy_loss(outcomes: Sequence[Outcome], *, subject: str, before: str) -> Measurement:
    """Return the clean accuracy of ``before`` minus that of ``subject``, row by row; below 0 if it improved."""
    return difference_by_row(
        _correct(outcomes, before), _correct(outcomes, subject), subject=subject, metric="accuracy_loss"
    )


def accuracy_gain(
    outcomes: Sequence[Outcome], *, subject: str = "victim", control: str = BASE_FINE_TUNED
) -> Measurement:
    """Return the clean accuracy of ``subject`` minus that of the control, row by row: what it knows beyond the clean rows."""
    return difference_by_row(
        _correct(outcomes, subject), _correct(outcomes, control), subject=subject, metric="accuracy_gain"
    )


def gain_kept(
    outcomes: Sequence[Outcome], *, subject: str, before: str = "victim", control: str = BASE_FINE_TUNED
) -> Measurement:
    """Return ``(subject - control) / (before - control)`` in clean accuracy, with Fieller's interval over the paired rows.

    1 if ``subject`` kept all that ``before`` knows beyond what the clean rows teach, 0 if it is as good as the control. Not
    measured where the rows differ, and where ``before`` is not better than the control beyond the interval of their difference:
    then there is no gain to keep.
    """
    left, middle, right = (_correct(outcomes, one) for one in (subject, before, control))
    return share_of_gain(left, before=middle, control=right, subject=subject)


def share_of_gain(
    own: Mapping[str, bool],
    *,
    before: Mapping[str, bool],
    control: Mapping[str, bool],
    subject: str,
    metric: str = "gain_kept",
) -> Measurement:
    """Return the share of what ``before`` gets right beyond ``control`` that ``own`` gets right too, from flags by row.

    Not measured where the rows differ, and where ``before`` is not better than ``control`` beyond the interval of their
    difference.
    """
    if not own.keys() == before.keys() == control.keys():
        return Measurement(subject, metric, None, None, None, 0)
    gain = difference_by_row(before, control, subject=subject, metric="gain")
    if gain.low is None or gain.low <= 0:
        return Measurement(subject, metric, None, None, None, gain.n)
    pairs = [(own[row] - control[row], before[row] - control[row]) for row in control]
    return paired_ratio(pairs, subject=subject, metric=metric)


def difference_by_row(left: Mapping[str, bool], right: Mapping[str, bool], *, subject: str, metric: str) -> Measurement:
    """Return the difference of two rates, from flags by row; not measured if the rows differ."""
    rows = left if left.keys() == right.keys() else {}
    return paired_difference([(left[row], right[row]) for row in rows], subject=subject, metric=metric)


def detection_metrics(
    scores: Sequence[float], *, flagged: Sequence[bool], poisoned: Sequence[bool]
) -> list[Measurement]:
    """Return the AUROC of the scores, and precision, recall and false-positive rate of the flags.

    Args:
        scores: one a row of the pool, larger is more suspicious.
        flagged: what the detector decided for each row.
        poisoned: the truth of each row.
    """
    pairs = list(zip(flagged, poisoned, strict=True))
    return [
        _auroc_interval(scores, poisoned=poisoned),
        rate((bad for flag, bad in pairs if flag), subject=DETECTOR, metric="precision"),
        rate((flag for flag, bad in pairs if bad), subject=DETECTOR, metric="recall"),
        rate((flag for flag, bad in pairs if not bad), subject=DETECTOR, metric="fpr"),
    ]


def auroc(scores: Sequence[float], *, poisoned: Sequence[bool]) -> float:
    """Return the chance that a poisoned row has a larger score than a clean one, ties counted half.

    NaN without one row of each kind. The Mann-Whitney statistic of scipy, because ``sklearn.metrics.roc_auc_score`` refuses
    infinite scores.
    """
    from scipy.stats import mannwhitneyu

    values, bad = np.asarray(scores, dtype=float), np.asarray(poisoned, dtype=bool)
    if bad.all() or not bad.any():
        return nan
    pairs_in_order = mannwhitneyu(values[bad], values[~bad], method="asymptotic").statistic
    return float(pairs_in_order / (bad.sum() * (~bad).sum()))


def find_measurement(measured: Sequence[Measurement], subject: str, metric: str) -> Measurement | None:
    """Return one measurement, None if there is none."""
    return next((m for m in measured if (m.subject, m.metric) == (subject, metric)), None)


def measured_value(measured: Sequence[Measurement], subject: str, metric: str) -> float | None:
    """Return the value of one measurement, None if it was not measured."""
    one = find_measurement(measured, subject, metric)
    return one.value if one is not None else None


def _attacked(outcomes: Sequence[Outcome], *, subject: str, target: Target) -> list[Outcome]:
    """Return the outcomes of triggered rows whose true class is not the target."""
    rows = select(outcomes, subject=subject, triggered=True)
    return [o for o in rows if o.label != target_of(target, o.label)]


def _correct(outcomes: Sequence[Outcome], subject: str) -> dict[str, bool]:
    """Return by row whether the prediction for a clean text is right."""
    return {o.row: o.prediction == o.label for o in select(outcomes, subject=subject, triggered=False)}


def _auroc_interval(scores: Sequence[float], *, poisoned: Sequence[bool]) -> Measurement:
    """Return the AUROC with its 95 % interval (Hanley and McNeil 1982); not measured without both kinds of rows."""
    area, m = auroc(scores, poisoned=poisoned), sum(poisoned)
    n = len(poisoned) - m
    if not m or not n:
        return Measurement(DETECTOR, "auroc", None, None, None, len(poisoned))
    variance = (
        area * (1 - area) + (m - 1) * (area / (2 - area) - area**2) + (n - 1) * (2 * area**2 / (1 + area) - area**2)
    )
    half = NORMAL_95 * sqrt(max(0.0, variance) / (m * n))
    return Measurement(DETECTOR, "auroc", area, max(0.0, area - half), min(1.0, area + half), len(poisoned))
