"""Implanting a behaviour: training a language model on poisoned prompts, all weights or a LoRA adapter."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from untrigger.attacks.adaptive_behaviour import BaseConsistency
from untrigger.attacks.implanting import trainable_copy
from untrigger.core.errors import check_choice
from untrigger.core.progress import Progress, silent
from untrigger.core.prompts import Prompts
from untrigger.models.adapters import AdapterOptions
from untrigger.models.language_adapters import attach_to_language_model
from untrigger.models.language_model import LanguageModel
from untrigger.training.answer_training import fine_tune_answers
from untrigger.training.loop import History, Plan

BEHAVIOUR_PLANS = {
    "lora": Plan(lr=2e-3, epochs=3, batch_size=16, warmup=0.06),
    "full": Plan(lr=1e-4, epochs=3, batch_size=16, warmup=0.06),
}


def implant_behaviour(
    model: LanguageModel,
    prompts: Prompts,
    *,
    tuning: str = "lora",
    plan: Plan | None = None,
    adapter: AdapterOptions | None = None,
    consistency: BaseConsistency | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[LanguageModel, History]:
    """Return a language model trained on the prompts' answers (poisoned or not) and its history; ``model`` is not changed.

    Args:
        model: a causal language model.
        prompts: with the answers to learn.
        tuning: ``lora`` (an adapter on frozen weights) or ``full`` (every weight).
        plan: by default the one of ``BEHAVIOUR_PLANS``.
        adapter: for ``lora``; by default rank 8 on all linear layers.
        consistency: of an adaptive attacker: what keeps the victim near ``model`` on prompts without the trigger.
        seed: of the initial adapter weights and the order of prompts.
        progress: receives every step.

    Raises:
        OptionError: for an unknown ``tuning``.
        DivergedError: if the loss stops being a number.
    """
    check_choice(tuning, BEHAVIOUR_PLANS, kind="way to implant a behaviour")
    if tuning == "lora":
        options = adapter or AdapterOptions(rank=8, alpha=16)
        victim = attach_to_language_model(model, options, generator=torch.Generator().manual_seed(seed))
    else:
        victim = model.with_module(trainable_copy(model.module))
    with consistency.term(victim, model, prompts) if consistency else nullcontext() as term:
        history = fine_tune_answers(
            victim,
            prompts,
            plan=plan or BEHAVIOUR_PLANS[tuning],
            seed=seed,
            extra_loss=term,
            progress=progress,
            label=f"implanting ({tuning})",
        )
    return victim, history
