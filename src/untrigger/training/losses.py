"""The terms of a distillation loss, each a mean over the batch."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def kl_divergence(teacher: Tensor, student: Tensor, *, temperature: float) -> Tensor:
    """Return ``KL(softmax(z_T / T) ‖ softmax(z_S / T))``, mean over the batch; both logits are ``(B, C)``."""
    p = functional.log_softmax(teacher / temperature, dim=1)
    q = functional.log_softmax(student / temperature, dim=1)
    return functional.kl_div(q, p, log_target=True, reduction="batchmean")


def kd_loss(teacher: Tensor, student: Tensor, *, temperature: float) -> Tensor:
    """Return the distillation loss ``T² · KL(softmax(z_T / T) ‖ softmax(z_S / T))`` (Hinton 2015, 1503.02531)."""
    return temperature**2 * kl_divergence(teacher, student, temperature=temperature)


def feature_alignment(teacher: Tensor, student: Tensor) -> Tensor:
    """Return ``‖h_T - h_S‖²``, summed over the width and averaged over the batch; both features are ``(B, d)``."""
    return (teacher - student).pow(2).sum(dim=1).mean()


def released_alignment(teacher: Tensor, student: Tensor) -> Tensor:
    """Return the alignment of W2SDefense's released code: every position against the teacher's **last sample**.

    Args:
        teacher: ``(B, d)``; only its last row is used.
        student: ``(B, S, d)``, padding included, or ``(B, d)`` where the head reads one position.
    """
    return (student - teacher[-1]).pow(2).sum(dim=-1).mean()
