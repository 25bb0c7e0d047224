"""The unlearning of BeDKD, ours: clean rows are trusted and flagged rows punished in one loss.

The punishment ends where an honest model would be: a student that never says the flagged rows' labels has learned the
trigger anew, turned round.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.defences.bedkd.distillation import Answers, Blend, Directed, read
from untrigger.defences.bedkd.synthetic_pool import together
from untrigger.inversion.search import insert_at_random
from untrigger.models.classifier import Classifier
from untrigger.models.inference import accuracy, log_odds, predict_texts
from untrigger.runtime.batching import shuffled_batches
from untrigger.training.loop import History, Plan, train
from untrigger.training.vector_scaling import fit_vector_scaling

WATCHED = 0.2  # share of the flagged rows that is not punished but asked
SLACK = 0.05  # how far from an honest model's the agreement with flagged labels may be, beyond what chance explains
COSTLY = 10.0  # how much a point of clean accuracy beyond what may be lost counts against a point of agreement
PIECE = 0.5  # the longest piece of a flagged row, as a share of its words


@dataclass
class Watch:
    """What a defender sees of a student: clean accuracy, and how often it still says the flagged rows' labels.

    Attributes:
        dev: clean rows that the student is not trained on.
        flagged: flagged rows, where there are enough of them some that are not punished.
        before: the victim's accuracy on ``dev``.
        calm: the agreement that an honest model would show; less is as wrong as more.
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
    def of(cls, victim: Classifier, *, dev: Rows, flagged: Rows, calm: float, may_lose: float) -> Watch:
        """The victim asked first."""
        watch = cls(dev, flagged, 0.0, calm, may_lose)
        watch.look(victim)
        watch.before = watch.accuracies[0]
        return watch

    def look(self, model: Classifier) -> float:
        """The score of ``model`` as it is: 0 where nothing tells it from a calm and accurate one, less is worse."""
        for rows, kept in ((self.dev, self.accuracies), (self.flagged, self.agreements)):
            kept.append(accuracy(predict_texts(model, rows.texts).predictions, rows.labels))
        return self._score(-1)

    def _score(self, look: int) -> float:
        """What lies within one standard error does not count: to choose by it would be to choose by chance."""
        lost = self.before - self.accuracies[look] - self.may_lose - _error(self.before, len(self.dev))
        off = abs(self.agreements[look] - self.calm) - SLACK - _error(self.calm, len(self.flagged))
        return -max(0.0, off) - COSTLY * max(0.0, lost)

    @property
    def harmed(self) -> bool:
        """Whether the last look was no better than the victim."""
        return self._score(-1) <= self._score(0)

    def calmed(self) -> bool:
        """Whether the last look was as good as can be told."""
        return self._score(-1) == 0


def _error(share: float, count: int) -> float:
    """The standard error of a share of ``count`` rows."""
    return sqrt(share * (1 - share) / count) if count else 0.0


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


class Honest(NamedTuple):
    """What the victim says to clean rows, calibrated on them, so that a lean towards the backdoor's class is taken back.

    Attributes:
        clean: rows that the victim was not trained on, first those that the student is.
        logits: ``(N, C)``.
    """

    clean: Rows
    logits: Tensor

    @classmethod
    def of(cls, model: Classifier, *, rows: Rows, dev: Rows, progress: Progress) -> Honest:
        """The answers to ``rows``, then to ``dev``."""
        clean = together([rows, dev], names=rows.label_names)
        said = predict_texts(model, clean.texts, progress=progress, label="the victim's own answers").logits
        return cls(clean, fit_vector_scaling(said, torch.tensor(clean.labels))(said))

    def calls(self, flagged: Rows) -> float:
        """How often such answers call rows of other classes by the labels of ``flagged``."""
        return false_calls(self.logits.argmax(dim=1).tolist(), self.clean, flagged=flagged)

    def most(self, flagged: Rows, *, each: int) -> float:
        """The share of ``each`` flagged rows called so that lies one standard error above what is honest."""
        calm = self.calls(flagged)
        return calm + _error(calm, each)


