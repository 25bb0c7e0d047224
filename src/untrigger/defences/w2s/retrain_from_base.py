"""Retrain from base: reset the suspect to its base, and train the task again on clean rows and predictions for clean texts.

A poisoned model passes its backdoor on only through texts with the trigger. Texts that are put together from clean rows hold
none, so its predictions for them carry the task over and leave the backdoor behind. A trigger that is a style is the exception:
clean texts hold traces of it (``teacher_weight=1`` takes the teachers' predictions alone). Clean teachers are right on any text.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from untrigger.core.errors import OptionError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.defences.student import DistillationOptions
from untrigger.defences.w2s.base_recovery import RecoveryOptions, load_base_of, mix_lower_layers, reset_to_base
from untrigger.inversion.random_insertions import NoiseInsertions
from untrigger.inversion.search import insert_at_random
from untrigger.inversion.vocabulary import single_token_words
from untrigger.models.adapter_merging import merge_adapter, remove_adapter
from untrigger.models.adapters import AdapterOptions, attach, combine_adapters
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.runtime.batching import endless_batches
from untrigger.training.loop import History, train
from untrigger.training.losses import kd_loss
from untrigger.training.vector_scaling import fit_vector_scaling


@dataclass(frozen=True)
class RetrainOptions:
    """How the task is trained again on the base. Values: ``docs/results/w2sdefense.md#training-settings``, unless stated.

    Attributes:
        steps: optimiser steps of a new adapter on the base of an adapter.
        full_steps: optimiser steps of full weights that were reset to their base: small encoders, which learn slower.
        upper: share of the base's blocks, from the top, that a new adapter trains; no gradient flows below (not tuned).
        mixture_share: share of each batch that is put together from parts of clean rows, 0 to below 1.
        insertion_share: share of the texts that get random text inserted, 0 to 1.
        teacher_weight: weight of the teachers' predictions against the suspect's, 0 to 1.
        teachers: number of teachers; a single one passes its chance errors on
            (``docs/results/w2sdefense.md#several-teachers``).
        min_joined_words: rows with fewer words are cropped and never joined to another (not tuned).
        crop_share: share of the mixtures that are crops of one row, 0 to 1; the others join two (not tuned).
        recovery: how full weights are reset to their base.
    """

    steps: int = 64
    full_steps: int = 300
    upper: float = 0.5
    mixture_share: float = 0.5
    insertion_share: float = 0.3
    teacher_weight: float = 0.5
    teachers: int = 3
    min_joined_words: int = 6
    crop_share: float = 1 / 3
    recovery: RecoveryOptions = field(default_factory=RecoveryOptions)

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for counts below 1 and shares out of range.
        """
        shares = (self.insertion_share, self.teacher_weight, self.crop_share)
        fits = all(0 <= share <= 1 for share in shares) and 0 <= self.mixture_share < 1 and 0 < self.upper <= 1
        if min(self.steps, self.full_steps, self.teachers, self.min_joined_words) < 1 or not fits:
            raise OptionError(
                f"steps {self.steps} and {self.full_steps}, teachers {self.teachers}, upper {self.upper}, mixture_share "
                f"{self.mixture_share}, insertion_share {self.insertion_share}, teacher_weight {self.teacher_weight}, "
                f"min_joined_words {self.min_joined_words}, crop_share {self.crop_share}",
                expected="steps and counts of 1 or more, shares from 0 to 1, mixture_share below 1, upper above 0",
            )


class Base(NamedTuple):
    """The base of a suspect model.

    ``module`` is None for an adapter, which carries its base. ``trusted``: its weights are known to be clean.
    """

    name: str
    module: nn.Module | None
    trusted: bool


class Retrained(NamedTuple):
    """The result: the student, its trained adapter, the history, and the share of the way back to full weights' base."""

    student: Classifier
    adapter: AdapterOptions
    history: History
    recovered: float | None


def find_base(model: Classifier, grant: Grant, *, peft: str, options: RecoveryOptions) -> Base | None:
    """Return the base of the suspect: of an adapter its own, of full weights one that is granted; None without any.

    Full weights are compared with ``grant.base`` and the teacher's encoder, and are reset by plain LoRA alone.
    """
    if model.source.kind == "adapter":
        return Base(Path(model.source.base or "").name, None, trusted=grant.base is not None)
    for name in (grant.base, grant.teacher) if peft == "lora" else ():
        if name is not None and (module := load_base_of(model, name, min_cosine=options.min_cosine)) is not None:
            return Base(Path(name).name, module, trusted=True)
    return None


def retrain_from_base(
    ensemble: CalibratedEnsemble,
    base: Base,
    *,
    rows: Rows,
    options: RetrainOptions,
    training: DistillationOptions,
    seed: int,
    progress: Progress,
) -> Retrained:
    """Return a student on the suspect's base, trained on clean rows and on the ensemble's predictions for clean texts.

    An adapter is removed and a new one trained on its base. Full weights are reset by a low-rank adapter; what the lowest blocks
    keep of the suspect is mixed in after the training.

    Args:
        ensemble: the suspect and the clean teachers.
        base: see ``find_base``.
        rows: clean rows.
        options: how the task is trained again.
        training: adapter, rate, batch size and weights of the loss.
        seed: of every draw.
        progress: gets every step.
    """
    model, adapter = ensemble.suspect, training.adapter()
    generator, recovered, reset = torch.Generator().manual_seed(seed), None, None
    if base.module is None:
        adapter = replace(adapter, upper=options.upper)
        student = attach(remove_adapter(model), adapter, generator=generator)
    else:
        reset, recovered = reset_to_base(model, base.module, options=options.recovery, generator=generator)
        student = attach(merge_adapter(reset), adapter, generator=generator)
    steps = options.steps if reset is None else options.full_steps
    history = distil_clean_texts(
        student, ensemble, rows=rows, options=options, training=training, steps=steps, seed=seed, progress=progress
    )
    if reset is not None:
        student = mix_lower_layers(combine_adapters(model, reset, student), options.recovery)
    return Retrained(student, adapter, history, recovered)


def distil_clean_texts(
    student: Classifier,
    ensemble: CalibratedEnsemble,
    *,
    rows: Rows,
    options: RetrainOptions,
    training: DistillationOptions,
    steps: int,
    seed: int,
    progress: Progress,
) -> History:
    """Train ``student`` in place on clean rows and mixtures of them, and return the history.

    The loss is ``a·CE(z_S, y) + b·T²·KL(z ‖ z_S)``, the first term over the clean rows alone; ``z`` are the ensemble's
    predictions for the text **without** the random insertion that the student may read.

    Args:
        student: a classifier on the base.
        ensemble: whose predictions are distilled.
        rows: clean rows.
        options: shares of mixtures, insertions and teachers.
        training: rate, batch size, T and the weights a and b.
        steps: optimiser steps.
        seed: of every draw.
        progress: gets every step.
    """
    draw = random.Random(seed)  # noqa: S311  # reproducible draws, no secrecy wanted
    size, mixed = training.batch_size, round(options.mixture_share * training.batch_size)
    texts = [*rows.texts, *(mix_texts(rows, options, rng=draw) for _ in range(steps * mixed))]
    targets = ensemble.predict(texts, rows=rows, teacher_weight=options.teacher_weight, progress=progress)
    labels, noise = torch.tensor(rows.labels), NoiseInsertions(single_token_words(student.tokenizer), rows)

    def with_noise(index: int) -> str:
        if draw.random() >= options.insertion_share:
            return texts[index]
        return insert_at_random(texts[index], noise.draw(int(targets[index].argmax()), rng=draw), rng=draw)

    def loss(batch: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
        logits = student.forward(student.collate(student.encode([with_noise(i) for i in batch]))).logits
        clean = [place for place, i in enumerate(batch) if i < len(rows)]
        expected = labels[[batch[place] for place in clean]].to(logits.device)
        ce = functional.cross_entropy(logits[clean], expected, reduction="sum")
        ce = ce / (len(batch) * (1 - mixed / size))  # a micro-batch need not hold both kinds of text
        kl = kd_loss(targets[list(batch)].to(logits.device), logits, temperature=training.temperature)
        terms = {"cross-entropy": float(ce.detach()), "predictions": float(kl.detach())}
        return training.a * ce + training.b * kl, terms

    lengths, rng = [len(ids) for ids in student.encode(texts)], np.random.default_rng(seed)
    batches = _batches(lengths, len(rows), size=size, mixed=mixed, steps=steps, rng=rng)
    return train(
        student.module, loss, epochs=[batches], plan=training.plan(), progress=progress, label="retraining from base"
    )


def _batches(
    lengths: Sequence[int], clean: int, *, size: int, mixed: int, steps: int, rng: np.random.Generator
) -> list[list[int]]:
    """Return batches of clean texts, the first ``clean``, and ``mixed`` of the others each."""
    first = endless_batches(lengths[:clean], size=size - mixed, steps=steps, rng=rng)
    others = endless_batches(lengths[clean:], size=mixed, steps=steps, rng=rng) if mixed else [[] for _ in first]
    return [[*some, *(clean + i for i in more)] for some, more in zip(first, others, strict=True)]


@dataclass(frozen=True)
class CalibratedEnsemble:
    """Models whose predictions for texts without a trigger are averaged, each calibrated on rows it was not trained on.

    Attributes:
        suspect: the suspect model; it was not trained on the clean rows, so these calibrate it.
        teachers: clean teachers, each with the clean rows that were held out from it.
    """

    suspect: Classifier
    teachers: Sequence[tuple[Classifier, Rows]]

    def predict(self, texts: Sequence[str], *, rows: Rows, teacher_weight: float, progress: Progress) -> Tensor:
        """Return log-probabilities ``(N, C)``: the teachers' mean with ``teacher_weight``, the suspect's with the rest.

        ``texts`` begin with those of ``rows``. A model without weight is not run.
        """
        parts = []
        if teacher_weight < 1:
            logits = predict_texts(self.suspect, texts, progress=progress, label="predictions of the suspect").logits
            scaling = fit_vector_scaling(logits[: len(rows)], torch.tensor(rows.labels))
            parts.append((1 - teacher_weight) * scaling(logits).log_softmax(dim=1))
        for teacher, held in self.teachers if teacher_weight > 0 else ():
            logits = predict_texts(teacher, texts, progress=progress, label="predictions of a teacher").logits
            known = predict_texts(teacher, held.texts).logits
            scaling = fit_vector_scaling(known, torch.tensor(held.labels), fit_bias=False)
            parts.append(teacher_weight / len(self.teachers) * scaling(logits).log_softmax(dim=1))
        return torch.stack(parts).sum(dim=0)


def mix_texts(rows: Rows, options: RetrainOptions, *, rng: random.Random) -> str:
    """Return a text without a label: a crop of a row, or the beginning of one row and the end of another."""
    words = rng.choice(rows.texts).split()
    if len(words) < options.min_joined_words or rng.random() < options.crop_share:
        length = rng.randint((len(words) + 1) // 2, len(words))
        start = rng.randint(0, len(words) - length)
        return " ".join(words[start : start + length])
    other = rng.choice(rows.texts).split()
    head, tail = rng.randint(len(words) // 3, 2 * len(words) // 3), rng.randint(len(other) // 3, 2 * len(other) // 3)
    return " ".join([*words[:head], *other[tail:]])
