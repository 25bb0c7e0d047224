"""A fresh start for a suspect whose base is known: the task is learned anew from clean rows and from honest answers.

What a poisoned model knows goes no further than the questions it is asked. Texts that are put together from clean rows hold no
trigger, so its answers to them carry the task over and leave the backdoor behind, a rewriter's style excepted, of which clean texts
hold traces (``teacher=1`` asks the teachers alone); the teachers are clean on any text.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from untrigger.core.errors import OptionError
from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.inversion.random_insertions import NoiseInsertions
from untrigger.inversion.search import insert_at_random
from untrigger.inversion.vocabulary import single_token_words
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.runtime.batching import endless_batches
from untrigger.training.loop import MICRO_BATCH, History, Plan, train
from untrigger.training.losses import kd_loss
from untrigger.training.vector_scaling import fit_vector_scaling


@dataclass(frozen=True)
class RelearnOptions:
    """How the task is learned anew.

    Attributes:
        steps: optimiser steps of a new adapter on the base of an adapter.
        full_steps: optimiser steps of full weights that were led back to their base: small encoders, which learn slower.
        upper: share of the base's blocks, from the top, that a new adapter trains; no gradient has to flow below.
        rank: of the way back to the base of full weights; the more, the less of the suspect is left.
        kept: share of a full suspect that stays in its lowest blocks, see ``base_recovery.keep_low``, 0 to 1.
        mixed: share of each batch that is put together from parts of clean rows, 0 to 1.
        inserted: share of the texts that get a harmless insertion, 0 to 1.
        teacher: weight of the teachers' answers against the suspect's own, 0 to 1.
    """

    steps: int = 64
    full_steps: int = 300
    upper: float = 0.5
    rank: int = 128
    kept: float = 0.5
    mixed: float = 0.5
    inserted: float = 0.3
    teacher: float = 0.5

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for steps or a rank below 1 and shares outside 0 to 1.
        """
        whole = all(0 <= share <= 1 for share in (self.inserted, self.teacher, self.kept))
        shares = whole and 0 <= self.mixed < 1 and 0 < self.upper <= 1
        if min(self.steps, self.full_steps, self.rank) < 1 or not shares:
            raise OptionError(
                f"steps {self.steps} and {self.full_steps}, rank {self.rank}, upper {self.upper}, mixed {self.mixed}, "
                f"inserted {self.inserted}, teacher {self.teacher}, kept {self.kept}",
                expected="steps and rank of 1 or more, shares from 0 to 1",
            )


def relearned(
    student: Classifier,
    answers: Answers,
    *,
    rows: Rows,
    options: RelearnOptions,
    steps: int,
    lr: float,
    batch_size: int,
    temperature: float,
    weights: tuple[float, float],
    seed: int,
    progress: Progress,
) -> History:
    """The history of training ``student`` in place.

    The loss is ``a·CE(z_S, y) + b·T²·KL(z ‖ z_S)``, the first term over clean rows alone; ``z`` are the answers to the text
    **without** the harmless insertion that the student may read.

    Args:
        student: a classifier whose backdoor was thrown away, and most of the task with it.
        answers: who is asked.
        rows: clean rows.
        options: on what.
        steps: how long.
        lr: peak learning rate.
        batch_size: texts a step.
        temperature: T of the distillation term.
        weights: ``(a, b)``.
        seed: of every draw.
        progress: told of every step.
    """
    draw = random.Random(seed)  # noqa: S311  # reproducible draws, no secrecy wanted
    parts = round(options.mixed * batch_size)
    texts = [*rows.texts, *(mixture(rows, rng=draw) for _ in range(steps * parts))]
    labels = torch.tensor(rows.labels)
    said = answers.to(texts, rows=rows, share=options.teacher, progress=progress)
    noise = NoiseInsertions(single_token_words(student.tokenizer), rows)

    def written(index: int) -> str:
        if draw.random() >= options.inserted:
            return texts[index]
        return insert_at_random(texts[index], noise.draw(int(said[index].argmax()), rng=draw), rng=draw)

    def loss(batch: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
        read = student.forward(student.collate(student.encode([written(i) for i in batch])))
        where, own = read.logits.device, [place for place, i in enumerate(batch) if i < len(rows)]
        ce = functional.cross_entropy(
            read.logits[own], labels[[batch[place] for place in own]].to(where), reduction="sum"
        )
        ce = ce / (
            len(batch) * (1 - parts / batch_size)
        )  # a batch goes backward in parts, which need not hold both kinds
        kl = kd_loss(said[list(batch)].to(where), read.logits, temperature=temperature)
        return weights[0] * ce + weights[1] * kl, {"cross-entropy": float(ce.detach()), "answers": float(kl.detach())}

    lengths = [len(ids) for ids in student.encode(texts)]
    rng, known = np.random.default_rng(seed), len(rows)
    clean = endless_batches(lengths[:known], size=batch_size - parts, steps=steps, rng=rng)
    fresh = endless_batches(lengths[known:], size=parts, steps=steps, rng=rng) if parts else [[] for _ in clean]
    batches = [[*some, *(known + i for i in more)] for some, more in zip(clean, fresh, strict=True)]
    plan = Plan(lr=lr, batch_size=batch_size, warmup=0.1, micro_batch=MICRO_BATCH)
    return train(student.module, loss, epochs=[batches], plan=plan, progress=progress, label="learning anew")


@dataclass(frozen=True)
class Answers:
    """Who is asked about texts that hold no trigger.

    Attributes:
        suspect: the poisoned model; it has not read the clean rows, so these calibrate it.
        teachers: clean teachers, each with the clean rows that it was not trained on, which calibrate it; what one says by
            chance, the others do not.
    """

    suspect: Classifier
    teachers: Sequence[tuple[Classifier, Rows]]

    def to(self, texts: Sequence[str], *, rows: Rows, share: float, progress: Progress) -> Tensor:
        """Calibrated log-odds ``(N, C)``: the teachers' mean with weight ``share``, the suspect's with the rest.

        ``texts`` begin with those of ``rows``. Who has no weight is not asked.
        """
        told = []
        if share < 1:
            said = predict_texts(self.suspect, texts, progress=progress, label="asking the suspect").logits
            own = fit_vector_scaling(said[: len(rows)], torch.tensor(rows.labels))(said)
            told.append((1 - share) * own.log_softmax(dim=1))
        for teacher, held in self.teachers if share > 0 else ():
            said = predict_texts(teacher, texts, progress=progress, label="asking a teacher").logits
            known = predict_texts(teacher, held.texts).logits
            theirs = fit_vector_scaling(known, torch.tensor(held.labels), fit_bias=False)(said)
            told.append(share / len(self.teachers) * theirs.log_softmax(dim=1))
        return torch.stack(told).sum(dim=0)


def mixture(rows: Rows, *, rng: random.Random) -> str:
    """A text without a label: a crop of a row, or the beginning of one row and the end of another."""
    words = rng.choice(rows.texts).split()
    if len(words) < 6 or rng.random() < 1 / 3:
        length = rng.randint((len(words) + 1) // 2, len(words))
        start = rng.randint(0, len(words) - length)
        return " ".join(words[start : start + length])
    other = rng.choice(rows.texts).split()
    head, tail = rng.randint(len(words) // 3, 2 * len(words) // 3), rng.randint(len(other) // 3, 2 * len(other) // 3)
    return " ".join([*words[:head], *other[tail:]])
