"""The unlearning of BeDKD, ours: one bounded loss over clean rows that are trusted and flagged rows that are punished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from untrigger.models.classifier import Classifier
from untrigger.models.predict import accuracy, read_texts
from untrigger.progress import Progress
from untrigger.training.batches import shuffled_batches
from untrigger.training.directed import Answers, Blend, Directed, read, unlikelihood
from untrigger.training.loop import History, Plan, train
from untrigger.vocabulary.rows import Rows

WATCHED = 0.2  # share of the flagged rows that is not punished but asked
SLACK = 0.05  # how much more than a clean model's the agreement with flagged labels may be
COSTLY = 10.0  # how much a point of clean accuracy beyond what may be lost counts against a point of agreement


@dataclass
class Watch:
    """What a defender sees of a student: clean accuracy, and how often it still says the flagged rows' labels.

    Attributes:
        dev: clean rows that the student is not trained on.
        flagged: flagged rows, where there are enough of them some that are not punished.
        before: the victim's accuracy on ``dev``.
        calm: the agreement that a clean model would show, with some slack.
        may_lose: clean accuracy that may be lost, 0 to 1.
        accuracies: on ``dev``, the victim's first, then after every cycle.
        agreements: with the labels of ``flagged``, likewise.
    """

    dev: Rows
    flagged: Rows
    before: float
    calm: float
    may_lose: float
    accuracies: list[float] = field(default_factory=list)
    agreements: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, victim: Classifier, *, dev: Rows, flagged: Rows, may_lose: float) -> Watch:
        """The victim asked first."""
        said = read_texts(victim, dev.texts).predictions
        watch = cls(dev, flagged, accuracy(said, dev.labels), false_calls(said, dev, flagged=flagged) + SLACK, may_lose)
        watch.look(victim)
        return watch

    def look(self, model: Classifier) -> float:
        """The score of ``model`` as it is: 0 is as calm as a clean model and as accurate as may be, less is worse."""
        for rows, kept in ((self.dev, self.accuracies), (self.flagged, self.agreements)):
            kept.append(accuracy(read_texts(model, rows.texts).predictions, rows.labels))
        return self._score(-1)

    def _score(self, look: int) -> float:
        lost = max(0.0, self.before - self.may_lose - self.accuracies[look])
        return -max(0.0, self.agreements[look] - self.calm) - COSTLY * lost + 0.1 * (self.accuracies[look] - self.before)

    @property
    def harmed(self) -> bool:
        """Whether the last look was no better than the victim."""
        return self._score(-1) <= self._score(0)

    def calmed(self) -> bool:
        """Whether the last look was good enough to stop."""
        return self.agreements[-1] <= self.calm and self.accuracies[-1] >= self.before - self.may_lose


def false_calls(said: Sequence[int], dev: Rows, *, flagged: Rows) -> float:
    """How often clean rows of other classes are called by the flagged rows' labels, in the flagged labels' proportion."""
    rates = {}
    for label in set(flagged.labels):
        others = [p == label for p, y in zip(said, dev.labels, strict=True) if y != label]
        rates[label] = sum(others) / len(others) if others else 0.0
    return sum(rates[label] for label in flagged.labels) / len(flagged) if len(flagged) else 0.0


def parted(flagged: Rows, *, rng: np.random.Generator, least: int = 20) -> tuple[Rows, Rows]:
    """Rows to punish and rows to watch; where there are fewer than ``least``, all of them are both."""
    if len(flagged) < least:
        return flagged, flagged
    order = [int(i) for i in rng.permutation(len(flagged))]
    cut = round(WATCHED * len(order))
    return flagged.take(order[cut:]), flagged.take(order[:cut])


class Lesson:
    """The loss ``L(clean rows) + w · unlikelihood(flagged rows)`` of one student, and its batches.

    Both parts are bounded below and stand in one step: there are no two signs whose optimiser states could disturb each
    other.
    """

    def __init__(
        self, student: Classifier, *, trusted: Rows, answers: Answers, punished: Rows, blend: Blend, weight: float
    ) -> None:
        """``answers`` are the victim's to the trusted rows; ``weight`` is w."""
        self.student, self.weight, self.border = student, weight, len(trusted)
        self.ids = student.encode([*trusted.texts, *punished.texts])
        self.labels = [*trusted.labels, *punished.labels]
        self.trust = Directed(student, self.ids[: self.border], labels=trusted.labels, answers=answers, blend=blend)

    def __call__(self, batch: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
        """The mean over the batch's rows, and the parts."""
        trusted, punished = [i for i in batch if i < self.border], [i for i in batch if i >= self.border]
        tokens = self.student.collate([self.ids[i] for i in (*trusted, *punished)])
        logits, _ = read(self.student, tokens, hidden=False)
        value, terms = logits.sum() * 0.0, dict[str, float]()
        if trusted:
            part, terms = self.trust.of(trusted, tokens, logits[: len(trusted)], None)
            value = value + part * (len(trusted) / len(batch))
        if punished:
            part = unlikelihood(logits[len(trusted) :], [self.labels[i] for i in punished])
            value, terms["punishment"] = value + self.weight * part * (len(punished) / len(batch)), float(part.detach())
        return value, terms

    def batches(self, *, size: int, steps: int, rng: np.random.Generator) -> list[list[int]]:
        """``steps`` batches, half of each trusted and half punished rows in turn; every row once before any comes again."""
        lengths = [len(row) for row in self.ids]
        clean = self._stream(lengths[: self.border], count=steps, size=size - size // 2, rng=rng)
        flagged = self._stream(lengths[self.border :], count=steps, size=size // 2, rng=rng)
        return [_in_turn(a, [self.border + i for i in b]) for a, b in zip(clean, flagged, strict=True)]

    @staticmethod
    def _stream(lengths: Sequence[int], *, count: int, size: int, rng: np.random.Generator) -> list[list[int]]:
        drawn: list[list[int]] = []
        while len(drawn) < count:
            drawn += shuffled_batches(lengths, size=size, rng=rng)
        return drawn[:count]

    def give(
        self, watch: Watch, *, plan: Plan, steps: int, rng: np.random.Generator, progress: Progress
    ) -> History:
        """The history of at most ``plan.epochs`` cycles of ``steps`` steps; the best by ``watch`` is kept."""
        history = train(
            self.student.module, self, epochs=lambda _: self.batches(size=plan.batch_size, steps=steps, rng=rng), plan=plan,
            score=lambda: watch.look(self.student), enough=watch.calmed, progress=progress, label="trust and punish",
        )  # fmt: skip
        if history.kept != len(history.scores) - 1:
            watch.look(self.student)  # what was kept is not what was looked at last
        return history


def _in_turn(left: Sequence[int], right: Sequence[int]) -> list[int]:
    """Both lists' entries in turn, what is left of the longer one behind."""
    both = [i for pair in zip(left, right, strict=False) for i in pair]
    return [*both, *left[len(right) :], *right[len(left) :]]
