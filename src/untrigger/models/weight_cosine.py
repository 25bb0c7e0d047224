"""Whether weights were fine-tuned from a base: their mean cosine with it."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from untrigger.models.adapter_targets import block_linear_layers

MADE_FROM_BASE = 0.9
"""Mean cosine from which weights were made from a base: fine-tuned ones have more than 0.99, unrelated ones about 0."""


def weight_cosine(module: nn.Module, base: nn.Module) -> float:
    """Return the mean cosine of both weights over the linear layers of the blocks; 0 for layers of other shapes.

    Args:
        module: the weights in question.
        base: another model whose layers have the same names, on the same device.
    """
    others = dict(base.named_modules())
    cosines = []
    for stack, number, part in block_linear_layers(module):
        name = f"{stack}.{number}.{part}"
        layer: Any = module.get_submodule(name)
        counterpart: Any = others.get(name, module)
        if type(counterpart) is not type(layer) or counterpart.weight.shape != layer.weight.shape:
            return 0.0
        cosines.append(float(torch.cosine_similarity(_flat(layer), _flat(counterpart), dim=0)))
    return fmean(cosines) if cosines else 0.0


def _flat(layer: Any) -> Tensor:
    return layer.weight.detach().float().flatten()  # type: ignore[no-any-return]
