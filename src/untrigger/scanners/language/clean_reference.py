"""The reference of a scan: the trusted base with a small LoRA adapter of the clean prompts, or the base alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from untrigger.core.progress import Progress, silent
from untrigger.core.prompts import Prompts
from untrigger.core.seeds import derived_seed
from untrigger.models.adapters import AdapterOptions
from untrigger.models.language_adapters import attach_to_language_model
from untrigger.models.language_model import LanguageModel
from untrigger.training.answer_training import fine_tune_answers
from untrigger.training.loop import History, Plan

LEAST_PROMPTS = 24
"""Fewer clean prompts than this teach an adapter nothing: the base alone is the reference. Not tuned."""


@dataclass(frozen=True)
class ReferenceOptions:
    """How the reference is trained: as ``attack`` trains an adapter, on few prompts. Not tuned.

    Attributes:
        prompts: most clean prompts to train on.
        rank: of the adapter.
        lr: peak learning rate.
        epochs: passes.
        batch_size: prompts a step.
    """

    prompts: int = 128
    rank: int = 8
    lr: float = 2e-3
    epochs: int = 3
    batch_size: int = 8


@dataclass(frozen=True)
class CleanReference:
    """A reference and how it was made.

    Attributes:
        model: it; its base weights are those of ``base`` in memory.
        history: of the training, empty where there was none.
        prompts: number of clean prompts that it learned.
    """

    model: LanguageModel
    history: History
    prompts: int


def clean_reference(
    base: LanguageModel, prompts: Prompts, *, options: ReferenceOptions, seed: int, progress: Progress = silent
) -> CleanReference:
    """Return the base with a new adapter that learned the prompts' answers, or the base alone where they are too few."""
    if len(prompts) < LEAST_PROMPTS:
        return CleanReference(base, History(), 0)
    chosen = prompts.take(range(min(len(prompts), options.prompts)))
    generator = torch.Generator().manual_seed(derived_seed(seed, "scan: new adapter"))
    model = attach_to_language_model(base, AdapterOptions(rank=options.rank), generator=generator)
    plan = Plan(lr=options.lr, epochs=options.epochs, batch_size=options.batch_size, warmup=0.1)
    history = fine_tune_answers(
        model,
        chosen,
        plan=plan,
        seed=derived_seed(seed, "scan: order of the prompts"),
        progress=progress,
        label="training the reference",
    )
    model.module.eval()
    return CleanReference(model, history, len(chosen))
