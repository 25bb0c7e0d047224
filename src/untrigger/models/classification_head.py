"""The classification layer of a model: where it is, and what goes into it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from untrigger.core.errors import ModelError
from untrigger.models.input_spec import last_tokens, transformers_model


def classification_head(module: nn.Module, *, classes: int) -> nn.Linear:
    """The last linear layer with ``classes`` outputs: the one that makes the logits.

    Raises:
        ModelError: if there is none.
    """
    layer: Any = module.get_submodule(_head_name(module, classes=classes))
    while hasattr(layer, "base_layer"):
        layer = layer.base_layer
    assert isinstance(layer, nn.Linear)
    return layer


def head_module_of(module: nn.Module, *, classes: int) -> str:
    """The name of the part of the ``transformers`` model beside its backbone that holds the classification layer."""
    inner = transformers_model(module)
    return _head_name(inner, classes=classes).split(".")[0]


def _head_name(module: nn.Module, *, classes: int) -> str:
    """The name of the classification layer, of the adapter's layer around it where there is one."""
    found, backbone = "", _backbone(module)
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear) and layer.out_features == classes and not _is_part(name, backbone):
            found = name
    if not found:
        raise ModelError(
            "no classification layer was found",
            expected=f"a linear layer with {classes} outputs",
            remedy="give a sequence-classification checkpoint",
        )
    return found.removesuffix(".base_layer") if found.endswith(".base_layer") else found


def _backbone(module: nn.Module) -> str:
    """The full name of the part of a ``transformers`` model under its head, empty where the module is none."""
    inner = transformers_model(module)
    name = str(getattr(inner, "base_model_prefix", ""))
    if not name or not hasattr(inner, name) or getattr(inner, name) is inner:
        return ""
    own = next((path for path, part in module.named_modules() if part is inner), "")
    return f"{own}.{name}" if own else name


def _is_part(name: str, backbone: str) -> bool:
    """Whether a layer belongs to the backbone, to what an adapter put aside or to the adapter's own small matrices."""
    parts = name.split(".")
    inside = bool(backbone) and (name == backbone or name.startswith(f"{backbone}."))
    tuner = "base_layer" in parts and parts[-1] != "base_layer"
    return inside or tuner or "original_module" in parts or _is_adapter_matrix(parts)


def _is_adapter_matrix(parts: Sequence[str]) -> bool:
    """Whether PEFT named the layer: ``lora_A.default`` and the like, or X-LoRA's own classifier."""
    return any(part.startswith(("lora_", "vera_", "vblora_", "internal_xlora", "prompt_encoder")) for part in parts)


class HeadInputHook:
    """A context that catches the input of the classification layer, and takes its hook away again."""

    def __init__(self, module: nn.Module, *, classes: int) -> None:
        """Remember the layer to listen to."""
        self._layer = module.get_submodule(_head_name(module, classes=classes))
        self._caught: Tensor | None = None

    def __enter__(self) -> HeadInputHook:
        """Start to listen."""
        self._handle = self._layer.register_forward_pre_hook(self._catch)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._handle.remove()

    def _catch(self, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._caught = inputs[0]

    def features(self, mask: Tensor) -> Tensor:
        """``(B, d)``: for a head over every position ``(B, S, d)``, the one at the last real token."""
        return self._at(mask.sum(dim=1) - 1)

    def features_of(self, ids: Tensor, *, pad: int | None) -> Tensor:
        """``(B, d)``: for a head over every position, the one that a model with this pad token reads."""
        caught = self._caught
        if (
            caught is not None and caught.dim() == 3 and caught.shape[1] != ids.shape[1]
        ):  # learned prompts stand before the text
            return self._at(torch.full((len(ids),), caught.shape[1] - 1, device=ids.device))
        return self._at(last_tokens(ids, pad=pad))

    def _at(self, places: Tensor) -> Tensor:
        if self._caught is None:
            raise ModelError("the classification layer was never called")
        if self._caught.dim() == 2:
            return self._caught.float()
        return self._caught[torch.arange(len(places), device=places.device), places].float()

    def positions(self) -> Tensor | None:
        """``(B, S, d)`` for a head over every position, else None."""
        return self._caught if self._caught is not None and self._caught.dim() == 3 else None
