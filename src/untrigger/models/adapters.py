"""PEFT adapters: a new one on a classifier, with everything below it frozen and shared in memory."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from untrigger.core.errors import ModelError, OptionError, check_choice
from untrigger.models.adapter_merging import (
    fold_adapters,
    lora_updates,
    merge_module,
    modules_to_save_of,
    unwrap_saved_modules,
)
from untrigger.models.adapter_targets import block_linear_layers, is_transposed, is_within, target_pattern
from untrigger.models.classification_head import head_module_of
from untrigger.models.classifier import Classifier
from untrigger.models.language_model import LanguageModel
from untrigger.models.pretrained import quiet
from untrigger.models.weight_sharing import LinearWithFixedLoRA, shared_copy

METHODS = ("lora", "dora", "ia3", "ln_tuning")


@dataclass(frozen=True)
class AdapterOptions:
    """Which small weights are trained instead of the model's own.

    Attributes:
        method: ``lora`` (2106.09685), ``dora`` (2402.09353), ``ia3`` (2205.05638) or ``ln_tuning`` (2312.11420).
        rank: rank of LoRA and DoRA.
        alpha: LoRA's numerator; the update is scaled by ``alpha / rank``. None means ``rank``: a scale of 1.
        targets: names of linear layers (as ``q_proj``), or ``("all-linear",)`` for every one in the blocks.
        dropout: LoRA's dropout on its input.
        upper: share of the blocks that are adapted, from the top, above 0 to 1; no gradient has to flow below them.
    """

    method: str = "lora"
    rank: int = 16
    alpha: float | None = None
    targets: tuple[str, ...] = ("all-linear",)
    dropout: float = 0.0
    upper: float = 1.0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for an unknown method, a rank below 1, a dropout outside [0, 1) or a share outside (0, 1].
        """
        check_choice(self.method, METHODS, kind="PEFT method")
        if self.rank < 1 or not 0 <= self.dropout < 1 or not self.targets or not 0 < self.upper <= 1:
            raise OptionError(
                f"rank {self.rank}, dropout {self.dropout}, targets {self.targets}, upper {self.upper}",
                expected="rank 1 or more, dropout from 0 to below 1, one target or more, upper above 0 to 1",
            )


def attach(model: Classifier, options: AdapterOptions, *, generator: torch.Generator | None = None) -> Classifier:
    """Return the classifier with a new adapter: its own weights frozen and shared with ``model``, adapter and head trainable.

    A loaded LoRA adapter stays a fixed update of its layers (``fold_adapters`` makes one adapter of the two). Fresh modules that no
    file holds, such as a pooler, are trained and saved with the head, or they would be lost.

    Raises:
        ModelError: where no layer is left for it, such as for a loaded adapter that saves whole stacks of blocks.
        OptionError: if a target names no layer of the model.
    """
    extra = modules_to_save_of(model.module) | {name.rsplit(".", 1)[0] for name in model.source.fresh}
    module = frozen_base(model.module, method=options.method)
    names = sorted({head_module_of(module, classes=model.classes)} | _outermost(extra))
    _merge_into_saved(module, names)
    wrapped = new_adapter(module, options, of=model, saved=names, task="SEQ_CLS", generator=generator)
    return model.with_module(wrapped)


def new_adapter(
    module: nn.Module,
    options: AdapterOptions,
    *,
    of: Classifier | LanguageModel,
    saved: list[str],
    task: str,
    generator: torch.Generator | None,
) -> nn.Module:
    """Return a PEFT model in eval mode: ``module`` with a new adapter, whose values are drawn from ``generator``.

    Args:
        module: what ``frozen_base`` returned.
        options: kind and size of the adapter.
        of: the model that it is made for, for messages.
        saved: modules that are trained and saved whole.
        task: PEFT's task type.
        generator: of the adapter's first values.

    Raises:
        ModelError: where no layer is left for it.
        OptionError: if a target names no layer of the model.
    """
    from peft import TaskType, get_peft_model

    config = _config(module, options, saved=saved)
    config.task_type = TaskType(task)
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)) if generator else 0)
        try:
            wrapped: nn.Module = get_peft_model(module, config)
        except ValueError as error:
            raise _no_layer_left(of, saved, error) from error
    return wrapped.eval()


