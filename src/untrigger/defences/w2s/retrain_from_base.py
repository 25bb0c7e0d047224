"""Retrain from base: reset the suspect to its base, and train the task again on clean rows and predictions for clean texts.

A poisoned model passes its backdoor on only through texts with the trigger. Texts that are put together from clean rows hold
none, so its predictions for them carry the task over and leave the backdoor behind. Unlabelled texts carry more of it over, once
those that may hold a trigger are left out. A trigger that is a style is the exception: clean texts hold traces of it
(``teacher_weight=1`` takes the teachers' predictions alone). Clean teachers are right on any text.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from untrigger.core.errors import OptionError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.core.seeds import derived_seed
from untrigger.defences.student import DistillationOptions
from untrigger.defences.w2s.base_recovery import RecoveryOptions, load_base_of, mix_lower_layers, reset_to_base
from untrigger.defences.w2s.ensemble import CalibratedEnsemble, Targets
from untrigger.defences.w2s.unlabelled_texts import ScreenedTexts, ScreeningOptions, screen_texts
from untrigger.inversion.random_insertions import NoiseInsertions
from untrigger.inversion.search import insert_at_random
from untrigger.inversion.vocabulary import single_token_words
from untrigger.models.adapter_merging import merge_adapter, remove_adapter
from untrigger.models.adapters import AdapterOptions, attach, combine_adapters
from untrigger.models.base_classifier import load_base_classifier
from untrigger.models.classifier import Classifier
from untrigger.runtime.batching import endless_batches
from untrigger.training.history import concat_histories
from untrigger.training.loop import History, train
from untrigger.training.losses import kd_loss
from untrigger.training.mixtures import mix_texts


@dataclass(frozen=True)
class RetrainOptions:
    """How the task is trained again on the base. Values: ``docs/results/w2sdefense.md#training-settings``, unless stated.

    Attributes:
        steps: optimiser steps of a new adapter on the base of an adapter.
        unlabelled_steps: further optimiser steps on unlabelled texts, as a share of ``steps`` or ``full_steps``, above 0
            (``docs/results/w2sdefense.md#unlabelled-texts``; not tuned).
        unlabelled_lr: the learning rate of these steps, as a share of that of the others, above 0 (not tuned).
        full_steps: optimiser steps of full weights that were reset to their base, and of another pre-trained model: small encoders,
            which learn slower.
        upper: share of the base's blocks, from the top, that a new adapter trains; no gradient flows below (not tuned).
        mixture_share: share of each batch that is put together from parts of clean rows, 0 to below 1; half of it where there
            are unlabelled texts.
        unlabelled_share: share of each batch of unlabelled texts, where there are any, 0 to below 1.
        insertion_share: share of the texts that get random text inserted, 0 to 1.
        teacher_weight: weight of the teachers' predictions against the suspect's, 0 to 1; None: on clean rows that a teacher was
            not trained on, the suspect gets no more weight than it takes to be as right as it.
        teachers: number of teachers; a single one passes its chance errors on
            (``docs/results/w2sdefense.md#several-teachers``).
        min_joined_words: rows with fewer words are cropped and never joined to another (not tuned).
        crop_share: share of the mixtures that are crops of one row, 0 to 1; the others join two (not tuned).
        screening: how unlabelled texts that may hold a trigger are left out.
        recovery: how full weights are reset to their base.
    """

    steps: int = 64
    full_steps: int = 300
    unlabelled_steps: float = 0.5
    unlabelled_lr: float = 0.5
    upper: float = 0.5
    mixture_share: float = 0.5
    unlabelled_share: float = 0.5
    insertion_share: float = 0.3
    teacher_weight: float | None = None
    teachers: int = 3
    min_joined_words: int = 6
    crop_share: float = 1 / 3
    screening: ScreeningOptions = field(default_factory=ScreeningOptions)
    recovery: RecoveryOptions = field(default_factory=RecoveryOptions)

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for counts below 1 and shares out of range.
        """
        counts = ("steps", "full_steps", "teachers", "min_joined_words")
        shares = ("insertion_share", "teacher_weight", "crop_share", "mixture_share", "unlabelled_share", "upper")
        values = vars(self)
        wrong = [name for name in counts if values[name] < 1]
        wrong += [name for name in shares if values[name] is not None and not 0 <= values[name] <= 1]
        wrong += [name for name in ("unlabelled_steps", "unlabelled_lr") if values[name] <= 0]
        wrong += ["upper"] * (self.upper == 0) + ["mixture_share"] * (self.mixture_share == 1)
        wrong += ["unlabelled_share"] * (self.mixture_share / 2 + self.unlabelled_share >= 1)
        if wrong:
            raise OptionError(
                ", ".join(f"{name} {values[name]}" for name in dict.fromkeys(wrong)),
                expected="steps and counts of 1 or more, shares from 0 to 1, upper above 0, and clean rows in every batch",
            )


class Base(NamedTuple):
    """The base that the task is trained on again.

    ``module``: what full weights are reset to; None for an adapter, which carries its base. ``trusted``: its weights are known to
    be clean. ``other``: a classifier on another pre-trained model instead of the suspect's base.
    """

    name: str
    module: nn.Module | None
    trusted: bool
    other: Classifier | None = None


class Retrained(NamedTuple):
    """The result.

    ``student``; ``adapter``, what was trained; ``history``; ``targets``, what it was trained on last; ``screened``, the unlabelled
    texts that it was and was not trained on; ``recovered``, the share of the way back to full weights' base.
    """

    student: Classifier
    adapter: AdapterOptions
    history: History
    targets: Targets
    screened: ScreenedTexts
    recovered: float | None


class Distilled(NamedTuple):
    """The history of a distillation, and what the student was trained on."""

    history: History
    targets: Targets


def find_base(model: Classifier, grant: Grant, *, peft: str, options: RecoveryOptions) -> Base | None:
    """Return the base to retrain from: another model that is granted, an adapter's own, or a granted one; None without any.

    Full weights are compared with ``grant.base`` and the teacher's encoder, and are reset by plain LoRA alone.
    """
    if grant.onto is not None:
        other = load_base_classifier(
            grant.onto,
            label_names=model.label_names,
            max_length=model.max_length,
            seed=derived_seed(grant.seed, "head of another model"),
            device=str(model.device),
        )
        return Base(Path(grant.onto).name, None, trusted=True, other=other)
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
    unlabelled: Sequence[str],
    options: RetrainOptions,
    training: DistillationOptions,
    seed: int,
    progress: Progress,
) -> Retrained:
    """Return a student on the suspect's base, trained on clean rows and on the ensemble's predictions for clean texts.

    An adapter is removed and a new one trained on its base. Full weights are reset by a low-rank adapter; what the lowest blocks
    keep of the suspect is mixed in after the training, in proportion to its weight. Another pre-trained model gets an adapter,
    which is merged at the end.

    Args:
        ensemble: the suspect and the clean teachers.
        base: see ``find_base``.
        rows: clean rows.
        unlabelled: texts of the domain; those that may hold a trigger are left out.
        options: how the task is trained again.
        training: adapter, rate, batch size and weights of the loss.
        seed: of every draw.
        progress: gets every step.
    """
    model, adapter = ensemble.suspect, training.adapter()
    generator, recovered, reset = torch.Generator().manual_seed(seed), None, None
    if base.other is not None:
        student = attach(base.other, adapter, generator=generator)
    elif base.module is None:
        adapter = replace(adapter, upper=options.upper)
        student = attach(remove_adapter(model), adapter, generator=generator)
    else:
        reset, recovered = reset_to_base(model, base.module, options=options.recovery, generator=generator)
        student = attach(merge_adapter(reset), adapter, generator=generator)
    steps = options.full_steps if reset or base.other else options.steps
    more = dict[str, Any](rows=rows, options=options, progress=progress)
    history, targets = distil_clean_texts(student, ensemble, training=training, steps=steps, seed=seed, **more)
    screened = ScreenedTexts((), ())
    if unlabelled and options.unlabelled_share > 0:
        screened = screen_texts(
            model,
            student,
            unlabelled,
            rows=ensemble.rows,
            options=options.screening,
            seed=derived_seed(seed, "screening of unlabelled texts"),
            progress=progress,
        )
    if screened.kept:
        second, targets = distil_clean_texts(
            student,
            ensemble,
            unlabelled=screened.kept,
            training=replace(training, lr=training.lr * options.unlabelled_lr),
            steps=max(1, round(steps * options.unlabelled_steps)),
            seed=derived_seed(seed, "unlabelled texts"),
            **more,
        )
        history = concat_histories([history, second])
    if reset is not None:
        mix = options.recovery.lower_layer_mix * min(1.0, targets.suspect_weight)
        student = mix_lower_layers(
            combine_adapters(model, reset, student), replace(options.recovery, lower_layer_mix=mix)
        )
    if base.other is not None:
        student = merge_adapter(student)
    return Retrained(student, adapter, history, targets, screened, recovered)


def distil_clean_texts(
    student: Classifier,
    ensemble: CalibratedEnsemble,
    *,
    rows: Rows,
    unlabelled: Sequence[str] = (),
    options: RetrainOptions,
    training: DistillationOptions,
    steps: int,
    seed: int,
    progress: Progress,
) -> Distilled:
    """Train ``student`` in place on clean rows, unlabelled texts and mixtures of clean rows, and return how.

    The loss is ``a·CE(z_S, y) + b·T²·KL(z ‖ z_S)``, the first term over the clean rows alone; ``z`` are the ensemble's
    predictions for the text **without** the random insertion that the student may read.

    Args:
        student: a classifier on the base.
        ensemble: whose predictions are distilled.
        rows: clean rows.
        unlabelled: texts without those that may hold a trigger.
        options: shares of mixtures, insertions and teachers.
        training: rate, batch size, T and the weights a and b.
        steps: optimiser steps.
        seed: of every draw.
        progress: gets every step.
    """
    draw = random.Random(seed)  # noqa: S311  # reproducible draws, no secrecy wanted
    size = training.batch_size
    others, mixed = _batch_parts(options, size=size, unlabelled=bool(unlabelled))
    mixture = partial(
        mix_texts, rows.texts, min_joined_words=options.min_joined_words, crop_share=options.crop_share, rng=draw
    )
    texts = [*rows.texts, *unlabelled, *(mixture() for _ in range(steps * mixed))]
    targets = ensemble.predict(texts, teacher_weight=options.teacher_weight, progress=progress)
    labels, noise = torch.tensor(rows.labels), NoiseInsertions(single_token_words(student.tokenizer), rows)

    def with_noise(index: int) -> str:
        if draw.random() >= options.insertion_share:
            return texts[index]
        return insert_at_random(texts[index], noise.draw(int(targets.logits[index].argmax()), rng=draw), rng=draw)

    def loss(batch: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
        logits = student.forward(student.collate(student.encode([with_noise(i) for i in batch]))).logits
        clean = [place for place, i in enumerate(batch) if i < len(rows)]
        expected = labels[[batch[place] for place in clean]].to(logits.device)
        ce = functional.cross_entropy(logits[clean], expected, reduction="sum")
        ce = ce / (len(batch) * (1 - (others + mixed) / size))  # a micro-batch need not hold every kind of text
        kl = kd_loss(targets.logits[list(batch)].to(logits.device), logits, temperature=training.temperature)
        terms = {"cross-entropy": float(ce.detach()), "predictions": float(kl.detach())}
        return training.a * ce + training.b * kl, terms

    lengths, rng = [len(ids) for ids in student.encode(texts)], np.random.default_rng(seed)
    parts = [(len(rows), size - others - mixed), (len(unlabelled), others), (steps * mixed, mixed)]
    history = train(
        student.module,
        loss,
        epochs=[_batches(lengths, parts, steps=steps, rng=rng)],
        plan=training.plan(),
        progress=progress,
        label="retraining from base",
    )
    return Distilled(history, targets)


def _batch_parts(options: RetrainOptions, *, size: int, unlabelled: bool) -> tuple[int, int]:
    """Return how many unlabelled texts and how many mixtures a batch holds; the rest are clean rows, at least one."""
    others = round(options.unlabelled_share * size) if unlabelled else 0
    mixed = round(options.mixture_share * size / (2 if others else 1))
    return min(others, size - 1), min(mixed, size - 1 - min(others, size - 1))


def _batches(
    lengths: Sequence[int], parts: Sequence[tuple[int, int]], *, steps: int, rng: np.random.Generator
) -> list[list[int]]:
    """Return batches with some texts of each part; a part is ``(texts in all, texts in a batch)``, in the order of the lengths."""
    batches, start = [list[int]() for _ in range(steps)], 0
    for count, each in parts:
        some = endless_batches(lengths[start : start + count], size=each, steps=steps, rng=rng) if each else []
        for batch, more in zip(batches, some, strict=False):
            batch += [start + i for i in more]
        start += count
    return batches
