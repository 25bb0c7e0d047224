"""Held-out clean rows that candidates are confirmed on, for each target, with what both models predict without a candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from untrigger.core.rows import Rows
from untrigger.core.statistics import Measurement, rate, unpaired_difference
from untrigger.models.classifier import Classifier
from untrigger.models.inference import Predictions, as_bfloat16, predict_texts

POSITIONS = ("start", "middle", "end")
SPARE_TOKENS = 24
"""Tokens left free after the cut of a long text, so that a candidate at its end still reaches the model. Not tuned."""


class SplitRow(NamedTuple):
    """A row split in two where the candidate goes."""

    before: str
    after: str

    def with_text(self, text: str) -> str:
        """Return the row with ``text`` in it."""
        return " ".join(part for part in (self.before, text, self.after) if part)


@dataclass(frozen=True)
class HeldOutSet:
    """Held-out rows of other classes than one target.

    Attributes:
        suspect: the model under examination.
        reference: the clean reference model.
        target: the class that candidates may flip predictions to.
        rows: rows of other classes that both models classify correctly.
        splits: where each row takes a candidate.
        confidence: the suspect's probability of the true label, ``(N,)``.
        accuracies: of suspect and reference on the held-out rows of all classes.
        leads: of both, recall of ``target`` less its false positive rate; 0 for a model that always predicts one class.
        reference_model: the name of the reference among the measurements.
    """

    suspect: Classifier
    reference: Classifier
    target: int
    rows: Rows
    splits: list[SplitRow]
    confidence: Tensor
    accuracies: tuple[Measurement, Measurement]
    leads: tuple[Measurement, Measurement]
    reference_model: str = "reference"

    @property
    def label(self) -> str:
        """The name of the target."""
        return self.rows.label_names[self.target]

    @property
    def positions(self) -> list[str]:
        """The position at which each row takes a candidate."""
        return [POSITIONS[i % len(POSITIONS)] for i in range(len(self.rows))]

    def in_bfloat16(self) -> HeldOutSet:
        """Return the set with both models in bfloat16 where the processor gains by that."""
        return replace(self, suspect=as_bfloat16(self.suspect), reference=as_bfloat16(self.reference))


def held_out_sets(
    suspect: Classifier,
    reference: Classifier,
    *,
    rows: Rows,
    most: int,
    seed: int,
    reference_model: str = "reference",
) -> dict[str, HeldOutSet]:
    """Return for each label name a set of at most ``most`` rows of the other classes, drawn by the seed."""
    rows = rows.shuffled(np.random.default_rng(seed))
    rows = rows.with_texts(cut_long_texts(suspect, cut_long_texts(reference, rows.texts)))
    predictions = predict_texts(suspect, rows.texts), predict_texts(reference, rows.texts)
    accuracies = (
        _accuracy(predictions[0], rows, subject="suspect"),
        _accuracy(predictions[1], rows, subject="reference"),
    )
    probabilities = predictions[0].logits.softmax(dim=1)
    sets = {}
    for target, name in enumerate(suspect.label_names):
        kept = _usable(rows, predictions, target=target, most=most)
        chosen = rows.take(kept)
        sets[name] = HeldOutSet(
            suspect,
            reference,
            target,
            chosen,
            [split_at(text, position=POSITIONS[i % len(POSITIONS)]) for i, text in enumerate(chosen.texts)],
            torch.tensor([float(probabilities[i, rows.labels[i]]) for i in kept]),
            accuracies,
            (
                _lead(predictions[0], rows, target=target, subject="suspect"),
                _lead(predictions[1], rows, target=target, subject="reference"),
            ),
            reference_model,
        )
    return sets


def split_at(text: str, *, position: str) -> SplitRow:
    """Return the words of the text before and after ``position``."""
    words = text.split()
    at = {"start": 0, "middle": len(words) // 2, "end": len(words)}[position]
    return SplitRow(" ".join(words[:at]), " ".join(words[at:]))


def cut_long_texts(model: Classifier, texts: Sequence[str]) -> list[str]:
    """Return the texts as far as the model reads them, less ``SPARE_TOKENS`` where they are longer than that."""
    if not texts:
        return []
    most = max(2, model.max_length - SPARE_TOKENS)
    encoded = model.tokenizer(list(texts), truncation=True, max_length=most, return_offsets_mapping=True)
    ends = [max((end for _, end in spans), default=0) for spans in encoded["offset_mapping"]]
    return [text[:end] if len(text[:end].split()) > 1 else text for text, end in zip(texts, ends, strict=True)]


def _usable(rows: Rows, predictions: tuple[Predictions, Predictions], *, target: int, most: int) -> list[int]:
    """Return the first ``most`` rows of other classes, of two words or more, that both models classify correctly."""
    both = zip(rows.labels, *(found.predictions for found in predictions), strict=True)
    correct = [label == one == other for label, one, other in both]
    others = [i for i, label in enumerate(rows.labels) if label != target]
    return [i for i in others if correct[i] and len(rows.texts[i].split()) > 1][:most]


def _accuracy(found: Predictions, rows: Rows, *, subject: str) -> Measurement:
    hits = (p == y for p, y in zip(found.predictions, rows.labels, strict=True))
    return rate(hits, subject=subject, metric="cacc")


def _lead(found: Predictions, rows: Rows, *, target: int, subject: str) -> Measurement:
    """Return how much more often ``target`` is predicted for its own rows than for the others."""
    own, others = (
        [p == target for p, y in zip(found.predictions, rows.labels, strict=True) if (y == target) is wanted]
        for wanted in (True, False)
    )
    return unpaired_difference(
        rate(own, subject=subject, metric="recall"), rate(others, subject=subject, metric="false_alarms"), metric="lead"
    )
