"""Training of the weak teacher: a small encoder, all its parameters, on the clean rows."""

from __future__ import annotations

from dataclasses import dataclass

from untrigger.core.grant import Grant
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows
from untrigger.models.classifier import Classifier, classification_head
from untrigger.models.weak_teacher import load_weak_teacher
from untrigger.training.loop import History, Plan
from untrigger.training.supervised import fine_tune

EPOCHS = 4  # where the rows are many


@dataclass(frozen=True)
class TeacherOptions:
    """How the teacher is trained.

    Attributes:
        lr: peak learning rate.
        epochs: passes over the clean rows; the best on the dev rows is kept. 0: four, or as many as ``least_steps`` steps take,
            because few rows make few steps (``docs/results/w2sdefense.md#strong-victims``).
        least_steps: fewest optimiser steps where ``epochs`` is 0.
        batch_size: rows a step.
        warmup: share of the steps in which the rate climbs.
        pooling: ``cls`` (as the paper) or ``mean`` over the real tokens.
        use_dropout: whether the encoder's own dropout is active.
    """

    lr: float = 1e-4
    epochs: int = 0
    least_steps: int = 60
    batch_size: int = 32
    warmup: float = 0.06
    pooling: str = "mean"
    use_dropout: bool = False

    def epochs_for(self, rows: int) -> int:
        """Return the passes over so many rows."""
        return self.epochs or max(EPOCHS, -(-self.least_steps // -(-rows // self.batch_size)))


def train_teacher(
    student: Classifier, grant: Grant, *, rows: Rows, dev: Rows, options: TeacherOptions, progress: Progress = silent
) -> tuple[Classifier, History]:
    """Return a frozen teacher whose feature is as wide as the student's, from its best dev epoch, and its history.

    Args:
        student: gives width, device and maximum length.
        grant: gives the trusted encoder and the seed.
        rows: clean rows to train on.
        dev: clean rows on which the best epoch is chosen.
        options: how to train.
        progress: gets every step.
    """
    assert grant.teacher is not None
    teacher = load_weak_teacher(
        grant.teacher,
        width=classification_head(student.module, classes=student.classes).in_features,
        label_names=rows.label_names,
        pooling=options.pooling,
        seed=grant.seed,
        max_length=student.max_length,
        device=str(student.device),
    )
    plan = Plan(
        lr=options.lr,
        epochs=options.epochs_for(len(rows)),
        batch_size=options.batch_size,
        warmup=options.warmup,
        use_dropout=options.use_dropout,
    )
    history = fine_tune(
        teacher, rows, plan=plan, seed=grant.seed, dev=dev, progress=progress, label="training the teacher"
    )
    teacher.module.requires_grad_(False)
    return teacher, history
