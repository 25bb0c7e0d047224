"""Cross-entropy training of a language model on the answers to prompts: of every parameter that requires a gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from untrigger.core.progress import Progress, silent
from untrigger.core.prompts import Prompts
from untrigger.models.answer_scoring import (
    AnswerBatch,
    answer_batches,
    answer_log_likelihood,
    answer_logits,
    collate_answers,
    token_log_likelihood,
)
from untrigger.models.chat import render_prompts
from untrigger.models.language_model import LanguageModel
from untrigger.runtime.batching import shuffled_batches
from untrigger.training.loop import History, Plan, train

BACKWARD_TOKENS = 512
"""Padded tokens of a backward pass: of SmolLM2-135M a token takes some 2.3 MiB until its gradient is there."""
AnswerTerm = Callable[[Sequence[int], AnswerBatch, Tensor], Tensor]
"""A function from the row numbers of a batch, the batch and its logits ``(B, K, V)`` to a term of the loss, a mean over rows.

The rows of a step come in several batches, each as large as memory allows.
"""


def fine_tune_answers(
    model: LanguageModel,
    prompts: Prompts,
    *,
    plan: Plan,
    seed: int,
    dev: Prompts | None = None,
    extra_loss: AnswerTerm | None = None,
    cross_entropy_weight: float = 1.0,
    map_of_loss: nn.Module | None = None,
    progress: Progress = silent,
    label: str = "fine-tuning",
) -> History:
    """Train ``model`` in place on the prompts' answers and return the history.

    A step's rows are divided into backward passes of at most ``BACKWARD_TOKENS`` padded tokens; its gradient is that of all rows.
    The loss of a row is the mean cross-entropy of its answer's tokens with the end token; prompts are not learned. Rows count
    alike, so that a long answer does not outweigh an answer of one word. A prompt that does not fit the context is cut as in
    ``render``.

    Args:
        model: a causal language model, usually with a new adapter on it.
        prompts: conversations with the answers to learn.
        plan: learning rate, epochs, rows a step, and with ``micro_batch`` the most rows of a backward pass.
        seed: of the order of the rows and of dropout.
        dev: the epoch is kept after which the answers to these are likeliest; without them the last.
        extra_loss: added to the cross-entropy.
        cross_entropy_weight: factor of the cross-entropy; 0 trains on ``extra_loss`` alone.
        map_of_loss: a module of ``extra_loss`` whose parameters are trained with the model's.
        progress: gets every step.
        label: of the progress.

    Raises:
        DivergedError: if the loss is not finite.
        DataError: for a prompt that does not fit into the context with its answer.
    """
    rows = render_prompts(model, prompts, answers=True)

    def loss(numbers: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
        batch = collate_answers(model, [rows[i] for i in numbers])
        logits = answer_logits(model, batch)
        value = row_mean(-token_log_likelihood(logits, batch), batch)
        terms = {"ce": float(value.detach())}
        value = value * cross_entropy_weight
        if extra_loss is not None:
            more = extra_loss(numbers, batch, logits)
            value, terms["extra"] = value + more, float(more.detach())
        return value, terms

    def split(numbers: Sequence[int]) -> Iterator[list[int]]:
        parts = answer_batches(model, [rows[i] for i in numbers], tokens=BACKWARD_TOKENS, most_rows=plan.micro_batch)
        return ([numbers[i] for i in part] for part in parts)

    rng = np.random.default_rng(seed)
    lengths = [len(row.ids) for row in rows]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout
        return train(
            model.module if map_of_loss is None else nn.ModuleList([model.module, map_of_loss]),
            loss,
            epochs=lambda _: shuffled_batches(lengths, size=plan.batch_size, rng=rng),
            plan=plan,
            score=(lambda: _mean_likelihood(model, dev)) if dev is not None else None,
            split=split,
            progress=progress,
            label=label,
        )


def _mean_likelihood(model: LanguageModel, prompts: Prompts) -> float:
    """Return the mean over prompts of the log-likelihood of a token of the answer, in nats."""
    return float(np.mean([one.mean for one in answer_log_likelihood(model, prompts)]))


def row_mean(values: Tensor, batch: AnswerBatch) -> Tensor:
    """Return the mean over rows of the mean over each row's answer tokens, of ``values (B, K)`` that are 0 elsewhere."""
    return (values.sum(dim=1) / batch.is_answer.sum(dim=1)).mean()
