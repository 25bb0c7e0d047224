"""Stacking of models: weights of their log-probabilities, fitted on labelled rows that none of them was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor
from torch.nn import functional

_LARGEST = 2.0  # a calibrated model gets no larger weight
_PRECISION = 1e-6  # of the least weight


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


def fit_least_weight(log_probabilities: Sequence[Tensor], labels: Tensor, *, bound: float) -> Tensor:
    """Return the weights ``(2,)`` of two models with the least weight of the first that predicts the labels well enough.

    For a first model that is not trusted: the pool takes no more from it than is needed. The cross-entropy of the pool on the N
    rows is convex in both weights, so the least weight is found by bisection between 0 and what ``fit_stacking`` returns.

    Args:
        log_probabilities: ``(N, C)`` of the first and of the second model.
        labels: ``(N,)``, the true classes.
        bound: the cross-entropy that is good enough; the weights of ``fit_stacking`` are returned where these do not reach it.
    """
    from scipy.optimize import bisect, minimize_scalar

    first, second = (one.detach().float() for one in log_probabilities)
    fitted = fit_stacking([first, second], labels)

    def loss(weights: tuple[float, float]) -> float:
        return float(functional.cross_entropy(weights[0] * first + weights[1] * second, labels))

    def second_weight(weight: float) -> float:
        return float(minimize_scalar(lambda other: loss((weight, other)), bounds=(0, _LARGEST), method="bounded").x)

    def excess(weight: float) -> float:
        return loss((weight, second_weight(weight))) - bound

    most = float(fitted[0])
    if excess(most) > 0:
        return fitted
    least = 0.0 if excess(0.0) <= 0 else float(bisect(excess, 0.0, most, xtol=_PRECISION))
    return torch.tensor([least, second_weight(least)])
