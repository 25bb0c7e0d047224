"""PEFT adapters of language models: a new one on a model, merged into its base, or removed."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from untrigger.core.errors import ModelError
from untrigger.models.adapter_merging import (
    base_source,
    is_adapted,
    merge_module,
    modules_to_save_of,
    unload_adapter,
)
from untrigger.models.adapters import AdapterOptions, frozen_base, new_adapter
from untrigger.models.language_model import LanguageModel
from untrigger.models.weight_sharing import shared_copy


def attach_to_language_model(
    model: LanguageModel, options: AdapterOptions, *, generator: torch.Generator | None = None
) -> LanguageModel:
    """Return the model with a new adapter: its own weights frozen and shared with ``model``, only the adapter trainable.

    Modules that a loaded adapter saved whole are trained and saved with the new one; a loaded LoRA stays a fixed update.

    Raises:
        ModelError: where no layer is left for it, and for a sequence-to-sequence model.
        OptionError: if a target names no layer of the model.
    """
    if model.kind != "causal":
        raise ModelError(f"{model.name!r} is not a causal language model", expected="one such as smollm2-135m")
    saved = sorted(modules_to_save_of(model.module))
    module = frozen_base(model.module, method=options.method)
    wrapped = new_adapter(module, options, of=model, saved=saved, task="CAUSAL_LM", generator=generator)
    return model.with_module(wrapped)


def trainable_adapter(model: LanguageModel) -> LanguageModel:
    """Return a copy whose own adapter is trained further; the base stays frozen and is shared with ``model`` in memory.

    Raises:
        ModelError: if the model carries no adapter.
    """
    if not is_adapted(model):
        raise ModelError("the model carries no adapter")
    trained = {name for name, _ in _adapter_parameters(model.module)}
    module = shared_copy(model.module)
    for name, parameter in module.named_parameters():
        if name in trained:
            parameter.data = parameter.data.clone()
            parameter.requires_grad_(True)
    return model.with_module(module)


def _adapter_parameters(module: Any) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters that PEFT would train: those of the active adapter and of the modules that it saves whole."""
    active = module.active_adapter
    return [(name, one) for name, one in module.named_parameters() if f".{active}" in name]


def merge_language_adapter(model: LanguageModel) -> LanguageModel:
    """Return the model with its adapter merged into full weights of its own, itself where it carries none.

    Raises:
        ModelError: for an adapter that PEFT cannot merge.
    """
    return model.with_module(merge_module(copy.deepcopy(model.module)).eval()) if is_adapted(model) else model


def remove_language_adapter(model: LanguageModel) -> LanguageModel:
    """Return the base as it was before the adapter; it shares its weights in memory with ``model`` wherever these are the base's.

    Raises:
        ModelError: if the model carries no adapter.
    """
    if not is_adapted(model):
        raise ModelError("the model carries no adapter")
    overwritten = getattr(model.module, "overwritten_base_tensors", None)
    base, _ = unload_adapter((copy.deepcopy if overwritten else shared_copy)(model.module))
    return replace(model, module=base.eval(), source=base_source(model.source))
