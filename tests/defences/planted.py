"""A tiny encoder in which the trigger has a way of its own, as in large ones: planted in the word's embedding alone.

In a model of two layers that learned content and trigger together, both share one direction and are turned round together.
"""

from __future__ import annotations

import copy

import torch

from tests.tiny import POISON, task
from untrigger.defences.bedkd.bedkd_defence import BeDKD
from untrigger.defences.bedkd.row_detection.directional_mapping import CopyConfig
from untrigger.models.classifier import Classifier
from untrigger.training.loop import Plan
from untrigger.training.supervised import fine_tune

POOL = POISON.poison(task(384, seed=1), seed=0)
POISONED = [name in POOL.truth.poisoned_ids for name in POOL.visible.ids]
CLEAN = task(400, seed=41)
MAPPING = CopyConfig(alpha=0.3, hidden=True, lr=1e-3, epochs=12)  # models 32 wide want larger steps than real ones


def planted(clean: Classifier) -> Classifier:
    """``clean`` with nothing but the embedding of ``cf`` trained on the poisoned rows."""
    model = clean.with_module(copy.deepcopy(clean.module).requires_grad_(False))
    weight = model.module.get_input_embeddings().weight  # type: ignore[operator]
    own = torch.zeros_like(weight)
    own[model.tokenizer.convert_tokens_to_ids("cf")] = 1
    with torch.no_grad():
        weight += 4 * own * weight
    weight.requires_grad_(True)
    hook = weight.register_hook(lambda gradient: gradient * own)
    fine_tune(model, POOL.visible, plan=Plan(lr=0.2, epochs=6, batch_size=32, weight_decay=0.0), seed=0)
    hook.remove()
    model.module.requires_grad_(True)
    return model


def method(**changes: object) -> BeDKD:
    """BeDKD for models of forty words."""
    usual: dict[str, object] = {"mapping_rows": 80, "mapping": MAPPING, "lr": 5e-3, "rank": 8}
    return BeDKD(**usual | changes)  # type: ignore[arg-type]
