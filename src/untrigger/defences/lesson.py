"""The lesson on insertions: a student answers rows with an insertion in them as the same rows without it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from untrigger.models.classifier import Classifier
from untrigger.models.predict import read_ids
from untrigger.progress import Progress
from untrigger.search.insertions import Insertion, insert_at_random
from untrigger.search.noise import NoiseInsertions
from untrigger.search.vocabulary import Words
from untrigger.training.batches import endless_batches
from untrigger.training.distillation import soft_cross
from untrigger.training.loop import MICRO, History, Plan, train
from untrigger.vocabulary.rows import Rows


class Terms(Protocol):
    """What a method settles of its lessons: rate and batch, T of the distillation, the weights of the loss, share of noise."""

    @property
    def lr(self) -> float: ...  # noqa: D102
    @property
    def batch_size(self) -> int: ...  # noqa: D102
    @property
    def temperature(self) -> float: ...  # noqa: D102
    @property
    def a(self) -> float: ...  # noqa: D102
    @property
    def b(self) -> float: ...  # noqa: D102
    @property
    def c(self) -> float: ...  # noqa: D102
    @property
    def noise(self) -> float: ...  # noqa: D102


class InsertionLesson:
    """Rounds of unlearning of one student; what does not change is computed once.

    The loss is ``a·CE(z_S, y) + b·T²·KL(z_V ‖ z_S) + c·T²·KL(z_T ‖ z_S)``, half of each batch clean rows as they are, half with
    insertions; ``z_V`` is what the suspect said to the row without the insertion, ``z_T`` what the teacher says to the text
    with it.
    """

    def __init__(
        self, terms: Terms, student: Classifier, *, teacher: Classifier, rows: Rows, words: Words, own: Tensor
    ) -> None:
        """Keep what the lesson is about.

        Args:
            terms: the weights and rates.
            student: is trained in place.
            teacher: a clean classifier; asked only where ``c`` is not 0.
            rows: clean rows.
            words: the vocabulary that random insertions are drawn from.
            own: log-odds ``(N, C)`` of the suspect's own answers to the rows.
        """
        self.terms, self.student, self.teacher, self.rows, self.own = terms, student, teacher, rows, own
        self.labels = torch.tensor(rows.labels)
        self.lengths = [len(row) for row in student.encode(rows.texts)]
        self.noise = NoiseInsertions(words, rows)

    def give(self, bank: Sequence[Insertion], *, steps: int, seed: int, progress: Progress) -> History:
        """The history of ``steps`` steps on clean rows and on rows with insertions."""
        told, draw = self.terms, random.Random(seed)  # noqa: S311  # reproducible draws, no secrecy wanted

        def loss(batch: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
            half = len(batch) // 2
            texts = [self.rows.texts[i] for i in batch[:half]] + [self._insert(i, bank, draw) for i in batch[half:]]
            said = self.student.read(self.student.collate(self.student.encode(texts)))
            where = said.logits.device
            own = self.own[list(batch)].to(where)
            ce = functional.cross_entropy(said.logits, self.labels[list(batch)].to(where))
            own_kl = soft_cross(own, said.logits, temperature=told.temperature)
            value, terms = told.a * ce + told.b * own_kl, {"cross-entropy": ce, "own answers": own_kl}
            if told.c:
                theirs = read_ids(self.teacher, self.teacher.encode(texts)).logits.to(where)
                terms["teacher's answers"] = soft_cross(theirs, said.logits, temperature=told.temperature)
                value = value + told.c * terms["teacher's answers"]
            return value, {name: float(term.detach()) for name, term in terms.items()}

        plan = Plan(lr=told.lr, batch_size=told.batch_size, warmup=0.1, micro=MICRO)
        batches = endless_batches(self.lengths, size=told.batch_size, steps=steps, rng=np.random.default_rng(seed))
        return train(self.student.module, loss, epochs=[batches], plan=plan, progress=progress, label="unlearning")

    def _insert(self, index: int, bank: Sequence[Insertion], draw: random.Random) -> str:
        """The row with one or two insertions: mostly such as would move it, sometimes others, sometimes noise."""
        text, label = self.rows.texts[index], self.rows.labels[index]
        against = [one for one in bank if one.target != label]
        for _ in range(draw.randint(1, 2)):
            pool = against if against and draw.random() < 0.75 else list(bank)
            if not pool or draw.random() < self.terms.noise:
                phrase = self.noise.draw(label, rng=draw)
            else:
                phrase = draw.choices(pool, [max(0.05, one.excess) for one in pool])[0].text
            text = insert_at_random(text, phrase, rng=draw)
        return text
