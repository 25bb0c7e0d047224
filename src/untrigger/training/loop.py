"""The one training loop of the package. A method is mostly its loss."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from untrigger.core.errors import DivergedError, OptionError
from untrigger.core.progress import Progress, silent
from untrigger.runtime.device import matmul_precision

logger = logging.getLogger(__name__)

MICRO_BATCH = 16  # rows a backward pass, so that a student of 135 million parameters fits the demo's memory


@dataclass(frozen=True)
class Plan:
    """How long and how hard to train.

    Attributes:
        lr: peak learning rate of AdamW, decaying linearly to 0 over the planned steps unless ``constant_lr``.
        epochs: passes; at least 1.
        batch_size: rows a step.
        weight_decay: AdamW's decoupled decay.
        warmup: share of the steps in which the rate climbs from 0.
        max_norm: gradients are scaled to at most this norm; None leaves them.
        use_dropout: whether the model's own dropout is active; drawing it costs a quarter of a step on a CPU.
        max_steps: stop after as many steps (0: no bound).
        micro_batch: rows a backward pass (0: the whole batch); less memory, the same mean gradient.
        constant_lr: whether the rate stays where it is, as for a training whose end is not planned.
    """

    lr: float
    epochs: int = 1
    batch_size: int = 32
    weight_decay: float = 0.01
    warmup: float = 0.0
    max_norm: float | None = 1.0
    use_dropout: bool = False
    max_steps: int = 0
    micro_batch: int = 0
    constant_lr: bool = False

    def __post_init__(self) -> None:
        """Check all options at once.

        Raises:
            OptionError: naming every option that is out of range.
        """
        wrong = [
            text
            for bad, text in (
                (not (math.isfinite(self.lr) and self.lr > 0), f"lr {self.lr}: a number above 0"),
                (self.epochs < 1, f"epochs {self.epochs}: 1 or more"),
                (self.batch_size < 1, f"batch_size {self.batch_size}: 1 or more"),
                (not 0 <= self.warmup < 1, f"warmup {self.warmup}: a share from 0 to below 1"),
            )
            if bad
        ]
        if wrong:
            raise OptionError("training options out of range", expected="; ".join(wrong))


@dataclass
class History:
    """The record of a training.

    Attributes:
        losses: of every step.
        terms: of every step, the named terms of its loss.
        scores: of every epoch.
        best_epoch: whose parameters were kept, from 0; None without scores.
    """

    losses: list[float] = field(default_factory=list)
    terms: list[dict[str, float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best_epoch: int | None = None

    @property
    def steps(self) -> int:
        """Optimiser steps taken."""
        return len(self.losses)


Loss = Callable[[Sequence[int]], tuple[Tensor, dict[str, float]]]
"""A function from the row numbers of a batch to the loss (a scalar with its graph) and its named terms."""
Epochs = Sequence[Sequence[Sequence[int]]] | Callable[[int], Sequence[Sequence[int]]]
"""The batches of every epoch, or a function from an epoch's number to them."""
Keep = Callable[[Sequence[float]], bool]
"""A function from the scores up to an epoch to whether the parameters of that epoch are to be kept."""
Split = Callable[[Sequence[int]], Iterable[Sequence[int]]]
"""A function from the row numbers of a step to those of each of its backward passes."""


def no_worse(scores: Sequence[float]) -> bool:
    """Return whether the last score is as good as every earlier one: of equal epochs the later is kept."""
    return scores[-1] >= max(scores[:-1], default=-math.inf)


