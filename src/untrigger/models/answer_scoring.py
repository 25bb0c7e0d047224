"""Teacher-forced answers: the logits of given answers' tokens, their log-likelihood, and the divergence from another model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from untrigger.core.progress import Progress, silent
from untrigger.core.prompts import Prompts
from untrigger.models.chat import Rendered, padding_token, render_prompts
from untrigger.models.language_model import LanguageModel
from untrigger.runtime.batching import packed
from untrigger.runtime.device import matmul_precision

BATCH_TOKENS = 2048
LARGEST_LOGITS = 2**26
"""Numbers in the logits of one batch (256 MiB): a vocabulary of 262,144 tokens then gets 256 positions a batch."""


@dataclass(frozen=True)
class AnswerBatch:
    """Conversations with answers, padded on the left so that all answers end in the last column.

    Attributes:
        input_ids: token ids ``(B, S)``.
        attention_mask: 1 for a token, 0 for padding ``(B, S)``.
        position_ids: position of each token in its own row, as ``generate`` counts them ``(B, S)``.
        targets: the last ``K`` columns of ``input_ids``, ``K`` the length of the longest answer ``(B, K)``.
        is_answer: which of them are answer tokens or the end token ``(B, K)``.
    """

    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    targets: Tensor
    is_answer: Tensor

    def take(self, places: Sequence[int]) -> AnswerBatch:
        """Return the rows at ``places``, as they are padded here."""
        rows = list(places)
        return AnswerBatch(*(getattr(self, one.name)[rows] for one in fields(self)))


class AnswerScore(NamedTuple):
    """A sum over an answer's tokens, the end token included, in nats, and the number of these tokens."""

    total: float
    tokens: int

    @property
    def mean(self) -> float:
        """The same for one token, in nats."""
        return self.total / self.tokens


def collate_answers(model: LanguageModel, rows: Sequence[Rendered]) -> AnswerBatch:
    """Return one batch on the model's device; every row has an answer."""
    width, longest = max(len(row.ids) for row in rows), max(row.answer_tokens for row in rows)
    pad = padding_token(model)
    ids = torch.tensor([[*[pad] * (width - len(row.ids)), *row.ids] for row in rows], dtype=torch.long)
    lengths = torch.tensor([len(row.ids) for row in rows]).unsqueeze(1)
    column = torch.arange(width)
    mask = (column >= width - lengths).long()
    positions = (column - (width - lengths)).clamp_min(0)
    answers = torch.tensor([row.answer_tokens for row in rows]).unsqueeze(1)
    is_answer = torch.arange(longest) >= longest - answers
    made = (ids, mask, positions, ids[:, width - longest :], is_answer)
    return AnswerBatch(*(one.to(model.device) for one in made))


def answer_batches(
    model: LanguageModel, rows: Sequence[Rendered], *, tokens: int = BATCH_TOKENS, most_rows: int = 0
) -> Iterator[list[int]]:
    """Yield row numbers in batches of bounded memory, one row at least, rows of similar length together.

    Args:
        model: the model that will read them.
        rows: conversations with answers.
        tokens: padded tokens a batch; its logits are bounded by ``LARGEST_LOGITS`` besides, answers padded to the longest one.
        most_rows: of one batch (0: any number).
    """
    positions = max(1, LARGEST_LOGITS // model.vocabulary_size)
    kept = "logits_to_keep" in model.forward_arguments
    for numbers in packed([len(row.ids) for row in rows], tokens=tokens):
        answers = [rows[i].answer_tokens if kept else len(rows[i].ids) for i in numbers]
        for part in packed(answers, tokens=positions, rows=most_rows):
            yield [numbers[i] for i in part]


def answer_logits(model: LanguageModel, batch: AnswerBatch) -> Tensor:
    """Return ``(B, K, V)``: the float32 logits that predict ``batch.targets``, with gradients where autograd is on.

    The vocabulary head is computed for these positions only where the architecture allows that (``logits_to_keep``).
    """
    count, known = batch.targets.shape[1], model.forward_arguments
    given = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "use_cache": False}
    if "position_ids" in known:
        given["position_ids"] = batch.position_ids
    if "logits_to_keep" in known:
        given["logits_to_keep"] = count + 1
    logits: Tensor = model.module(**given).logits
    return logits[:, -count - 1 : -1].float()


