"""Adapters worked into the weights of their base, where PEFT can do that."""

from __future__ import annotations

from typing import Any

from torch import nn

from untrigger.core.errors import ModelError
from untrigger.models.pretrained import quiet
from untrigger.models.weight_sharing import merge_updates


def merge(module: Any) -> Any:
    """The base of a PEFT model with the adapter and the saved modules worked into its weights; ``module`` is used up."""
    refuse_unmergeable(module)
    active = module.active_adapter
    try:
        with quiet():
            whole = module.merge_and_unload()
    except (RuntimeError, ValueError, NotImplementedError, TypeError) as error:
        raise ModelError(
            f"PEFT cannot merge this {type_of(module)} adapter into its base: {str(error)[:300]}", remedy=_OTHER_ADAPTER
        ) from error
    unwrap(whole, active)  # PEFT's LN tuning leaves them wrapped, and the saved head would be lost
    return merge_updates(whole)


_OTHER_ADAPTER = "train the classifier with a LoRA adapter or full weights instead"


def type_of(module: Any) -> str:
    """The PEFT type of the active adapter, such as ``LORA``."""
    return str(getattr(module.peft_config[module.active_adapter].peft_type, "value", "PEFT"))


def refuse_unmergeable(module: Any) -> None:
    """Check that the adapter of a PEFT model can be merged into its base, as a second adapter or full weights need it.

    Raises:
        ModelError: for prompt tuning and its like, whose tokens stand before each text, and for mixtures of adapters.
    """
    if not hasattr(module, "merge_and_unload"):
        raise ModelError(
            f"a {type_of(module)} adapter can neither be merged into its base nor carry a second adapter",
            expected="an adapter whose update can be added to the weights, such as LoRA",
            remedy=_OTHER_ADAPTER,
        )


def unwrap(module: nn.Module, active: str) -> None:
    """Put the saved modules of the active adapter where PEFT wrapped them."""
    from peft.utils.other import ModulesToSaveWrapper

    for name, layer in [(n, m) for n, m in module.named_modules() if isinstance(m, ModulesToSaveWrapper)]:
        module.set_submodule(name, layer.modules_to_save[active])
