"""The training of the student: clean rows are learned and flagged rows unlearned in one bounded loss.

The unlearning ends at the rate of a clean model: a student that never predicts the flagged rows' labels has learned the
trigger again, with the opposite meaning.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from torch import Tensor

from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.defences.bedkd.distillation import BeDKDLoss, FrozenOutputs, KDConfig, outputs
from untrigger.defences.bedkd.row_unlearning.clean_confidence import CleanConfidence, bounded_unlikelihood
from untrigger.defences.bedkd.row_unlearning.validation_monitor import ValidationMonitor
from untrigger.inversion.search import insert_at_random
from untrigger.models.classifier import Classifier
from untrigger.models.inference import log_odds
from untrigger.runtime.batching import shuffled_batches
from untrigger.training.loop import History, Plan, train


@dataclass(frozen=True)
class CleanRows:
    """Clean rows that the student learns, with the victim's logits for them ``(N, C)``."""

    rows: Rows
    logits: Tensor


class UnlearningObjective:
    """The loss ``L(clean rows) + w · bounded_unlikelihood(flagged rows)`` of one student, and its batches.

    A share of the clean rows is read with a piece of a flagged row in it, and learned as without it: whatever the trigger is, it
    must not change predictions for rows of any class. Both parts are bounded below and in one step: there are no two signs whose
    optimiser states could disturb each other.
    """

    def __init__(
        self,
        student: Classifier,
        *,
        clean: CleanRows,
        flagged: Rows,
        config: KDConfig,
        weight: float,
        confidence: CleanConfidence,
        pieces: float = 0.0,
        longest_piece: float = 0.5,
        seed: int = 0,
    ) -> None:
        """Keep all that the loss depends on.

        Args:
            student: is trained in place.
            clean: clean rows, the victim's logits computed without pieces.
            flagged: rows to unlearn.
            config: the weights of ``L``.
            weight: w.
            confidence: that of a clean model.
            pieces: the share of clean rows that is read with a piece, 0 to 1.
            longest_piece: as a share of the flagged row's words, 0 to 1.
            seed: of the pieces.
        """
        self.student, self.weight, self.confidence = student, weight, confidence
        self.border, self.pieces, self.longest_piece = len(clean.rows), pieces, longest_piece
        self.texts, self.flagged_texts = clean.rows.texts, flagged.texts
        self.ids = student.encode([*clean.rows.texts, *flagged.texts])
        self.labels = [*clean.rows.labels, *flagged.labels]
        frozen = FrozenOutputs(clean.logits, [])
        self.clean_loss = BeDKDLoss(
            student, self.ids[: self.border], labels=clean.rows.labels, frozen=frozen, config=config
        )
        self.draw = random.Random(seed)  # noqa: S311  # reproducible draws, no secrecy wanted

    def __call__(self, batch: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
        """Return the mean over the batch's rows, and the parts."""
        clean, flagged = [i for i in batch if i < self.border], [i for i in batch if i >= self.border]
        tokens = self.student.collate([*map(self._token_ids, clean), *(self.ids[i] for i in flagged)])
        logits, _ = outputs(self.student, tokens, hidden=False)
        value, terms = logits.sum() * 0.0, dict[str, float]()
        if clean:
            part, terms = self.clean_loss.of(clean, tokens, logits[: len(clean)], None)
            value = value + part * (len(clean) / len(batch))
        if flagged:
            labels = [self.labels[i] for i in flagged]
            odds = log_odds(logits[len(clean) :], labels)
            part = bounded_unlikelihood(odds, self.confidence.excess(odds, labels))
            value, terms["unlearning"] = value + self.weight * part * (len(flagged) / len(batch)), float(part.detach())
        return value, terms

    def _token_ids(self, index: int) -> Sequence[int]:
        """Return the token ids of a clean row, with or without a piece of a flagged one."""
        if self.draw.random() >= self.pieces:
            return self.ids[index]
        words = piece(self.draw.choice(self.flagged_texts), longest=self.longest_piece, rng=self.draw)
        return self.student.encode([insert_at_random(self.texts[index], words, rng=self.draw)])[0]

    def batches(self, *, size: int, flagged: int, steps: int, rng: np.random.Generator) -> list[list[int]]:
        """Draw ``steps`` batches of ``size`` rows, ``flagged`` of them flagged; every row once before any comes again.

        Clean rows of a rare class come more often (``oversampled``).
        """
        lengths, drawn = [len(row) for row in self.ids], oversampled(self.labels[: self.border])
        clean = _batches([lengths[i] for i in drawn], n=steps, size=size - flagged, rng=rng)
        unlearned = _batches(lengths[self.border :], n=steps, size=flagged, rng=rng)
        return [
            _interleaved([drawn[i] for i in a], [self.border + i for i in b])
            for a, b in zip(clean, unlearned, strict=True)
        ]

    def train(
        self,
        monitor: ValidationMonitor,
        *,
        plan: Plan,
        flagged: int,
        steps: int,
        rng: np.random.Generator,
        progress: Progress,
    ) -> History:
        """Train ``plan.epochs`` cycles of ``steps`` steps; the latest cycle that is not worse than another is kept."""
        size = plan.batch_size
        history = train(
            self.student.module,
            self,
            epochs=[self.batches(size=size, flagged=flagged, steps=steps, rng=rng) for _ in range(plan.epochs)],
            plan=plan,
            score=lambda: monitor.evaluate(self.student),
            progress=progress,
            label="unlearning the flagged rows",
        )
        if history.best_epoch != len(history.scores) - 1:
            monitor.evaluate(self.student)  # the kept cycle is not the last one evaluated
        return history


def piece(text: str, *, rng: random.Random, longest: float = 0.5) -> str:
    """Return neighbouring words of ``text``, from one to the share ``longest`` of them."""
    words = text.split()
    length = rng.randint(1, max(1, int(longest * len(words))))
    start = rng.randint(0, max(0, len(words) - length))
    return " ".join(words[start : start + length])


def oversampled(labels: Sequence[int]) -> list[int]:
    """Return the numbers of the rows, each as often as the root of the largest class's size over its own class's, rounded.

    In a hundred steps a class of 26 rows among 850 hardly occurs; classes of about one size stay as they are.
    """
    counts = Counter(labels)
    largest = max(counts.values(), default=0)
    return [i for i, label in enumerate(labels) for _ in range(round(sqrt(largest / counts[label])))]


def _batches(lengths: Sequence[int], *, n: int, size: int, rng: np.random.Generator) -> list[list[int]]:
    drawn: list[list[int]] = []
    while len(drawn) < n:
        drawn += shuffled_batches(lengths, size=size, rng=rng)
    return drawn[:n]


def _interleaved(left: Sequence[int], right: Sequence[int]) -> list[int]:
    """Return both lists' entries evenly mixed, a left one first: micro-batches of a batch shall hold both."""
    places = [((i + 0.25) / len(left), one) for i, one in enumerate(left)]
    places += [((i + 0.5) / len(right), one) for i, one in enumerate(right)]
    return [one for _, one in sorted(places, key=lambda place: place[0])]
