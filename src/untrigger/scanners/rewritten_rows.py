"""Rows that the user gave in another style or sentence pattern: do predictions flip, and which way do their features move?

Two tests that need no word to be found, each against the clean reference. Do the rewritten rows keep their label (consistency
under paraphrase)? And where are their features, between the mean of the clean rows of their own class and that of another
(drift)? A style that was trained into a model moves all rows that have it, also those that do not cross the decision boundary.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor

from untrigger.core.candidate import AS_GIVEN, Candidate, CandidateMeasurement
from untrigger.core.rows import Rows
from untrigger.core.statistics import Measurement, rate, unpaired_difference
from untrigger.models.classifier import Classifier
from untrigger.models.inference import Predictions, predict_texts


def measure_rewritten(
    suspect: Classifier, reference: Classifier, rows: Rows, *, clean: Rows, name: str
) -> list[Candidate]:
    """Return for each class the flip rates of rewritten rows of the other classes, and their drift towards it.

    Args:
        suspect: the classifier under examination.
        reference: the clean one.
        rows: rewritten rows with their **true** labels.
        clean: rows as they are, whose features are the class means of either model.
        name: of the rewritten rows in the report.
    """
    models = (suspect, reference)
    predictions = [predict_texts(model, rows.texts) for model in models]
    means = [_class_means(predict_texts(model, clean.texts), clean) for model in models]
    made = []
    for target, label in enumerate(rows.label_names):
        others = [i for i, y in enumerate(rows.labels) if y != target]
        own, other = (
            rate((one.predictions[i] == target for i in others), subject=who, metric="flip_rate")
            for one, who in zip(predictions, ("suspect", "reference"), strict=True)
        )
        excess = unpaired_difference(own, other, metric="excess_flip_rate")
        made.append(_candidate(name, label, "rewritten", (own, other, excess)))
        labels = [rows.labels[i] for i in others]
        ways = [
            _drift(one.features[others], mean, labels, target) for one, mean in zip(predictions, means, strict=True)
        ]
        if others and all(bool(way.isfinite().all()) for way in ways):
            own, other = (_mean(way, who, "drift") for way, who in zip(ways, ("suspect", "reference"), strict=True))
            excess = _mean(ways[0] - ways[1], "suspect", "excess_drift")
            made.append(_candidate(name, label, "drift", (own, other, excess)))
    return made


def _candidate(name: str, label: str, kind: str, figures: tuple[Measurement, Measurement, Measurement]) -> Candidate:
    own, other, excess = figures
    measured = CandidateMeasurement("confirmation", AS_GIVEN, own.n, own.value, other.value, "reference")
    return Candidate(name, label, kind, own, other, excess, measurements=[measured])


def _class_means(predictions: Predictions, clean: Rows) -> Tensor:
    """Return the mean feature ``(C, d)`` of the clean rows of each class, NaN for a class without any."""
    labels = torch.tensor(clean.labels)
    return torch.stack([predictions.features[labels == label].mean(dim=0) for label in range(len(clean.label_names))])


def _drift(features: Tensor, means: Tensor, labels: Sequence[int], target: int) -> Tensor:
    """Return how far each row ``(N, d)`` is from the mean of its own class (0) to that of ``target`` (1), ``(N,)``.

    Measured along the straight line between the two. The clean rows of a class are at 0 on average.
    """
    start = means[list(labels)]
    way = means[target] - start
    return ((features - start) * way).sum(dim=1) / way.square().sum(dim=1)


def _mean(values: Tensor, subject: str, metric: str) -> Measurement:
    """Return the mean with its 95 % interval (normal approximation)."""
    mean = float(values.mean())
    if len(values) < 2:
        return Measurement(subject, metric, mean, None, None, len(values))
    half = 1.96 * float(values.std()) / sqrt(len(values))
    return Measurement(subject, metric, mean, mean - half, mean + half, len(values))
