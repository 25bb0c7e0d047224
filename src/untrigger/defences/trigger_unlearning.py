"""Trigger unlearning: a student learns to classify a row with a candidate trigger as it classified the row without it."""

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
from untrigger.defences.student import DistillationOptions
from untrigger.inversion.random_insertions import NoiseInsertions
from untrigger.inversion.search import insert_at_random
from untrigger.inversion.vocabulary import Words
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_token_ids
from untrigger.runtime.batching import endless_batches
from untrigger.training.loop import History, train
from untrigger.training.losses import kd_loss


@dataclass(frozen=True)
class UnlearningOptions:
    """How long candidate triggers are unlearned, and what is inserted into the rows.

    Attributes:
        rounds: the most rounds of unlearning.
        round_steps: optimiser steps of the first round (``docs/results/w2sdefense.md#no-trusted-base``: a third of them leaves a
            trigger half active).
        more_steps: optimiser steps of each later round (not tuned).
        c: weight of the distillation from the clean reference, which gets the text with the trigger (not tuned).
        noise: share of insertions that are random text, 0 to 1 (not tuned).
        opposing: how often a trigger is drawn from those whose target is not the row's label, 0 to 1 (not tuned).
        least_weight: the smallest weight of a trigger in that draw, above 0; else its weight is how much more it moves
            the suspect than the reference (not tuned).
    """

    rounds: int = 1
    round_steps: int = 72
    more_steps: int = 36
    c: float = 0.0
    noise: float = 0.25
    opposing: float = 0.75
    least_weight: float = 0.05

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for a share outside 0 to 1, rounds or steps below 1, and a weight of 0 or less.
        """
        counts = (self.rounds, self.round_steps, self.more_steps)
        shares = 0 <= self.noise <= 1 and 0 <= self.opposing <= 1 and self.least_weight > 0
        if min(counts) < 1 or not shares:
            raise OptionError(
                f"rounds {self.rounds}, round_steps {self.round_steps}, more_steps {self.more_steps}, noise {self.noise}, "
                f"opposing {self.opposing}, least_weight {self.least_weight}",
                expected="rounds and steps of 1 or more, shares from 0 to 1, a weight above 0",
            )


class TriggerUnlearning:
    """Rounds of unlearning of one student; what stays the same in all rounds is computed once.

    The loss is ``a·CE(z_S, y) + b·T²·KL(z_V ‖ z_S) + c·T²·KL(z_R ‖ z_S)``. Half of each batch are clean rows as they are, half
    rows with triggers or random text in them. ``z_V`` are the suspect's logits for the row **without** the insertion, ``z_R``
    the clean reference's for the text with it.
    """

    def __init__(
        self,
        student: Classifier,
        options: UnlearningOptions,
        *,
        training: DistillationOptions,
        reference: Classifier,
        rows: Rows,
        words: Words,
        suspect_logits: Tensor,
    ) -> None:
        """Keep what the rounds share.

        Args:
            student: is trained in place.
            options: steps and insertions.
            training: rate, batch size and weights of the loss.
            reference: a clean classifier; used only where ``c`` is not 0.
            rows: clean rows.
            words: the vocabulary that random text is drawn from.
            suspect_logits: ``(N, C)``, of the suspect model on ``rows``.
        """
        self.student, self.options, self.training = student, options, training
        self.reference, self.rows, self.suspect_logits = reference, rows, suspect_logits
        self.labels = torch.tensor(rows.labels)
        self.lengths = [len(row) for row in student.encode(rows.texts)]
        self.noise = NoiseInsertions(words, rows)

    def train(self, triggers: Sequence[Candidate], *, steps: int, seed: int, progress: Progress) -> History:
        """Train the student for ``steps`` steps and return the history."""
        draw = random.Random(seed)  # noqa: S311  # reproducible draws, no secrecy wanted
        batches = endless_batches(
            self.lengths, size=self.training.batch_size, steps=steps, rng=np.random.default_rng(seed)
        )

        def loss(batch: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
            half = len(batch) // 2
            texts = [self.rows.texts[i] for i in batch[:half]]
            return self._loss(batch, [*texts, *(self._insert(i, triggers, draw) for i in batch[half:])])

        return train(
            self.student.module,
            loss,
            epochs=[batches],
            plan=self.training.plan(),
            progress=progress,
            label="unlearning",
        )

    def _loss(self, batch: Sequence[int], texts: Sequence[str]) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of the rows ``batch``, read as ``texts``, and its terms."""
        training, temperature = self.training, self.training.temperature
        logits = self.student.forward(self.student.collate(self.student.encode(texts))).logits
        ce = functional.cross_entropy(logits, self.labels[list(batch)].to(logits.device))
        own = kd_loss(self.suspect_logits[list(batch)].to(logits.device), logits, temperature=temperature)
        value, terms = training.a * ce + training.b * own, {"cross-entropy": ce, "own predictions": own}
        if self.options.c:
            expected = predict_token_ids(self.reference, self.reference.encode(texts)).logits.to(logits.device)
            terms["reference's predictions"] = kd_loss(expected, logits, temperature=temperature)
            value = value + self.options.c * terms["reference's predictions"]
        return value, {name: float(term.detach()) for name, term in terms.items()}

    def _insert(self, index: int, triggers: Sequence[Candidate], draw: random.Random) -> str:
        """Return the row with one or two insertions: triggers, mostly such as could change its class, or random text."""
        text, label, options = self.rows.texts[index], self.rows.labels[index], self.options
        against = [one for one in triggers if one.target != self.rows.label_names[label]]
        for _ in range(draw.randint(1, 2)):
            pool = against if against and draw.random() < options.opposing else list(triggers)
            if not pool or draw.random() < options.noise:
                phrase = self.noise.draw(label, rng=draw)
            else:
                phrase = draw.choices(pool, [max(options.least_weight, one.effect) for one in pool])[0].text
            text = insert_at_random(text, phrase, rng=draw)
        return text
