"""Plain PEFT fine-tuning on the clean rows, as a purifier and as the control of every other one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.purifier import Purified, Purifier
from untrigger.defences.student import StudentOptions
from untrigger.methods.defender_rows import split_clean
from untrigger.models.adapters import AdapterOptions
from untrigger.models.classifier import Classifier
from untrigger.training.loop import MICRO_BATCH, Plan
from untrigger.training.supervised import fine_tune


@dataclass(frozen=True)
class FineTune(StudentOptions, Purifier):
    """An adapter and the head trained with cross-entropy on the clean rows; the best epoch on held-out rows is kept.

    Attributes:
        upper: share of the blocks that are adapted, from the top, above 0 to 1.
        lr: peak learning rate.
        epochs: passes over the clean rows.
        steps: optimiser steps in all (0: as many as ``epochs`` take); to match another budget.
        batch_size: rows a step.
        dev: share of the clean rows held out to choose the epoch.
    """

    name: ClassVar[str] = "finetune"
    upper: float = 1.0
    lr: float = 1e-3
    epochs: int = 4
    steps: int = 0
    batch_size: int = 32
    dev: float = 0.15

    def adapter(self) -> AdapterOptions:
        """Return the adapter on the upper blocks."""
        return replace(super().adapter(), upper=self.upper)

    def _purify(self, model: Classifier, grant: Grant, *, progress: Progress) -> Purified:
        assert grant.clean is not None
        rng = np.random.default_rng(grant.seed)
        rows, dev = split_clean(grant.clean, dev=self.dev, generator=rng)
        student = self.student(model, seed=grant.seed)
        plan = Plan(lr=self.lr, epochs=self.epochs, batch_size=self.batch_size, micro_batch=MICRO_BATCH)
        if self.steps:
            per_epoch = -(-len(rows) // self.batch_size)
            plan = replace(plan, epochs=-(-self.steps // per_epoch), max_steps=self.steps)
        history = fine_tune(
            student, rows, plan=plan, seed=grant.seed, dev=dev, progress=progress, label="fine-tuning (control)"
        )
        return Purified(
            student,
            changed=True,
            history=history,
            outcome=PurificationOutcome.TRAINED_ON_CLEAN_ROWS,
            summary="the model was trained on the clean rows and nothing else, which is known to leave backdoors in place",
        )


def matched_control(purified: Purified) -> FineTune:
    """Return plain fine-tuning with the adapter, learning rate, batch size and number of steps of ``purified``."""
    control, budget = FineTune(steps=purified.history.steps), purified.budget
    if budget is None:
        return control
    adapter = budget.adapter
    return replace(
        control,
        peft=adapter.method,
        rank=adapter.rank,
        targets=adapter.targets,
        upper=adapter.upper,
        lr=budget.lr,
        batch_size=budget.batch_size,
        dev=control.dev if budget.dev is None else budget.dev,
    )
