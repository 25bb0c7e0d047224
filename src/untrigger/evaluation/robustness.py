"""What happens to a model after it was purified: tuned on, merged, quantised, and by an evaluator poisoned a little again."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import torch

from untrigger.attacks.poisoning import Attack
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.defences.fine_tuning import FineTune
from untrigger.evaluation.ground_truth import TestBed
from untrigger.models.adapters import AdapterOptions, attach, merged
from untrigger.models.classifier import Classifier, classification_head
from untrigger.training.loop import MICRO_BATCH, Plan
from untrigger.training.supervised import fine_tune

LR = 1e-3


def tuned(model: Classifier, rows: Rows, *, epochs: int, seed: int, progress: Progress, lr: float = LR) -> Classifier:
    """The model after honest fine-tuning on clean rows, through a fresh adapter as its next user would."""
    return FineTune(epochs=epochs, lr=lr).purify(model, Grant(clean=rows, seed=seed), progress=progress).model


def in_int8(model: Classifier) -> tuple[Classifier, int]:
    """The model with the linear layers of its blocks in dynamic int8 on the CPU, its head in float, and how many were changed.

    An adapter is merged first. What comes back answers texts and cannot be trained.
    """
    whole = merged(model)
    module = copy.deepcopy(whole.module).cpu().eval()
    head = classification_head(module, classes=model.classes)
    names = [name for name, layer in module.named_modules() if type(layer) is torch.nn.Linear and layer is not head]
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # torch moves this to a package of its own; it is part of every torch that we allow
        from torch.ao.quantization import default_dynamic_qconfig, quantize_dynamic

        small = (
            quantize_dynamic(module, dict.fromkeys(names, default_dynamic_qconfig), dtype=torch.qint8)
            if names
            else module
        )
    return model.with_module(small), len(names)


def poisoned_again(
    model: Classifier,
    rows: Rows,
    bed: TestBed,
    *,
    count: int,
    epochs: int,
    seed: int,
    progress: Progress,
    lr: float = LR,
) -> Classifier:
    """The model tuned on clean rows of which ``count`` carry the true trigger and the target label: evaluation only."""
    assert bed.trigger is not None
    recipe = Attack(bed.trigger, target=bed.target, rate=count / len(rows))
    dirty = recipe.poison(rows, seed=seed).visible.shuffled(np.random.default_rng(seed))
    student = attach(model, AdapterOptions(), generator=torch.Generator().manual_seed(seed))
    plan = Plan(lr=lr, epochs=epochs, micro_batch=MICRO_BATCH)
    fine_tune(student, dirty, plan=plan, seed=seed, progress=progress, label="poisoning a little again")
    return student
