"""Treatments of a purified model: fine-tuned, merged, quantised, and by an evaluator poisoned again."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import torch

from untrigger.attacks.poisoning import Attack
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.defences.fine_tuning import FineTune
from untrigger.evaluation.ground_truth import GroundTruth
from untrigger.models.adapter_merging import merge_adapter
from untrigger.models.adapters import AdapterOptions, attach
from untrigger.models.classifier import Classifier, classification_head
from untrigger.training.loop import MICRO_BATCH, Plan
from untrigger.training.supervised import fine_tune

LR = 1e-3  # of the fine-tuning; not tuned


def fine_tuned(
    model: Classifier, rows: Rows, *, epochs: int, seed: int, progress: Progress, lr: float = LR
) -> Classifier:
    """Fine-tune the model on clean rows through a fresh adapter, as its next user would."""
    return FineTune(epochs=epochs, lr=lr).purify(model, Grant(clean=rows, seed=seed), progress=progress).model


def quantized_to_int8(model: Classifier) -> tuple[Classifier, int]:
    """Quantise the linear layers of the blocks to dynamic int8 on the CPU; return the model and how many layers.

    The head stays in float; an adapter is merged first. The result predicts and cannot be trained.
    """
    whole = merge_adapter(model)
    module = copy.deepcopy(whole.module).cpu().eval()
    module, layers = with_int8_layers(module, head=classification_head(module, classes=model.classes))
    return model.with_module(module), layers


def with_int8_layers(module: Any, *, head: object) -> tuple[Any, int]:
    """Return the module with every linear layer but the head in dynamic int8, and how many these are; ``module`` is used up."""
    names = [name for name, layer in module.named_modules() if type(layer) is torch.nn.Linear and layer is not head]
    with warnings.catch_warnings():
        # torch moves this to a package of its own; it is part of every torch that is allowed
        warnings.simplefilter("ignore")
        from torch.ao.quantization import default_dynamic_qconfig, quantize_dynamic

        if names:
            module = quantize_dynamic(module, dict.fromkeys(names, default_dynamic_qconfig), dtype=torch.qint8)
    return module, len(names)


def repoisoned(
    model: Classifier,
    rows: Rows,
    truth: GroundTruth,
    *,
    count: int,
    epochs: int,
    seed: int,
    progress: Progress,
    lr: float = LR,
) -> Classifier:
    """Fine-tune on clean rows of which ``count`` carry the true trigger and the target label: evaluation only."""
    assert truth.trigger is not None
    recipe = Attack(truth.trigger, target=truth.target, rate=count / len(rows))
    dirty = recipe.poison(rows, seed=seed).visible.shuffled(np.random.default_rng(seed))
    student = attach(model, AdapterOptions(), generator=torch.Generator().manual_seed(seed))
    plan = Plan(lr=lr, epochs=epochs, micro_batch=MICRO_BATCH)
    fine_tune(student, dirty, plan=plan, seed=seed, progress=progress, label="poisoning again")
    return student