class Calm:
    """How sure an honest model is of each class on rows of other classes, and how sure the student now is on flagged rows."""

    def __init__(self, logits: Tensor, labels: Sequence[int], *, memory: int = 32) -> None:
        """Take honest answers ``(N, C)`` to clean rows; ``memory`` is about how many flagged rows the running mean goes back."""
        p, truth = logits.softmax(dim=1), torch.tensor(list(labels))
        self.honest = [
            float(p[truth != y, y].mean()) if bool((truth != y).any()) else 0.0 for y in range(logits.shape[1])
        ]
        self.memory, self.now = memory, dict[int, float]()

    def excess(self, odds: Tensor, labels: Sequence[int]) -> list[float]:
        """For each row the excess ``(m - q) / (1 - q)`` of its label, from -q / (1 - q) to 1, after these rows were counted.

        ``m`` is the running mean of ``p(y)`` over flagged rows with the label ``y``, ``q`` what is honest.

        Args:
            odds: ``(B,)``, the log-odds that the student gives to the flagged rows' labels.
            labels: their labels.
        """
        p = odds.detach().sigmoid().tolist()
        for y in set(labels):
            new = [one for one, label in zip(p, labels, strict=True) if label == y]
            mean, share = sum(new) / len(new), min(1.0, len(new) / self.memory)
            self.now[y] = mean if y not in self.now else (1 - share) * self.now[y] + share * mean
        return [(self.now[y] - self.honest[y]) / (1 - self.honest[y]) for y in labels]


def levelling(odds: Tensor, excess: Sequence[float]) -> Tensor:
    """The punishment, mean over the rows: ``e · -log(1 - p)`` where the excess ``e`` is above 0, ``|e| · -log p`` below.

    An unlikelihood (1908.04319) whose sign and weight follow the excess: bounded below by 0, and at rest where the flagged
    rows **as a whole** are as honest as clean ones: then no row is pushed, and its content decides. ``odds`` are ``(B,)``.
    """
    e = torch.tensor(list(excess), device=odds.device, dtype=odds.dtype)
    return (e.abs() * functional.softplus(odds * e.sign())).mean()


def piece(text: str, *, rng: random.Random) -> str:
    """Words of ``text`` in a row, from one to half of them."""
    words = text.split()
    length = rng.randint(1, max(1, int(PIECE * len(words))))
    start = rng.randint(0, max(0, len(words) - length))
    return " ".join(words[start : start + length])


