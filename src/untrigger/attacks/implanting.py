"""Implanting a backdoor: training a model on poisoned rows, all weights or a LoRA adapter."""

from __future__ import annotations

import copy

import torch
from torch import nn

from untrigger.core.errors import OptionError, check_choice
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows
from untrigger.models.adapter_targets import query_value
from untrigger.models.adapters import AdapterOptions, attach
from untrigger.models.classifier import Classifier
from untrigger.training.loop import History, Plan
from untrigger.training.supervised import LossTerm, fine_tune

TUNINGS = ("lora", "full", "embedding")
PLANS = {"lora": Plan(lr=1e-3, epochs=3, warmup=0.06), "full": Plan(lr=1e-4, epochs=3, warmup=0.06)}


def implant(
    model: Classifier,
    rows: Rows,
    *,
    tuning: str = "lora",
    plan: Plan | None = None,
    adapter: AdapterOptions | None = None,
    seed: int = 0,
    progress: Progress = silent,
    label_smoothing: float = 0.0,
    extra_loss: LossTerm | None = None,
) -> tuple[Classifier, History]:
    """Return a classifier trained on ``rows`` (poisoned or not) and its history; ``model`` is not changed.

    Args:
        model: a pre-trained model with a new head, or a classifier.
        rows: the training rows.
        tuning: ``lora`` (an adapter on frozen weights) or ``full`` (every weight).
        plan: by default the one of ``PLANS``.
        adapter: for ``lora``; by default rank 8 on the query and value projections.
        seed: of the initial adapter weights and the order of rows.
        progress: receives every step.
        label_smoothing: share of each label that is spread over all classes. An attacker who knows the defences gives some,
            so that the victim is less confident on triggered texts than a backdoor usually is.
        extra_loss: a further term of the loss, such as ``adaptive.clean_consistency_loss``.

    Raises:
        OptionError: for an unknown ``tuning``, or a smoothing outside [0, 1).
        DivergedError: if the loss stops being a number.
    """
    check_choice(tuning, PLANS, kind="tuning")
    if not 0 <= label_smoothing < 1:
        raise OptionError(f"label smoothing {label_smoothing}", expected="a share from 0 to below 1, such as 0.1")
    if tuning == "lora":
        victim = attach(model, adapter or lora_for(model), generator=torch.Generator().manual_seed(seed))
    else:
        victim = model.with_module(trainable_copy(model.module))
    history = fine_tune(
        victim,
        rows,
        plan=plan or PLANS[tuning],
        seed=seed,
        progress=progress,
        label=f"implanting ({tuning})",
        label_smoothing=label_smoothing,
        extra_loss=extra_loss,
    )
    return victim, history


def trainable_copy(module: nn.Module) -> nn.Module:
    """Return a copy of which every weight is trained."""
    return copy.deepcopy(module).requires_grad_(True)


def lora_for(model: Classifier) -> AdapterOptions:
    """Return the default adapter: rank 8 on the query and value projections of this architecture."""
    return AdapterOptions(rank=8, alpha=16, targets=query_value(model))
