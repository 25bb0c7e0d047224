"""Stacking of models: weights of their log-probabilities, fitted on labelled rows that none of them was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor
from torch.nn import functional


def fit_stacking(log_probabilities: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Return the weights ``(M,)``, 0 or more, with which M models predict the labels best (Wolpert 1992).

    The models' log-probabilities are added with these weights, which is a logarithmic opinion pool. The cross-entropy on the N
    rows is least, regularised towards weights of ``1 / M`` each with the weight of one row. The weights need not add up to 1:
    models that err on different texts are together more certain than each alone.

    Args:
        log_probabilities: ``(N, C)`` of each model.
        labels: ``(N,)``, the true classes.
    """
    count = len(log_probabilities)
    start = torch.full((count,), -log(count))
    log_weights = start.clone().requires_grad_()
    inputs = torch.stack([one.detach().float() for one in log_probabilities])
    optimiser = torch.optim.LBFGS([log_weights], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        pooled = torch.einsum("m,mnc->nc", log_weights.exp(), inputs)
        penalty = (log_weights - start).square().sum() / len(labels)
        loss = functional.cross_entropy(pooled, labels) + penalty
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[no-untyped-call]
    return log_weights.detach().exp()