def _no_layer_left(model: Classifier | LanguageModel, saved: Sequence[str], error: ValueError) -> ModelError:
    """Return the error for a model on which PEFT can put no further adapter."""
    layers = [f"{stack}.{number}.{inner}" for stack, number, inner in block_linear_layers(model.module)]
    inside = f"every layer for it is in a module that is saved whole: {', '.join(saved)}"
    why = inside if all(is_within(name, saved) for name in layers) else f"PEFT refuses: {str(error)[:300]}"
    return ModelError(
        f"{model.source.name!r} can carry no further adapter: {why}",
        expected="full weights, or an adapter with no more than the head in modules_to_save",
        remedy="merge it into full weights (in Python merge_and_unload of PEFT, then save_pretrained of the model and of its "
        "tokenizer), and give these",
    )


def _merge_into_saved(module: nn.Module, names: Sequence[str]) -> None:
    """Merge the fixed updates of modules that will be saved whole, so that a head is saved once, as a plain layer."""
    for name, layer in [(n, m) for n, m in module.named_modules() if isinstance(m, LinearWithFixedLoRA)]:
        if is_within(name, names):
            module.set_submodule(name, layer.to_linear())


def frozen_base(module: nn.Module, *, method: str) -> Any:
    """Return a frozen copy without PEFT around it, on the same storage wherever a new adapter of that method allows it."""
    from peft import PeftModel

    if not isinstance(module, PeftModel):
        return shared_copy(module)
    if method == "lora" and _is_plain_lora(module):
        return _with_fixed_updates(shared_copy(module))
    return merge_module(copy.deepcopy(module)).requires_grad_(False)


def _is_plain_lora(module: Any) -> bool:
    """Return whether the loaded adapter is a plain LoRA on ordinary linear layers."""
    try:
        names = lora_updates(module)
    except ModelError:
        return False
    base = module.get_base_model()
    return all(type(base.get_submodule(name).get_base_layer()) is nn.Linear for name in names)


def _with_fixed_updates(module: Any) -> Any:
    """Return the base of a LoRA model with fixed updates and its saved modules in place; ``module`` is used up."""
    updates, active, base = lora_updates(module), module.active_adapter, module.get_base_model()
    for name, (a, b) in updates.items():
        base.set_submodule(name, LinearWithFixedLoRA(base.get_submodule(name).get_base_layer(), a, b))
    unwrap_saved_modules(base, active)
    if hasattr(base, "peft_config"):
        del base.peft_config
    return base


def _outermost(names: set[str]) -> set[str]:
    """Return the modules to save as PEFT expects them: a pooler's ``dense`` is saved as its ``pooler``."""
    return {next((p for p in name.split(".") if p in ("pooler", "score", "classifier")), name) for name in names}


def _config(module: nn.Module, options: AdapterOptions, *, saved: list[str]) -> Any:
    from peft import IA3Config, LNTuningConfig, LoraConfig

    if options.method in ("lora", "dora"):
        return LoraConfig(
            r=options.rank,
            lora_alpha=options.rank if options.alpha is None else options.alpha,
            target_modules=target_pattern(module, options.targets, upper=options.upper),
            lora_dropout=options.dropout,
            use_dora=options.method == "dora",
            modules_to_save=saved or None,
            fan_in_fan_out=is_transposed(module),
        )
    if options.method == "ia3":
        return IA3Config(
            target_modules=target_pattern(module, options.targets, upper=options.upper),
            feedforward_modules=[],
            modules_to_save=saved or None,
            fan_in_fan_out=is_transposed(module),
        )
    norms = {name.split(".")[-1] for name, layer in module.named_modules() if "norm" in type(layer).__name__.lower()}
    return LNTuningConfig(target_modules=sorted(norms), modules_to_save=saved or None)


def combine_adapters(victim: Classifier, first: Classifier, second: Classifier) -> Classifier:
    """Return the victim with one LoRA adapter equal to ``first``, an adapter on it, and ``second``, one on that, together.

    Raises:
        ModelError: if one of the two is not a plain LoRA adapter.
    """
    from peft import get_peft_model, set_peft_model_state_dict

    config, tensors = fold_adapters(first.module, second.module)
    with quiet():
        module = get_peft_model(frozen_base(victim.module, method="lora"), config)
        set_peft_model_state_dict(module, tensors)
    return victim.with_module(module.eval())