def train(
    module: nn.Module,
    loss: Loss,
    *,
    epochs: Epochs,
    plan: Plan,
    score: Callable[[], float] | None = None,
    keep: Keep = no_worse,
    stop_fn: Callable[[], bool] | None = None,
    split: Split | None = None,
    progress: Progress = silent,
    label: str = "training",
) -> History:
    """Train every parameter of ``module`` that requires a gradient and return the history; ``module`` ends in eval mode.

    Args:
        module: the model; changed in place.
        loss: called with each batch of row numbers, while the module is in training mode.
        epochs: the batches of every epoch, or a function from the epoch's number to them.
        plan: learning rate, epochs and clipping.
        score: called after every epoch in eval mode; the module ends with the parameters of the last epoch that was kept.
        keep: whether an epoch is kept, by default the best one so far (of equal ones the later).
        stop_fn: called after every epoch's score; the training ends where it returns True.
        split: divides the rows of a step into backward passes; by default into ``plan.micro_batch`` rows each. The gradient is
            the mean over the rows of the step, however they are divided.
        progress: gets every step.
        label: name of the progress bar.

    Raises:
        DivergedError: if the loss is not finite; the parameters are then unusable.
    """
    batches = _planned_batches(epochs, plan)
    total = sum(len(epoch) for epoch in batches)
    trained = [p for p in module.parameters() if p.requires_grad]
    split = split or (lambda batch: _in_parts(batch, size=plan.micro_batch))
    optimiser = torch.optim.AdamW(trained, lr=plan.lr, weight_decay=plan.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _lr_factor(step, total, plan))
    history, best = History(), None
    with matmul_precision(), progress.task(label, total=total) as tick:
        for epoch in batches:
            module.train(plan.use_dropout)
            for batch in epoch:
                optimiser.zero_grad(set_to_none=True)
                _backward(loss, batch, split=split, history=history)
                if plan.max_norm is not None:
                    nn.utils.clip_grad_norm_(trained, plan.max_norm)
                optimiser.step()
                schedule.step()
                tick(1)
            module.eval()
            if score is not None:
                history.scores.append(score())
                if best is None or keep(history.scores):
                    best, history.best_epoch = [p.detach().clone() for p in trained], len(history.scores) - 1
            if stop_fn is not None and stop_fn():
                break
    optimiser.zero_grad(set_to_none=True)  # of full weights as large as the model
    if best is not None:
        _restore(trained, best)
    module.eval()
    logger.info("%s: %d steps, last loss %.4g", label, history.steps, history.losses[-1] if history.losses else 0.0)
    return history


def _planned_batches(epochs: Epochs, plan: Plan) -> list[list[Sequence[int]]]:
    """Return the batches of every epoch, at most ``plan.max_steps`` in all."""
    batches = [list(epochs(i) if callable(epochs) else epochs[i]) for i in range(plan.epochs)]
    if not plan.max_steps:
        return batches
    kept, left = [], plan.max_steps
    for epoch in batches:
        if left > 0:
            kept.append(epoch[:left])
        left -= len(epoch)
    return kept


def _in_parts(batch: Sequence[int], *, size: int) -> list[Sequence[int]]:
    """Return the rows of a step in parts of ``size`` (0: all in one)."""
    return [batch[start : start + size] for start in range(0, len(batch), size)] if size else [batch]


def _backward(loss: Loss, batch: Sequence[int], *, split: Split, history: History) -> None:
    """Add up the gradients of a batch, one part after the other, and record its mean loss and terms."""
    total, terms = 0.0, dict[str, float]()
    for part in split(batch):
        value, parts = loss(part)
        _check_finite(value, step=history.steps)
        share = len(part) / len(batch)
        (value * share).backward()
        total += share * float(value.detach())
        for name, term in parts.items():
            terms[name] = terms.get(name, 0.0) + share * term
    history.losses.append(total)
    history.terms.append(terms)


def _lr_factor(step: int, total: int, plan: Plan) -> float:
    """Return the learning rate of a step as a share of its peak: a linear rise over the warm-up, then a linear decay to 0.

    ``transformers.get_linear_schedule_with_warmup`` has other rates: its first step has the rate 0 and its warm-up whole steps.
    """
    if plan.constant_lr:
        return 1.0
    rise = plan.warmup * total
    if step < rise:
        return (step + 1) / (rise + 1)
    return max(0.0, (total - step) / max(1.0, total - rise))


def _check_finite(value: Tensor, *, step: int) -> None:
    """Raise DivergedError unless the loss is finite."""
    if not torch.isfinite(value.detach()):
        raise DivergedError(
            f"the loss became {float(value.detach())} at step {step + 1}", remedy="use a smaller learning rate"
        )


def _restore(parameters: Iterable[nn.Parameter], values: Iterable[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)
