"""The classification layer of a model: where it is, and its input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from untrigger.core.errors import ModelError
from untrigger.models.input_spec import last_tokens, transformers_model


def classification_head(module: nn.Module, *, classes: int) -> nn.Linear:
    """Return the last linear layer with ``classes`` outputs: the one that computes the logits.

    Raises:
        ModelError: if there is none.
    """
    layer: Any = module.get_submodule(_head_name(module, classes=classes))
    while hasattr(layer, "base_layer"):
        layer = layer.base_layer
    assert isinstance(layer, nn.Linear)
    return layer


def head_module_of(module: nn.Module, *, classes: int) -> str:
    """Return the name of the top-level module of the ``transformers`` model that holds the classification layer."""
    inner = transformers_model(module)
    return _head_name(inner, classes=classes).split(".")[0]


def draw_new_head(module: nn.Module, *, classes: int, seed: int, std: float = 0.02) -> None:
    """Draw the linear layers of the head again, in place, so that nothing of a trained head is left.

    Args:
        module: a ``transformers`` sequence classifier without an adapter.
        classes: the number of outputs of its last layer.
        seed: of the weights; biases become 0.
        std: standard deviation of the weights (not tuned).
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.get_submodule(head_module_of(module, classes=classes)).modules():
            if isinstance(layer, nn.Linear):
                layer.weight.copy_(std * torch.randn(layer.weight.shape, generator=generator))
                if layer.bias is not None:
                    layer.bias.zero_()


def _head_name(module: nn.Module, *, classes: int) -> str:
    """Return the name of the classification layer, or of the adapter's layer around it."""
    found, backbone = "", _backbone(module)
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear) and layer.out_features == classes and not _is_not_head(name, backbone):
            found = name
    if not found:
        raise ModelError(
            "no classification layer was found",
            expected=f"a linear layer with {classes} outputs",
            remedy="give a sequence-classification checkpoint",
        )
    return found.removesuffix(".base_layer") if found.endswith(".base_layer") else found


def _backbone(module: nn.Module) -> str:
    """Return the full name of the backbone of a ``transformers`` model, empty for any other module."""
    inner = transformers_model(module)
    name = str(getattr(inner, "base_model_prefix", ""))
    if not name or not hasattr(inner, name) or getattr(inner, name) is inner:
        return ""
    prefix = next((path for path, part in module.named_modules() if part is inner), "")
    return f"{prefix}.{name}" if prefix else name


def _is_not_head(name: str, backbone: str) -> bool:
    """Return whether a layer is part of the backbone, a module that PEFT replaced, or one of an adapter's own matrices."""
    parts = name.split(".")
    inside = bool(backbone) and (name == backbone or name.startswith(f"{backbone}."))
    tuner = "base_layer" in parts and parts[-1] != "base_layer"
    return inside or tuner or "original_module" in parts or _is_adapter_matrix(parts)


def _is_adapter_matrix(parts: Sequence[str]) -> bool:
    """Return whether the layer is PEFT's own: ``lora_A.default`` and the like, or X-LoRA's classifier."""
    return any(part.startswith(("lora_", "vera_", "vblora_", "internal_xlora", "prompt_encoder")) for part in parts)


class HeadInputHook:
    """A context manager that records the input of the classification layer, and removes its hook at the end."""

    def __init__(self, module: nn.Module, *, classes: int) -> None:
        """Find the classification layer.

        Raises:
            ModelError: if there is none.
        """
        self._layer = module.get_submodule(_head_name(module, classes=classes))
        self._input: Tensor | None = None

    def __enter__(self) -> HeadInputHook:
        """Register the hook."""
        self._handle = self._layer.register_forward_pre_hook(self._record)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the hook."""
        self._handle.remove()

    def _record(self, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._input = inputs[0]

    def features(self, mask: Tensor) -> Tensor:
        """Return ``(B, d)``: for a head over every position ``(B, S, d)``, its input at the last token that is not padding."""
        return self._at(mask.sum(dim=1) - 1)

    def features_of(self, ids: Tensor, *, pad: int | None) -> Tensor:
        """Return ``(B, d)``: for a head over every position, its input where a model with this pad token reads the logits."""
        head_input = self._input
        # virtual tokens of prompt learning precede the text
        if head_input is not None and head_input.dim() == 3 and head_input.shape[1] != ids.shape[1]:
            return self._at(torch.full((len(ids),), head_input.shape[1] - 1, device=ids.device))
        return self._at(last_tokens(ids, pad=pad))

    def _at(self, positions: Tensor) -> Tensor:
        if self._input is None:
            raise ModelError("the classification layer was never called")
        if self._input.dim() == 2:
            return self._input.float()
        return self._input[torch.arange(len(positions), device=positions.device), positions].float()

    def positions(self) -> Tensor | None:
        """Return ``(B, S, d)`` for a head over every position, else None."""
        return self._input if self._input is not None and self._input.dim() == 3 else None
