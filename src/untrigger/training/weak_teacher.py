"""The weak teacher, trained: a small encoder with all its parameters on the clean rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from untrigger.models.classifier import Classifier
from untrigger.models.teacher import new_teacher
from untrigger.progress import Progress, silent
from untrigger.training.loop import History, Plan
from untrigger.training.supervised import fine_tune
from untrigger.vocabulary.rows import Rows


@dataclass(frozen=True)
class TeacherOptions:
    """How the teacher is trained.

    Attributes:
        lr: peak learning rate.
        epochs: passes over the clean rows; the best on the dev rows is kept.
        batch_size: rows a step.
        warmup: share of the steps in which the rate climbs.
        pooling: ``cls`` (as the paper) or ``mean`` over the real tokens.
        dropout: whether the encoder's own dropout is active.
    """

    lr: float = 1e-4
    epochs: int = 4
    batch_size: int = 32
    warmup: float = 0.06
    pooling: str = "mean"
    dropout: bool = False


def trained_teacher(
    name: str | Path,
    rows: Rows,
    *,
    dev: Rows,
    width: int,
    options: TeacherOptions,
    seed: int,
    max_length: int,
    device: str = "auto",
    progress: Progress = silent,
) -> tuple[Classifier, History]:
    """A teacher whose feature is ``width`` wide, frozen, best dev epoch kept, and the history of its training."""
    teacher = new_teacher(
        name, width=width, label_names=rows.label_names, pooling=options.pooling, seed=seed, max_length=max_length,
        device=device,
    )  # fmt: skip
    plan = Plan(
        lr=options.lr, epochs=options.epochs, batch_size=options.batch_size, warmup=options.warmup, dropout=options.dropout
    )
    history = fine_tune(teacher, rows, plan=plan, seed=seed, dev=dev, progress=progress, label="training the teacher")
    teacher.module.requires_grad_(False)
    return teacher, history