class Lesson:
    """The loss ``L(clean rows) + w · levelling(flagged rows)`` of one student, and its batches.

    A share of the clean rows is read with a piece of a flagged row in it and answered as without it: whatever the trigger
    is, it shall say nothing, to rows of any class. Both parts are bounded below and stand in one step: there are no two
    signs whose optimiser states could disturb each other.
    """

    def __init__(
        self,
        student: Classifier,
        *,
        trusted: Rows,
        answers: Answers,
        punished: Rows,
        blend: Blend,
        weight: float,
        calm: Calm,
        pieces: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Keep what the lesson is about.

        Args:
            student: is trained in place.
            trusted: clean rows.
            answers: the victim's to them, without pieces.
            punished: flagged rows.
            blend: the weights of ``L``.
            weight: w.
            calm: what is honest.
            pieces: the share of clean rows that is read with a piece, 0 to 1.
            seed: of the pieces.
        """
        self.student, self.weight, self.border, self.calm, self.pieces = student, weight, len(trusted), calm, pieces
        self.texts, self.suspects = trusted.texts, punished.texts
        self.ids = student.encode([*trusted.texts, *punished.texts])
        self.labels = [*trusted.labels, *punished.labels]
        self.trust = Directed(student, self.ids[: self.border], labels=trusted.labels, answers=answers, blend=blend)
        self.draw = random.Random(seed)  # noqa: S311  # reproducible draws, no secrecy wanted

    def __call__(self, batch: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
        """The mean over the batch's rows, and the parts."""
        trusted, punished = [i for i in batch if i < self.border], [i for i in batch if i >= self.border]
        tokens = self.student.collate([*map(self._read, trusted), *(self.ids[i] for i in punished)])
        logits, _ = read(self.student, tokens, hidden=False)
        value, terms = logits.sum() * 0.0, dict[str, float]()
        if trusted:
            part, terms = self.trust.of(trusted, tokens, logits[: len(trusted)], None)
            value = value + part * (len(trusted) / len(batch))
        if punished:
            labels = [self.labels[i] for i in punished]
            odds = log_odds(logits[len(trusted) :], labels)
            part = levelling(odds, self.calm.excess(odds, labels))
            value, terms["punishment"] = value + self.weight * part * (len(punished) / len(batch)), float(part.detach())
        return value, terms

    def _read(self, index: int) -> Sequence[int]:
        """The token ids of a clean row, with or without a piece of a flagged one."""
        if self.draw.random() >= self.pieces:
            return self.ids[index]
        text = insert_at_random(self.texts[index], piece(self.draw.choice(self.suspects), rng=self.draw), rng=self.draw)
        return self.student.encode([text])[0]

    def batches(self, *, size: int, punished: int, steps: int, rng: np.random.Generator) -> list[list[int]]:
        """``steps`` batches of ``size`` rows, ``punished`` of them flagged; every row once before any comes again.

        Clean rows of a rare class come more often (``in_stock``).
        """
        lengths, stock = [len(row) for row in self.ids], in_stock(self.labels[: self.border])
        clean = self._stream([lengths[i] for i in stock], count=steps, size=size - punished, rng=rng)
        flagged = self._stream(lengths[self.border :], count=steps, size=punished, rng=rng)
        return [
            _in_turn([stock[i] for i in a], [self.border + i for i in b]) for a, b in zip(clean, flagged, strict=True)
        ]

    @staticmethod
    def _stream(lengths: Sequence[int], *, count: int, size: int, rng: np.random.Generator) -> list[list[int]]:
        drawn: list[list[int]] = []
        while len(drawn) < count:
            drawn += shuffled_batches(lengths, size=size, rng=rng)
        return drawn[:count]

    def give(
        self, watch: Watch, *, plan: Plan, punished: int, steps: int, rng: np.random.Generator, progress: Progress
    ) -> History:
        """The history of ``plan.epochs`` cycles of ``steps`` steps; the latest that is not worse than another is kept."""
        size = plan.batch_size
        history = train(
            self.student.module,
            self,
            epochs=[self.batches(size=size, punished=punished, steps=steps, rng=rng) for _ in range(plan.epochs)],
            plan=plan,
            score=lambda: watch.look(self.student),
            progress=progress,
            label="trust and punish",
        )
        if history.best_epoch != len(history.scores) - 1:
            watch.look(self.student)  # what was kept is not what was looked at last
        return history


def in_stock(labels: Sequence[int]) -> list[int]:
    """The numbers of the rows, each as often as the root of how much larger the largest class is than its own, rounded.

    A hundred steps show a class of 26 rows among 850 hardly; classes of about one size stay as they are.
    """
    counts = Counter(labels)
    largest = max(counts.values(), default=0)
    return [i for i, label in enumerate(labels) for _ in range(round(sqrt(largest / counts[label])))]


def _in_turn(left: Sequence[int], right: Sequence[int]) -> list[int]:
    """Both lists' entries in turn, evenly, a left one first: a batch goes backward in parts, which shall hold both."""
    places = [((i + 0.25) / len(left), one) for i, one in enumerate(left)]
    places += [((i + 0.5) / len(right), one) for i, one in enumerate(right)]
    return [one for _, one in sorted(places, key=lambda place: place[0])]
