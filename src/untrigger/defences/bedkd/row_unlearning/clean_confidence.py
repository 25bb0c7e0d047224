"""What a clean model would predict for flagged rows, and how far the student still is from that."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.defences.bedkd.row_sets import concatenated
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.training.vector_scaling import fit_vector_scaling


def standard_error(share: float, n: int) -> float:
    """Return the standard error of a share of ``n`` rows."""
    return sqrt(share * (1 - share) / n) if n else 0.0


def false_label_rate(predictions: Sequence[int], clean: Rows, *, flagged: Rows) -> float:
    """Return how often clean rows of other classes get the flagged rows' labels, in the proportion of the flagged labels."""
    rates = {}
    for label in set(flagged.labels):
        others = [p == label for p, y in zip(predictions, clean.labels, strict=True) if y != label]
        rates[label] = sum(others) / len(others) if others else 0.0
    return sum(rates[label] for label in flagged.labels) / len(flagged) if len(flagged) else 0.0


class CleanPredictions(NamedTuple):
    """The victim's predictions for clean rows, calibrated on them, so that a bias towards the backdoor's class is removed.

    Attributes:
        rows: clean rows that the victim was not trained on, first those that the student is trained on.
        logits: ``(N, C)``.
    """

    rows: Rows
    logits: Tensor

    @classmethod
    def of(cls, model: Classifier, *, rows: Rows, dev: Rows, progress: Progress) -> CleanPredictions:
        """Predict ``rows``, then ``dev``, and calibrate on both."""
        clean = concatenated([rows, dev], names=rows.label_names)
        logits = predict_texts(model, clean.texts, progress=progress, label="predictions of the victim").logits
        return cls(clean, fit_vector_scaling(logits, torch.tensor(clean.labels))(logits))

    def false_label_rate(self, flagged: Rows) -> float:
        """Return how often rows of other classes get the labels of ``flagged``."""
        return false_label_rate(self.logits.argmax(dim=1).tolist(), self.rows, flagged=flagged)

    def false_label_bound(self, flagged: Rows, *, n: int) -> float:
        """Return the same rate plus one standard error of a share of ``n`` rows."""
        share = self.false_label_rate(flagged)
        return share + standard_error(share, n)


class CleanConfidence:
    """The confidence of a clean model in each class on rows of other classes, and that of the student on flagged rows."""

    def __init__(self, logits: Tensor, labels: Sequence[int], *, memory: int = 32) -> None:
        """Keep calibrated logits ``(N, C)`` of clean rows; the running mean spans about ``memory`` flagged rows."""
        p, truth = logits.softmax(dim=1), torch.tensor(list(labels))
        self.expected = [
            float(p[truth != y, y].mean()) if bool((truth != y).any()) else 0.0 for y in range(logits.shape[1])
        ]
        self.memory, self.student = memory, dict[int, float]()

    def excess(self, odds: Tensor, labels: Sequence[int]) -> list[float]:
        """Return for each row the excess ``(m - q) / (1 - q)`` of its label, from -q / (1 - q) to 1, these rows included.

        ``m`` is the running mean of ``p(y)`` over flagged rows with the label ``y``, ``q`` that of a clean model.

        Args:
            odds: ``(B,)``, the log-odds that the student gives to the flagged rows' labels.
            labels: their labels.
        """
        p = odds.detach().sigmoid().tolist()
        for y in set(labels):
            new = [one for one, label in zip(p, labels, strict=True) if label == y]
            mean, share = sum(new) / len(new), min(1.0, len(new) / self.memory)
            self.student[y] = mean if y not in self.student else (1 - share) * self.student[y] + share * mean
        return [(self.student[y] - self.expected[y]) / (1 - self.expected[y]) for y in labels]


def bounded_unlikelihood(odds: Tensor, excess: Sequence[float]) -> Tensor:
    """Return the unlearning loss, mean over the rows: ``e · -log(1 - p)`` for an excess ``e`` above 0, ``|e| · -log p`` below.

    An unlikelihood (1908.04319) whose sign and weight follow the excess: bounded below by 0, and zero if the student's confidence
    in the labels of the flagged rows **as a whole** is that of a clean model: then no row is pushed, and its content decides.
    ``odds`` are ``(B,)``.
    """
    e = torch.tensor(list(excess), device=odds.device, dtype=odds.dtype)
    return (e.abs() * functional.softplus(odds * e.sign())).mean()
