"""Calibration of a model's answers on rows whose labels are known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Scaling:
    """``scale · z + bias``: one temperature and one bias a class (vector scaling in small, 1706.04599).

    Attributes:
        scale: what logits are multiplied by; below 1 for a model that is too sure of itself.
        bias: ``(C,)``, added afterwards; its mean is 0.
    """

    scale: Tensor
    bias: Tensor

    def __call__(self, logits: Tensor) -> Tensor:
        """The calibrated logits ``(N, C)``."""
        return logits * self.scale + self.bias


def fit_vector_scaling(logits: Tensor, labels: Tensor, *, fit_bias: bool = True) -> Scaling:
    """The scaling with the least cross-entropy on N rows, held to ``scale 1, bias 0`` with the weight of one row.

    Args:
        logits: ``(N, C)``.
        labels: ``(N,)``, the true classes.
        fit_bias: whether the model may lean to a class. A poisoned model leans towards its target on honest texts too; on
            clean rows that it was not trained on, the lean shows and is taken back. A clean model's lean on a hundred
            rows is mostly chance: it keeps a bias of 0.
    """
    log_scale = torch.zeros((), requires_grad=True)
    bias = torch.zeros(logits.shape[1], requires_grad=fit_bias)
    fitted = [log_scale, bias] if fit_bias else [log_scale]
    optimiser = torch.optim.LBFGS(fitted, max_iter=100, line_search_fn="strong_wolfe")
    fixed = logits.detach().float()

    def closure() -> Tensor:
        optimiser.zero_grad()
        held = (log_scale.square() + bias.square().sum()) / len(labels)
        loss = functional.cross_entropy(fixed * log_scale.exp() + bias, labels) + held
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[no-untyped-call]
    return Scaling(log_scale.detach().exp(), (bias - bias.mean()).detach())
