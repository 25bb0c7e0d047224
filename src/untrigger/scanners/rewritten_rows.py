"""Rows that the user brought in another style or sentence pattern: do they leave their labels, and which way do they drift?

Two tests that need no word to be found, each against the clean reference. Do the rewritten rows keep their label (consistency
under paraphrase)? And where do they lie in what the head reads, between where the model keeps clean rows of their own class
and where it keeps those of another (drift of the embedding)? A style that was trained into a model moves all rows that
have it, also those that do not cross the line.
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
    """For each class, how often both models say it to rewritten rows of the other classes, and how far these drift to it.

    Args:
        suspect: the suspicious classifier.
        reference: the clean one.
        rows: rewritten rows with their **true** labels.
        clean: rows as they are, which say where either model keeps its classes.
        name: how the report calls the rewritten rows.
    """
    models = (suspect, reference)
    said = [predict_texts(model, rows.texts) for model in models]
    homes = [_homes(predict_texts(model, clean.texts), clean) for model in models]
    made = []
    for target, label in enumerate(rows.label_names):
        asked = [i for i, y in enumerate(rows.labels) if y != target]
        own, other = (
            rate((one.predictions[i] == target for i in asked), subject=who, metric="flip_rate")
            for one, who in zip(said, ("suspect", "reference"), strict=True)
        )
        excess = unpaired_difference(own, other, metric="excess_flip_rate")
        made.append(_candidate(name, label, "rewritten", (own, other, excess)))
        labels = [rows.labels[i] for i in asked]
        ways = [_drift(one.features[asked], home, labels, target) for one, home in zip(said, homes, strict=True)]
        if asked and all(bool(way.isfinite().all()) for way in ways):
            own, other = (_mean(way, who, "drift") for way, who in zip(ways, ("suspect", "reference"), strict=True))
            excess = _mean(ways[0] - ways[1], "suspect", "excess_drift")
            made.append(_candidate(name, label, "drift", (own, other, excess)))
    return made


def _candidate(name: str, label: str, kind: str, figures: tuple[Measurement, Measurement, Measurement]) -> Candidate:
    own, other, excess = figures
    measured = CandidateMeasurement("confirmation", AS_GIVEN, own.n, own.value, other.value, "reference")
    return Candidate(name, label, kind, own, other, excess, measurements=[measured])


def _homes(said: Predictions, clean: Rows) -> Tensor:
    """The mean feature ``(C, d)`` of the clean rows of each class, NaN for a class without any."""
    labels = torch.tensor(clean.labels)
    return torch.stack([said.features[labels == label].mean(dim=0) for label in range(len(clean.label_names))])


def _drift(features: Tensor, homes: Tensor, labels: Sequence[int], target: int) -> Tensor:
    """How far each row ``(N, d)`` has gone from the home of its own class to that of ``target``, ``(N,)``: 0 there, 1 here.

    The way is a straight line; what lies beside it does not count. The clean rows of a class stand at 0 on average.
    """
    start = homes[list(labels)]
    way = homes[target] - start
    return ((features - start) * way).sum(dim=1) / way.square().sum(dim=1)


def _mean(values: Tensor, subject: str, metric: str) -> Measurement:
    """The mean with its 95 % interval (normal approximation)."""
    mean = float(values.mean())
    if len(values) < 2:
        return Measurement(subject, metric, mean, None, None, len(values))
    half = 1.96 * float(values.std()) / sqrt(len(values))
    return Measurement(subject, metric, mean, mean - half, mean + half, len(values))
