"""A fresh start for a suspicious adapter: the base learns the task anew from clean rows and the suspect's honest answers.

What a poisoned adapter knows goes no further than the questions it is asked. Texts that are put together from clean rows
hold no trigger, so its answers to them carry the task over and leave the backdoor behind.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from untrigger.errors import OptionError
from untrigger.models.adapters import AdapterOptions, attach, without_adapter
from untrigger.models.classifier import Classifier
from untrigger.models.predict import read_texts
from untrigger.progress import Progress
from untrigger.search.insertions import insert_at_random
from untrigger.search.noise import NoiseInsertions
from untrigger.search.vocabulary import single_token_words
from untrigger.training.batches import endless_batches
from untrigger.training.calibration import calibrated_on
from untrigger.training.distillation import soft_cross
from untrigger.training.loop import MICRO, History, Plan, train
from untrigger.vocabulary.rows import Rows


@dataclass(frozen=True)
class RelearnOptions:
    """How the base learns the task anew.

    Attributes:
        steps: optimiser steps.
        mixed: share of each batch that is put together from parts of clean rows, 0 to 1.
        inserted: share of the texts that get a harmless insertion, 0 to 1.
    """

    steps: int = 96
    mixed: float = 0.5
    inserted: float = 0.3

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for steps below 1 and shares outside 0 to 1.
        """
        if self.steps < 1 or not (0 <= self.mixed < 1 and 0 <= self.inserted <= 1):
            raise OptionError(
                f"steps {self.steps}, mixed {self.mixed}, inserted {self.inserted}",
                expected="steps of 1 or more, shares from 0 to 1",
            )


def relearned(
    suspect: Classifier, rows: Rows, *, options: RelearnOptions, adapter: AdapterOptions, lr: float, batch_size: int,
    temperature: float, weights: tuple[float, float], seed: int, progress: Progress,
) -> tuple[Classifier, History]:  # fmt: skip
    """A new adapter on the suspect's base, and the history of its training.

    The loss is ``a·CE(z_S, y) + b·T²·KL(z_V ‖ z_S)``, the first term over clean rows alone; ``z_V`` are the suspect's
    answers, calibrated on the clean rows, to the text **without** the harmless insertion that the student may read.

    Args:
        suspect: a classifier with an adapter.
        rows: clean rows.
        options: how long, and on what.
        adapter: kind and size of the new adapter.
        lr: peak learning rate.
        batch_size: texts a step.
        temperature: T of the distillation term.
        weights: ``(a, b)``.
        seed: of every draw.
        progress: told of every step.
    """
    student = attach(without_adapter(suspect), adapter, generator=torch.Generator().manual_seed(seed))
    draw = random.Random(seed)  # noqa: S311  # reproducible draws, no secrecy wanted
    parts = round(options.mixed * batch_size)
    texts = [*rows.texts, *(mixture(rows, rng=draw) for _ in range(options.steps * parts))]
    said = read_texts(suspect, texts, progress=progress, label="asking the suspect").logits
    labels = torch.tensor(rows.labels)
    own = calibrated_on(said[: len(rows)], labels)(said)
    noise, fresh = NoiseInsertions(single_token_words(suspect.tokenizer), rows), cycle(range(len(rows), len(texts)))

    def written(index: int) -> str:
        if draw.random() >= options.inserted:
            return texts[index]
        return insert_at_random(texts[index], noise.draw(int(own[index].argmax()), rng=draw), rng=draw)

    def loss(batch: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
        count = round(options.mixed * len(batch))
        kept = list(batch[: len(batch) - count])
        index = [*kept, *(next(fresh) for _ in range(count))]
        read = student.read(student.collate(student.encode([written(i) for i in index])))
        where = read.logits.device
        ce = functional.cross_entropy(read.logits[: len(kept)], labels[kept].to(where))
        kl = soft_cross(own[index].to(where), read.logits, temperature=temperature)
        return weights[0] * ce + weights[1] * kl, {"cross-entropy": float(ce.detach()), "suspect's answers": float(kl.detach())}

    lengths = [len(ids) for ids in student.encode(rows.texts)]
    batches = endless_batches(lengths, size=batch_size, steps=options.steps, rng=np.random.default_rng(seed))
    plan = Plan(lr=lr, batch_size=batch_size, warmup=0.1, micro=MICRO)
    return student, train(student.module, loss, epochs=[batches], plan=plan, progress=progress, label="learning anew")


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
