"""Adapters merged into the weights of their base, folded two into one, or removed."""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from untrigger.core.errors import ModelError
from untrigger.models.adapter_targets import exact_pattern, is_transposed, is_within
from untrigger.models.classifier import Classifier, ModelSource
from untrigger.models.pretrained import quiet
from untrigger.models.weight_sharing import merge_updates

_OTHER_ADAPTER = "train the classifier with a LoRA adapter or full weights instead"


class HasModule(Protocol):
    """A classifier or a language model."""

    @property
    def module(self) -> Any:
        """The model's module."""


def is_adapted(model: HasModule) -> bool:
    """Return whether the model's module is a PEFT model; ``peft`` is not imported for that, which takes a second."""
    peft = sys.modules.get("peft")
    return peft is not None and isinstance(model.module, peft.PeftModel)


def peft_type(module: Any) -> str:
    """Return the PEFT type of the active adapter, such as ``LORA``."""
    return str(getattr(module.peft_config[module.active_adapter].peft_type, "value", "PEFT"))


def modules_to_save_of(module: nn.Module) -> set[str]:
    """Return the names in ``modules_to_save`` of all adapters of a module."""
    configs = getattr(module, "peft_config", {})
    return {name for config in configs.values() for name in (getattr(config, "modules_to_save", None) or ())}


def check_mergeable(module: Any) -> None:
    """Raise ModelError unless the adapter of a PEFT model can be merged into its base.

    Raises:
        ModelError: for prompt learning, which puts virtual tokens before each text, and for mixtures of adapters.
    """
    if not hasattr(module, "merge_and_unload"):
        raise ModelError(
            f"a {peft_type(module)} adapter can neither be merged into its base nor carry a second adapter",
            expected="an adapter whose update can be added to the weights, such as LoRA",
            remedy=_OTHER_ADAPTER,
        )


def merge_module(module: Any) -> Any:
    """Return the base of a PEFT model with adapter and saved modules merged into its weights; ``module`` is used up.

    Raises:
        ModelError: for an adapter that PEFT cannot merge.
    """
    check_mergeable(module)
    active = module.active_adapter
    try:
        with quiet():
            whole = module.merge_and_unload()
    except (RuntimeError, ValueError, NotImplementedError, TypeError) as error:
        raise ModelError(
            f"PEFT cannot merge this {peft_type(module)} adapter into its base: {str(error)[:300]}",
            remedy=_OTHER_ADAPTER,
        ) from error
    unwrap_saved_modules(whole, active)  # PEFT's LN tuning leaves them wrapped, and the saved head would be lost
    return merge_updates(whole)


def unwrap_saved_modules(module: nn.Module, active: str) -> None:
    """Replace every ``ModulesToSaveWrapper`` by the active adapter's copy of the module."""
    from peft.utils.other import ModulesToSaveWrapper

    for name, layer in [(n, m) for n, m in module.named_modules() if isinstance(m, ModulesToSaveWrapper)]:
        module.set_submodule(name, layer.modules_to_save[active])


def merge_adapter(model: Classifier) -> Classifier:
    """Return the classifier with its adapter merged into full weights of its own, itself where it carries none.

    Modules that the adapter saved count as fresh too, so that a further adapter trains and saves them.
    """
    if not is_adapted(model):
        return model
    saved = modules_to_save_of(model.module)
    whole = merge_module(copy.deepcopy(model.module))
    fresh = [name for name, _ in whole.named_parameters() if saved & set(name.split("."))]
    source = replace(model.source, fresh=tuple(dict.fromkeys((*model.source.fresh, *fresh))))
    return replace(model, module=whole, source=source)


def remove_adapter(model: Classifier) -> Classifier:
    """Return a copy of the classifier's base as it was before the adapter, with the base's own head.

    Modules that the adapter saved count as fresh, so that a new adapter saves them too: perhaps no file holds them, such as the
    pooler of an encoder.

    Raises:
        ModelError: if the classifier carries no adapter.
    """
    if not is_adapted(model):
        raise ModelError("the model carries no adapter")
    base, originals = unload_adapter(copy.deepcopy(model.module))
    drawn = [f"{name}.{parameter}" for name, layer in originals.items() for parameter, _ in layer.named_parameters()]
    fresh = tuple(dict.fromkeys((*model.source.fresh, *drawn)))
    return replace(model.with_module(base.eval()), source=replace(base_source(model.source), fresh=fresh))


def unload_adapter(adapted: Any) -> tuple[Any, dict[str, nn.Module]]:
    """Return the base of a PEFT model as it was before the adapter, and its modules that the adapter had replaced, by name.

    ``adapted`` is used up. PEFT's ``unload`` leaves the adapter's saved modules in place; here the base's own come back.
    """
    from peft.utils.other import ModulesToSaveWrapper

    overwritten = getattr(adapted, "overwritten_base_tensors", {})
    modules = adapted.get_base_model().named_modules()
    originals = {name: layer.original_module for name, layer in modules if isinstance(layer, ModulesToSaveWrapper)}
    base = adapted.unload()
    for name, layer in originals.items():
        base.set_submodule(name, layer)
    base.load_state_dict(overwritten, strict=False)
    return base, originals


