"""The lesson on insertions: a student answers rows with an insertion in them as the same rows without it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from untrigger.core.candidate import Candidate
from untrigger.core.errors import OptionError
from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.defences.purifier import StudentOptions
from untrigger.inversion.random_insertions import NoiseInsertions
from untrigger.inversion.search import insert_at_random
from untrigger.inversion.vocabulary import Words
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_token_ids
from untrigger.runtime.batching import endless_batches
from untrigger.training.loop import MICRO_BATCH, History, Plan, train
from untrigger.training.losses import kd_loss


@dataclass(frozen=True)
class LessonOptions(StudentOptions):
    """What a purifier that gives lessons to an adapter has among its options.

    Attributes:
        lr: peak learning rate of every lesson.
        batch_size: rows a step, half of them with insertions.
        rounds: the most lessons that are given.
        round_steps: optimiser steps of the first round; a third of them leaves a trigger half alive.
        more_steps: optimiser steps of each later round.
        temperature: T of both distillation terms.
        a: weight of the cross-entropy with the true label.
        b: weight of the suspect's own answer to the row as it was.
        c: weight of the teacher's answer to the text with the insertion.
        noise: share of insertions that are random, 0 to 1.
    """

    lr: float = 1e-3
    batch_size: int = 32
    rounds: int = 1
    round_steps: int = 72
    more_steps: int = 36
    temperature: float = 2.0
    a: float = 1.0
    b: float = 1.0
    c: float = 0.0
    noise: float = 0.25

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for a share outside 0 to 1, rounds or steps below 1, and a batch that cannot be halved.
        """
        counts = (self.rounds, self.round_steps, self.more_steps)
        if min(counts) < 1 or self.batch_size < 2 or not 0 <= self.noise <= 1:
            raise OptionError(
                f"rounds {self.rounds}, round_steps {self.round_steps}, more_steps {self.more_steps}, "
                f"batch_size {self.batch_size}, noise {self.noise}",
                expected="rounds and steps of 1 or more, a batch of 2 or more, a share from 0 to 1",
            )


class InsertionLesson:
    """Rounds of unlearning of one student; what does not change is computed once.

    The loss is ``a·CE(z_S, y) + b·T²·KL(z_V ‖ z_S) + c·T²·KL(z_T ‖ z_S)``, half of each batch clean rows as they are, half with
    insertions; ``z_V`` is what the suspect said to the row without the insertion, ``z_T`` what the teacher says to the text
    with it.
    """

    def __init__(
        self, options: LessonOptions, student: Classifier, *, teacher: Classifier, rows: Rows, words: Words, own: Tensor
    ) -> None:
        """Keep what the lesson is about.

        Args:
            options: the weights and rates.
            student: is trained in place.
            teacher: a clean classifier; asked only where ``c`` is not 0.
            rows: clean rows.
            words: the vocabulary that random insertions are drawn from.
            own: log-odds ``(N, C)`` of the suspect's own answers to the rows.
        """
        self.options, self.student, self.teacher, self.rows, self.own = options, student, teacher, rows, own
        self.labels = torch.tensor(rows.labels)
        self.lengths = [len(row) for row in student.encode(rows.texts)]
        self.noise = NoiseInsertions(words, rows)

    def give(self, bank: Sequence[Candidate], *, steps: int, seed: int, progress: Progress) -> History:
        """The history of ``steps`` steps on clean rows and on rows with insertions."""
        told, draw = self.options, random.Random(seed)  # noqa: S311  # reproducible draws, no secrecy wanted

        def loss(batch: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
            half = len(batch) // 2
            texts = [self.rows.texts[i] for i in batch[:half]] + [self._insert(i, bank, draw) for i in batch[half:]]
            said = self.student.forward(self.student.collate(self.student.encode(texts)))
            where = said.logits.device
            own = self.own[list(batch)].to(where)
            ce = functional.cross_entropy(said.logits, self.labels[list(batch)].to(where))
            own_kl = kd_loss(own, said.logits, temperature=told.temperature)
            value, terms = told.a * ce + told.b * own_kl, {"cross-entropy": ce, "own answers": own_kl}
            if told.c:
                theirs = predict_token_ids(self.teacher, self.teacher.encode(texts)).logits.to(where)
                terms["teacher's answers"] = kd_loss(theirs, said.logits, temperature=told.temperature)
                value = value + told.c * terms["teacher's answers"]
            return value, {name: float(term.detach()) for name, term in terms.items()}

        plan = Plan(lr=told.lr, batch_size=told.batch_size, warmup=0.1, micro_batch=MICRO_BATCH)
        batches = endless_batches(self.lengths, size=told.batch_size, steps=steps, rng=np.random.default_rng(seed))
        return train(self.student.module, loss, epochs=[batches], plan=plan, progress=progress, label="unlearning")

    def _insert(self, index: int, bank: Sequence[Candidate], draw: random.Random) -> str:
        """The row with one or two insertions: mostly such as would move it, sometimes others, sometimes noise."""
        text, label = self.rows.texts[index], self.rows.labels[index]
        against = [one for one in bank if one.target != self.rows.label_names[label]]
        for _ in range(draw.randint(1, 2)):
            pool = against if against and draw.random() < 0.75 else list(bank)
            if not pool or draw.random() < self.options.noise:
                phrase = self.noise.draw(label, rng=draw)
            else:
                phrase = draw.choices(pool, [max(0.05, one.effect) for one in pool])[0].text
            text = insert_at_random(text, phrase, rng=draw)
        return text
