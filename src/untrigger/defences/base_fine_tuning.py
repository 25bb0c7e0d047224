"""The control that a purifier must beat: the trusted base fine-tuned on the clean rows, without the suspect's weights.

A defender who trusts a base and has clean rows can train the task on it and needs no purification. A purifier is worth its cost
only for what the suspect knows beyond that (the metric ``gain_kept``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from untrigger.core.errors import NeedsError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows
from untrigger.core.seeds import derived_seed, generator_for
from untrigger.core.statistics import wilson
from untrigger.defences.student import StudentOptions
from untrigger.defences.w2s.base_recovery import HEADS, load_base_of
from untrigger.methods.defender_rows import split_clean
from untrigger.models.adapter_merging import is_adapted, modules_to_save_of, remove_adapter
from untrigger.models.adapters import attach
from untrigger.models.base_classifier import load_base_classifier
from untrigger.models.classification_head import classification_head, draw_new_head
from untrigger.models.classifier import Classifier
from untrigger.models.weak_teacher import load_weak_teacher
from untrigger.training.loop import MICRO_BATCH, History, Keep, Plan
from untrigger.training.supervised import fine_tune

PURPOSE = "control: base fine-tuned on the clean rows"
"""The name of the stage in reports, and what its seeds are derived from."""


@dataclass(frozen=True)
class BaseFineTuned:
    """The control and how it was made.

    Attributes:
        model: the classifier.
        base: the pre-trained model that it was made from, by name.
        tuning: ``full`` (every weight of the suspect's base, or of the model that its skill is carried into), ``lora`` (an adapter
            on the base of the suspect's), or ``teacher`` (every weight of the trusted teacher: the suspect's base is not known).
        trusted: whether the defender trusts that base; of an adapter only a base that is granted.
        rows: clean rows that it was trained on.
        held_out: clean rows that chose the epoch.
        history: of the training.
    """

    model: Classifier
    base: str
    tuning: str
    trusted: bool
    rows: int
    held_out: int
    history: History

    def to_dict(self) -> dict[str, Any]:
        """Return what a report states about the control."""
        epoch = self.history.best_epoch
        return {
            "base": self.base,
            "tuning": self.tuning,
            "trusted": self.trusted,
            "rows": self.rows,
            "held_out": self.held_out,
            "steps": self.history.steps,
            "epochs": len(self.history.scores),
            "best_epoch": None if epoch is None else epoch + 1,
        }


@dataclass(frozen=True)
class BaseFineTuning:
    """Cross-entropy on the clean rows from the base on, with a new head; held-out rows choose the epoch.

    The latest epoch is kept whose accuracy is within the 95 % interval of the best one's: few rows say little, and at the end the
    learning rate has come down (``docs/evaluation.md#the-control-that-counts``).

    Of the suspect only its architecture, its classes and the base below its adapter are used.

    Attributes:
        lr: peak learning rate where every weight is trained (as of a teacher).
        epochs: fewest passes over the rows there.
        adapter_lr: peak learning rate of an adapter (as of a purifier's student).
        adapter_epochs: fewest passes over the rows of an adapter.
        upper: share of the blocks that the adapter trains, from the top (as of the student of ``retrain_from_base``).
        steps: fewest optimiser steps of both; few rows are read in more epochs.
        batch_size: rows a step.
        warmup: share of the steps in which the learning rate climbs from 0.
        dev: share of the clean rows held out to choose the epoch.
    """

    lr: float = 1e-4
    epochs: int = 4
    adapter_lr: float = 1e-3
    adapter_epochs: int = 2
    upper: float = 0.5
    steps: int = 100
    batch_size: int = 16
    warmup: float = 0.06
    dev: float = 0.15

    def train(self, model: Classifier, grant: Grant, *, progress: Progress = silent) -> BaseFineTuned:
        """Return the control of a purification of ``model``, which stays as it is.

        Args:
            model: the suspect.
            grant: clean rows, the seed, and what is trusted: the model that the suspect's skill is carried into (``onto``), else
                the base (``base``), else an encoder (``teacher``).
            progress: gets every step.

        Raises:
            NeedsError: for full weights without a trusted base or teacher.
            ModelError: for a base that cannot be loaded as a classifier of these classes.
            DivergedError: if the loss is not finite.
        """
        assert grant.clean is not None
        rows, held = split_clean(grant.clean, dev=self.dev, generator=generator_for(grant.seed, PURPOSE))
        grant = replace(grant, seed=derived_seed(grant.seed, PURPOSE))
        student, base, tuning = self._start(model, grant)
        return self._fine_tuned(
            student,
            base,
            tuning=tuning,
            rows=rows,
            held=held,
            grant=grant,
            trusted=tuning != "lora" or grant.base is not None,
            progress=progress,
        )

    def _start(self, model: Classifier, grant: Grant) -> tuple[Classifier, str | Path, str]:
        """Return what is trained, the name of its base, and how it is trained.

        Raises:
            NeedsError: for full weights without a trusted base or teacher.
        """
        if grant.onto is not None:
            return whole_base(grant.onto, like=model, seed=grant.seed), grant.onto, "full"
        if is_adapted(model):
            return self._adapter_on_base(model, seed=grant.seed), model.source.base or "", "lora"
        base = known_base(model, grant)
        if base is not None:
            return whole_base(base, like=model, seed=grant.seed), base, "full"
        if grant.teacher is None:
            raise NeedsError(
                "neither the base of the full weights nor another pre-trained model is trusted",
                remedy="name the model that they were fine-tuned from with --base, or an encoder with --teacher",
            )
        return encoder(grant.teacher, like=model, seed=grant.seed), grant.teacher, "teacher"

    def plan(self, rows: Rows, *, adapter: bool) -> Plan:
        """Return the plan of a training on ``rows``, of an adapter or of every weight."""
        lr, fewest = (self.adapter_lr, self.adapter_epochs) if adapter else (self.lr, self.epochs)
        epochs = max(fewest, -(-self.steps // -(-len(rows) // self.batch_size)))
        return Plan(lr=lr, epochs=epochs, batch_size=self.batch_size, warmup=self.warmup, micro_batch=MICRO_BATCH)

    def _adapter_on_base(self, model: Classifier, *, seed: int) -> Classifier:
        """Return the base of an adapter with a new head and a new LoRA adapter, as a purifier's student has it."""
        base, saved = remove_adapter(model), modules_to_save_of(model.module) & HEADS
        draw_new_head(base.module, classes=model.classes, seed=seed)
        trained = [name for name, _ in base.module.named_parameters() if saved & set(name.split("."))]
        source = replace(base.source, fresh=tuple(dict.fromkeys((*base.source.fresh, *trained))))
        options = replace(StudentOptions().adapter(), upper=self.upper)
        return attach(replace(base, source=source), options, generator=torch.Generator().manual_seed(seed))

    def _fine_tuned(
        self,
        student: Classifier,
        name: str | Path,
        *,
        tuning: str,
        rows: Rows,
        held: Rows,
        grant: Grant,
        trusted: bool,
        progress: Progress,
    ) -> BaseFineTuned:
        history = fine_tune(
            student,
            rows,
            plan=self.plan(rows, adapter=tuning == "lora"),
            seed=grant.seed,
            dev=held,
            keep=not_clearly_worse(len(held)),
            progress=progress,
            label="fine-tuning the base (control)",
        )
        return BaseFineTuned(student, Path(name).name, tuning, trusted, len(rows), len(held), history)


def not_clearly_worse(rows: int) -> Keep:
    """Return whether an epoch's accuracy on ``rows`` rows is within the 95 % interval of the best so far."""

    def keep(scores: Sequence[float]) -> bool:
        low, _ = wilson(round(max(scores) * rows), rows)
        return scores[-1] >= (low or 0.0)

    return keep


def known_base(model: Classifier, grant: Grant) -> str | Path | None:
    """Return the granted base, or the teacher where the full weights were fine-tuned from its encoder; None for neither."""
    names = (name for name in (grant.base, grant.teacher) if name is not None)
    return next((name for name in names if load_base_of(model, name) is not None), None)


def whole_base(name: str | Path, *, like: Classifier, seed: int) -> Classifier:
    """Return the pre-trained model ``name`` with a new head for the classes of ``like``, every parameter trainable.

    Raises:
        ModelError: if it cannot be loaded as a classifier of these classes.
    """
    base = load_base_classifier(
        name, label_names=like.label_names, max_length=like.max_length, seed=seed, device=str(like.device)
    )
    base.module.requires_grad_(True)
    return base


def encoder(name: str | Path, *, like: Classifier, seed: int) -> Classifier:
    """Return the trusted encoder ``name`` as a classifier of the mean of its tokens, as a teacher, every parameter trainable.

    Raises:
        ModelError: if it is not an encoder that can be loaded.
    """
    return load_weak_teacher(
        name,
        width=classification_head(like.module, classes=like.classes).in_features,
        label_names=like.label_names,
        pooling="mean",
        seed=seed,
        max_length=like.max_length,
        device=str(like.device),
    )
