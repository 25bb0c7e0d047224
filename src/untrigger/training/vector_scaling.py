"""Calibration of a model's logits on labelled rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class VectorScaling:
    """``scale · z + bias``: one temperature and one bias a class (vector scaling with a single scale, 1706.04599).

    Attributes:
        scale: what logits are multiplied by; below 1 for an overconfident model.
        bias: ``(C,)``, added afterwards; its mean is 0.
    """

    scale: Tensor
    bias: Tensor

    def __call__(self, logits: Tensor) -> Tensor:
        """Return the calibrated logits ``(N, C)``."""
        return logits * self.scale + self.bias


def fit_vector_scaling(logits: Tensor, labels: Tensor, *, fit_bias: bool = True) -> VectorScaling:
    """Return the scaling with the least cross-entropy on N rows, regularised to ``scale 1, bias 0`` with the weight of one row.

    Without rows that is what is returned.

    Args:
        logits: ``(N, C)``.
        labels: ``(N,)``, the true classes.
        fit_bias: whether a bias is fitted. A poisoned model prefers its target on clean texts too, and the bias corrects that.
            What a clean model prefers on a hundred rows is mostly chance: its bias stays 0.
    """
    if not len(labels):
        return VectorScaling(torch.ones(()), torch.zeros(logits.shape[1]))
    log_scale = torch.zeros((), requires_grad=True)
    bias = torch.zeros(logits.shape[1], requires_grad=fit_bias)
    fitted = [log_scale, bias] if fit_bias else [log_scale]
    optimiser = torch.optim.LBFGS(fitted, max_iter=100, line_search_fn="strong_wolfe")
    inputs = logits.detach().float()

    def closure() -> Tensor:
        optimiser.zero_grad()
        penalty = (log_scale.square() + bias.square().sum()) / len(labels)
        loss = functional.cross_entropy(inputs * log_scale.exp() + bias, labels) + penalty
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[no-untyped-call]
    return VectorScaling(log_scale.detach().exp(), (bias - bias.mean()).detach())
