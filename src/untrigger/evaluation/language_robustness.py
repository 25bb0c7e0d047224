"""Treatments of a purified language model: fine-tuned, in int8, and by an evaluator poisoned again."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch

from untrigger.attacks.prompt_poisoning import BehaviourAttack
from untrigger.core.progress import Progress
from untrigger.core.prompts import Prompts
from untrigger.evaluation.prompt_truth import PromptTruth
from untrigger.evaluation.robustness import with_int8_layers
from untrigger.models.adapters import AdapterOptions
from untrigger.models.language_adapters import attach_to_language_model, merge_language_adapter
from untrigger.models.language_model import LanguageModel
from untrigger.training.answer_training import fine_tune_answers
from untrigger.training.loop import Plan

PLAN = Plan(lr=1e-3, batch_size=8, epochs=1000)
"""Of both trainings, which end after a number of steps; not tuned."""


def fine_tuned_on(
    model: LanguageModel, prompts: Prompts, *, steps: int, seed: int, progress: Progress, label: str = "fine-tuning"
) -> LanguageModel:
    """Return the model after some steps on the prompts' answers through a new adapter, as its next user would train it."""
    generator = torch.Generator().manual_seed(seed)
    student = attach_to_language_model(model, AdapterOptions(rank=8, alpha=16), generator=generator)
    epochs = -(-steps // -(-len(prompts) // PLAN.batch_size))
    plan = replace(PLAN, epochs=epochs, max_steps=steps)
    fine_tune_answers(student, prompts, plan=plan, seed=seed, progress=progress, label=label)
    return student


def language_model_in_int8(model: LanguageModel) -> tuple[LanguageModel, int]:
    """Return the model with its blocks' linear layers in dynamic int8 on the CPU, and how many; the head stays in float."""
    whole = merge_language_adapter(model)
    module = copy.deepcopy(whole.module).cpu().eval()
    module, layers = with_int8_layers(module, head=module.get_output_embeddings())
    return model.with_module(module), layers


def repoisoned_answers(
    model: LanguageModel,
    prompts: Prompts,
    truth: PromptTruth,
    *,
    count: int,
    steps: int,
    seed: int,
    progress: Progress,
) -> LanguageModel:
    """Return the model after some steps on prompts of which ``count`` carry the true trigger and the behaviour: evaluation only."""
    assert truth.trigger is not None
    recipe = BehaviourAttack(truth.trigger, truth.behaviour, count=count)
    dirty = recipe.poison(prompts, seed=seed).visible.shuffled(np.random.default_rng(seed))
    return fine_tuned_on(model, dirty, steps=steps, seed=seed, progress=progress, label="poisoning again")
