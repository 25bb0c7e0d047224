"""How the update of a layer is spread over directions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

DIRECTIONS = 8
ITERATIONS = 6


class Spectrum(NamedTuple):
    """Of one layer's update.

    Attributes:
        share: the largest squared singular value over the sum of all, 0 to 1.
        rank: effective rank ``exp(H(s / Σs))`` (Roy and Vetterli 2007) of a LoRA update; of full weights the stable rank
            ``Σs² / s₁²``, as not every singular value is computed.
        direction: left singular vector ``(out,)`` of the largest one.
    """

    share: float
    rank: float
    direction: Tensor


def of_lora(a: Tensor, b: Tensor) -> Spectrum | None:
    """Return the spectrum of ``B A`` from ``A (r, in)`` and ``B (out, r)`` without forming the product; None for a zero update.

    ``B = Q_b R_b`` and ``Aᵀ = Q_a R_a`` give ``B A = Q_b (R_b R_aᵀ) Q_aᵀ``: the singular values of the inner ``(r, r)``.
    """
    q_b, r_b = torch.linalg.qr(b)
    r_a = torch.linalg.qr(a.T).R
    left, values, _ = torch.linalg.svd(r_b @ r_a.T)
    total = float(values.square().sum())
    if not total > 0:
        return None
    p = values / values.sum()
    entropy = float(-(p * p.clamp_min(1e-12).log()).sum())
    return Spectrum(float(values[0].square()) / total, float(torch.tensor(entropy).exp()), q_b @ left[:, 0])


def of_update(delta: Tensor, *, seed: int = 0) -> Spectrum | None:
    """Return the spectrum of ``delta (out, in)`` by subspace iteration; None for a zero update."""
    total = float(delta.square().sum())
    if not total > 0:
        return None
    count = min(DIRECTIONS, *delta.shape)
    basis = torch.randn(delta.shape[1], count, generator=torch.Generator().manual_seed(seed))
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(delta.T @ (delta @ basis)).Q
    left, values, _ = torch.linalg.svd(delta @ basis, full_matrices=False)
    largest = float(values[0].square())
    return Spectrum(min(1.0, largest / total), total / largest, left[:, 0])


def alignment(direction: Tensor, head: Tensor) -> float:
    """Return the largest absolute cosine between a direction ``(d,)`` and a class of the head ``(C, d)``, less their mean."""
    classes = head - head.mean(dim=0)
    return float(torch.nn.functional.cosine_similarity(classes, direction.unsqueeze(0), dim=1).abs().max())
