"""The parts of a distillation loss, each a mean over the batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def soft_cross(teacher: Tensor, student: Tensor, *, temperature: float) -> Tensor:
    """``T² · KL(softmax(z_T / T) ‖ softmax(z_S / T))``, mean over the batch; both logits are ``(B, C)`` (1503.02531)."""
    p = functional.log_softmax(teacher / temperature, dim=1)
    q = functional.log_softmax(student / temperature, dim=1)
    return temperature**2 * functional.kl_div(q, p, log_target=True, reduction="batchmean")


def alignment(teacher: Tensor, student: Tensor) -> Tensor:
    """``‖h_T - h_S‖²``, summed over the width and averaged over the batch; both features are ``(B, d)``."""
    return (teacher - student).pow(2).sum(dim=1).mean()


def shrinkage(teacher: Tensor, student: Tensor) -> Tensor:
    """The released code's alignment: every position of every sample against the teacher's **last sample**.

    Args:
        teacher: ``(B, d)``; only its last row is used.
        student: ``(B, S, d)``, padding included, or ``(B, d)`` where the head reads one position.
    """
    return (student - teacher[-1]).pow(2).sum(dim=-1).mean()


def one_hot_mixture(labels: Tensor, soft: Tensor, *, weight: float) -> Tensor:
    """``weight`` on the true class and the rest as ``soft`` says, ``(B, C)``."""
    hard = functional.one_hot(labels, soft.shape[1]).to(soft.dtype)
    return weight * hard + (1 - weight) * soft


def soft_target_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy against a distribution ``(B, C)``, mean over the batch."""
    return -(target * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()
