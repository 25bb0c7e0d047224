"""Copies of a model that share its weights in memory.

A victim, its directional mapping and its student differ by small adapters. Three deep copies of a model of seven billion
parameters would hold its weights three times; these hold them once.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn
from torch.nn import functional


class LinearWithFixedLoRA(nn.Linear):
    """A linear layer with a fixed low-rank update: ``W x + b + B (A x)``.

    The weight stays that of the original layer, so that other copies can share it. (Two active adapters of one PEFT model do not
    serve here: both would save the head.)
    """

    def __init__(self, layer: nn.Linear, a: Tensor, b: Tensor) -> None:
        """Share weight and bias of ``layer``; ``a`` is ``(r, in)``, ``b`` is ``(out, r)`` with the scale multiplied in."""
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias
        self.register_buffer("update_a", a)
        self.register_buffer("update_b", b)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output plus the update's."""
        a, b = self.get_buffer("update_a"), self.get_buffer("update_b")
        return functional.linear(x, self.weight, self.bias) + functional.linear(functional.linear(x, a), b)

    def to_linear(self) -> nn.Linear:
        """Return one linear layer with the update merged into a weight of its own."""
        layer = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        weight = self.weight.detach() + self.get_buffer("update_b") @ self.get_buffer("update_a")
        layer.weight, layer.bias = nn.Parameter(weight, requires_grad=False), self.bias
        return layer


def shared_copy(module: nn.Module) -> Any:
    """Return a copy of ``module`` whose parameters and buffers share its storage, none of them trainable.

    Adapters, hooks and flags that are added to the copy do not touch ``module``. The copy's weights must not be written to.
    """
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=False)
    for buffer in module.buffers():
        memo[id(buffer)] = buffer.detach()
    return copy.deepcopy(module, memo)


def merge_updates(module: nn.Module) -> nn.Module:
    """Replace every ``LinearWithFixedLoRA`` in ``module`` by a plain linear layer, in place, and return ``module``."""
    for name, layer in [(n, m) for n, m in module.named_modules() if isinstance(m, LinearWithFixedLoRA)]:
        module.set_submodule(name, layer.to_linear())
    return module