def base_source(source: ModelSource) -> ModelSource:
    """Return where the base of an adapter came from."""
    return replace(
        source, name=source.base or source.name, kind="full", base=None, sha256="", commit=source.base_commit
    )


def lora_updates(module: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the active LoRA update of each layer as ``(A (r, in), B (out, r))`` with the scale multiplied into B.

    For an embedding ``in`` is the number of tokens.

    Raises:
        ModelError: for adapters that are not plain LoRA (DoRA, biases, other methods).
    """
    from peft.tuners.lora import LoraLayer

    _check_plain_lora(module)
    updates: dict[str, tuple[Tensor, Tensor]] = {}
    active: Any = module.active_adapter
    for name, layer in module.get_base_model().named_modules():  # type: ignore[operator]
        if isinstance(layer, LoraLayer) and active in layer.lora_A:
            a, b = layer.lora_A[active].weight, layer.lora_B[active].weight
        elif isinstance(layer, LoraLayer) and active in layer.lora_embedding_A:
            a, b = layer.lora_embedding_A[active], layer.lora_embedding_B[active]
        elif isinstance(layer, LoraLayer):
            raise ModelError(f"LoRA on {name!r} cannot be folded", remedy="write full weights with --merge")
        else:
            continue
        updates[name] = a.detach(), b.detach() * layer.scaling[active]
    return updates


def _check_plain_lora(module: nn.Module) -> None:
    from peft import LoraConfig, PeftModel

    if not isinstance(module, PeftModel):
        raise ModelError("the model carries no adapter")
    config = module.peft_config[module.active_adapter]
    check_mergeable(module)
    further = _beyond_plain_lora(config) if isinstance(config, LoraConfig) else ""
    if peft_type(module) != "LORA" or further:
        raise ModelError(
            f"a {peft_type(module)} adapter{further} cannot be folded into one LoRA adapter",
            expected="plain LoRA without DoRA and bias",
            remedy="write full weights with --merge",
        )


def _beyond_plain_lora(config: Any) -> str:
    """Return what a LoRA config has beyond two small matrices a layer, as words for a message; empty for nothing."""
    switches = {
        "DoRA": config.use_dora,
        "trained biases": config.bias != "none" or getattr(config, "lora_bias", False),
    }
    not_in_every_peft = ("trainable_token_indices", "target_parameters", "alora_invocation_tokens", "arrow_config")
    found = [name for name, value in switches.items() if value]
    found += [name for name in not_in_every_peft if getattr(config, name, None)]
    return " with " + " and ".join(found) if found else ""


def fold_adapters(first: nn.Module, second: nn.Module) -> tuple[Any, dict[str, Tensor]]:
    """Return one LoRA config and its tensors for the sum of two updates of the same base, with the second's saved modules.

    Ranks add up: ``B1 A1 + B2 A2 = [B1 B2] [A1; A2]``, exact up to rounding. A layer that only one of them touches keeps its own
    rank (``rank_pattern``). What the second saves whole, such as a head, contains the first's update already.

    PEFT's ``add_weighted_adapter(combination_type="cat")`` does the same sum but not for these: it refuses two adapters that both
    save the head, needs both on one model, and gives every layer the sum of the largest ranks, padded with zeros.
    """
    from peft import LoraConfig, TaskType, get_peft_model_state_dict

    saved = second.peft_config[second.active_adapter].modules_to_save  # type: ignore[union-attr,index]
    left = {name: update for name, update in lora_updates(first).items() if not is_within(name, saved or ())}
    tensors, ranks = _concatenated(left, lora_updates(second), is_embedding=_embeddings_of(first, second))
    for key, value in get_peft_model_state_dict(second).items():
        if ".lora_" not in key:
            tensors[key] = value.detach().clone().contiguous()
    common = max(set(ranks.values()), key=list(ranks.values()).count)
    others = {re.escape(name): rank for name, rank in ranks.items() if rank != common}
    config = LoraConfig(
        r=common,
        lora_alpha=common,
        target_modules=exact_pattern(ranks),
        modules_to_save=saved,
        task_type=TaskType.SEQ_CLS,
        rank_pattern=others,
        alpha_pattern=dict(others),
        inference_mode=True,
        fan_in_fan_out=is_transposed(first),
    )
    return config, tensors


def _concatenated(
    left: Mapping[str, tuple[Tensor, Tensor]], right: Mapping[str, tuple[Tensor, Tensor]], *, is_embedding: set[str]
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Return the tensors of both updates side by side, by PEFT's key, and the rank of each layer."""
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    for name in sorted(left.keys() | right.keys()):
        pairs = [side[name] for side in (left, right) if name in side]
        a, b = torch.cat([a for a, _ in pairs], dim=0), torch.cat([b for _, b in pairs], dim=1)
        for part, tensor in (("A", a), ("B", b)):
            key = f"lora_embedding_{part}" if name in is_embedding else f"lora_{part}.weight"
            tensors[f"base_model.model.{name}.{key}"] = tensor.contiguous()
        ranks[name] = a.shape[0]
    return tensors, ranks


def _embeddings_of(*modules: Any) -> set[str]:
    """Return the names of the embeddings under the adapters, as the base calls them."""
    return {
        name
        for module in modules
        for name, layer in module.get_base_model().named_modules()
        if isinstance(getattr(layer, "base_layer", layer), nn.Embedding)
    }