def token_log_likelihood(logits: Tensor, batch: AnswerBatch) -> Tensor:
    """Return ``(B, K)``: the log-probability of each target, 0 where it is no answer token."""
    chosen = logits.gather(2, batch.targets.unsqueeze(2)).squeeze(2) - logits.logsumexp(dim=2)
    return chosen.masked_fill(~batch.is_answer, 0.0)


def token_kl(logits: Tensor, reference: Tensor, batch: AnswerBatch) -> Tensor:
    """Return ``(B, K)``: the divergence of the predicted distribution from the reference, ``KL(reference || predicted)``.

    It is 0 where the target is no answer token. Both logits are ``(B, K, V)``.
    """
    expected = reference.log_softmax(dim=2)
    kl = (expected.exp() * (expected - logits.log_softmax(dim=2))).sum(dim=2)
    return kl.masked_fill(~batch.is_answer, 0.0)


def answer_log_likelihood(
    model: LanguageModel, prompts: Prompts, *, progress: Progress = silent, label: str = "scoring answers"
) -> list[AnswerScore]:
    """Return the log-likelihood of each prompt's answer (for other answers: ``prompts.with_answers``), in the order given."""
    rows = render_prompts(model, prompts, answers=True)
    with progress.task(label, total=len(rows)) as tick:
        return _by_row(
            (numbers, token_log_likelihood(answer_logits(model, batch), batch), batch)
            for numbers, batch in _batches(model, rows, tick)
        )


def answer_token_scores(
    model: LanguageModel, prompts: Prompts, *, progress: Progress = silent, label: str = "scoring answers"
) -> list[list[float]]:
    """Return the log-likelihood of every token of each prompt's answer, the end token last, in nats."""
    rows = render_prompts(model, prompts, answers=True)
    found: dict[int, list[float]] = {}
    with progress.task(label, total=len(rows)) as tick, torch.inference_mode(), matmul_precision(exact=True):
        for numbers, batch in _batches(model, rows, tick):
            values = token_log_likelihood(answer_logits(model, batch), batch)
            found |= {i: values[k, batch.is_answer[k]].tolist() for k, i in enumerate(numbers)}
    return [found[i] for i in range(len(found))]


def answer_kl(
    model: LanguageModel,
    reference: LanguageModel,
    prompts: Prompts,
    *,
    progress: Progress = silent,
    label: str = "comparing answers",
) -> list[AnswerScore]:
    """Return ``KL(reference || model)`` summed over the tokens of each prompt's answer, both models reading the same tokens.

    Args:
        model: a causal language model; its template renders the prompts.
        reference: one with the same vocabulary, such as the base.
        prompts: with their answers.
        progress: gets every prompt.
        label: of the progress.
    """
    rows = render_prompts(model, prompts, answers=True)
    with progress.task(label, total=len(rows)) as tick:
        return _by_row(
            (numbers, token_kl(answer_logits(model, batch), answer_logits(reference, batch), batch), batch)
            for numbers, batch in _batches(model, rows, tick)
        )


def _batches(
    model: LanguageModel, rows: Sequence[Rendered], tick: Callable[[int], None]
) -> Iterator[tuple[list[int], AnswerBatch]]:
    for numbers in answer_batches(model, rows):
        yield numbers, collate_answers(model, [rows[i] for i in numbers])
        tick(len(numbers))


def _by_row(parts: Iterator[tuple[list[int], Tensor, AnswerBatch]]) -> list[AnswerScore]:
    """Return the sums over each row's tokens, in the order of the rows' numbers."""
    found: dict[int, AnswerScore] = {}
    with torch.inference_mode(), matmul_precision(exact=True):
        for numbers, values, batch in parts:
            sums, tokens = values.double().sum(dim=1).tolist(), batch.is_answer.sum(dim=1).tolist()
            found |= {i: AnswerScore(*pair) for i, pair in zip(numbers, zip(sums, tokens, strict=True), strict=True)}
    return [found[i] for i in range(len(found))]
