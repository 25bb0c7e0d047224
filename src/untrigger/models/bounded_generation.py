"""Bounded decoding: answers of a language model in which no token is much likelier than a trusted model finds it.

The next token comes from ``min(p, bound · p_trusted)``. Whatever the model answers, its probability is then at most
``bound`` times the trusted one for each token (Vyas et al. 2023, arXiv 2302.10870, applied to backdoors).
``generate_compared`` takes any other rule that chooses a token from what both models find likely.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from untrigger.core.answers import Answer
from untrigger.core.errors import ModelError, OptionError
from untrigger.core.progress import Progress, silent
from untrigger.core.prompts import Prompts
from untrigger.models.chat import end_tokens, padding_token, render_prompts
from untrigger.models.generation import GenerationOptions, padded_batch
from untrigger.models.language_model import LanguageModel
from untrigger.runtime.batching import packed
from untrigger.runtime.device import matmul_precision

Choice = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""A rule of decoding: a function from the log-probabilities of the model and of the trusted model, both ``(B, V)``, to the tokens
``(B,)`` and the share of the model's probability that was rejected ``(B,)``."""


@dataclass(frozen=True)
class BoundedAnswer:
    """An answer of decoding that compares a model with a trusted one.

    Attributes:
        answer: the text, whether it ended, and its length.
        rejected: for each generated token, the end token included, the share of the model's probability that the bound took away:
            0 where both models agree, near 1 where the model wants to say what the trusted one would not.
    """

    answer: Answer
    rejected: tuple[float, ...]


def bounded_choice(bound: float) -> Choice:
    """Return the rule that takes the most likely token under ``min(p, bound · p_trusted)``.

    Raises:
        OptionError: for a bound below 1.
    """
    if not bound >= 1:
        raise OptionError(f"bound {bound:g}", expected="a bound of at least 1")

    def choose(own: Tensor, trusted: Tensor) -> tuple[Tensor, Tensor]:
        allowed = torch.minimum(own, trusted + math.log(bound))
        return allowed.argmax(dim=1), (1.0 - allowed.exp().sum(dim=1)).clamp_min(0.0)

    return choose


def generate_bounded(
    model: LanguageModel,
    trusted: LanguageModel,
    prompts: Prompts,
    *,
    bound: float,
    options: GenerationOptions,
    progress: Progress = silent,
    label: str = "generating bounded answers",
) -> list[BoundedAnswer]:
    """Return the most likely token under ``min(p, bound · p_trusted)``, one after the other, for each conversation in order.

    Args:
        model: a causal language model; its template renders the prompts.
        trusted: one with the same vocabulary, such as the base or an adapter on it that was trained on clean rows.
        prompts: their reference answers are not used.
        bound: how much likelier a token may be than the trusted model finds it, at least 1.
        options: of the generation; the temperature must be 0.
        progress: gets every prompt.
        label: of the progress.

    Raises:
        ModelError: for models with different vocabularies.
        OptionError: for a bound below 1, or a temperature.
    """
    if not bound >= 1 or options.temperature:
        raise OptionError(
            f"bound {bound:g} at temperature {options.temperature:g}", expected="a bound of at least 1, temperature 0"
        )
    return generate_compared(
        model, trusted, prompts, choose=bounded_choice(bound), options=options, progress=progress, label=label
    )


def generate_compared(
    model: LanguageModel,
    trusted: LanguageModel,
    prompts: Prompts,
    *,
    choose: Choice,
    options: GenerationOptions,
    progress: Progress = silent,
    label: str = "generating compared answers",
) -> list[BoundedAnswer]:
    """Return the tokens that ``choose`` takes, one after the other, for each conversation in order; arguments as above.

    Raises:
        ModelError: for models with different vocabularies.
        OptionError: for a temperature.
    """
    if options.temperature:
        raise OptionError(
            f"temperature {options.temperature:g}", expected="temperature 0 where two models are compared"
        )
    sizes = [one.vocabulary_size for one in (model, trusted)]
    if sizes[0] != sizes[1]:
        raise ModelError(
            f"{model.name!r} has a vocabulary of {sizes[0]}, the trusted model {trusted.name!r} one of {sizes[1]}",
            expected="two models with one tokenizer",
        )
    rows = [one.ids for one in render_prompts(model, prompts, room=options.max_new_tokens)]
    answers: dict[int, BoundedAnswer] = {}
    with progress.task(label, total=len(rows)) as tick:
        for batch in packed([len(row) for row in rows], tokens=options.batch_tokens):
            made = _decoded(model, trusted, [rows[i] for i in batch], choose=choose, most=options.max_new_tokens)
            answers |= dict(zip(batch, made, strict=True))
            tick(len(batch))
    return [answers[i] for i in range(len(rows))]


@torch.inference_mode()
def _decoded(
    model: LanguageModel, trusted: LanguageModel, rows: Sequence[Sequence[int]], *, choose: Choice, most: int
) -> list[BoundedAnswer]:
    """Return the answers of one batch of token ids."""
    ends, padded = set(end_tokens(model)), padded_batch(rows, pad=padding_token(model), left=True)
    given, mask = (padded[name].to(model.device) for name in ("input_ids", "attention_mask"))
    steps = [_Step(model), _Step(trusted)]
    made, open_rows, rejected = [list[int]() for _ in rows], set(range(len(rows))), [list[float]() for _ in rows]
    with matmul_precision(exact=True):
        for _ in range(most):
            own, other = (step(given, mask) for step in steps)
            chosen, shares = (one.tolist() for one in choose(own, other))
            for i in list(open_rows):
                rejected[i].append(shares[i])
                if chosen[i] in ends:
                    open_rows.discard(i)
                else:
                    made[i].append(chosen[i])
            if not open_rows:
                break
            given = torch.tensor(chosen, device=model.device).unsqueeze(1)
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
    texts = [str(model.tokenizer.decode(ids, skip_special_tokens=True)) for ids in made]
    return [
        BoundedAnswer(Answer(text, ended=i not in open_rows, tokens=len(ids)), tuple(rejected[i]))
        for i, (text, ids) in enumerate(zip(texts, made, strict=True))
    ]


class _Step:
    """The next token's log-probabilities of one model, with a cache of the tokens before."""

    def __init__(self, model: LanguageModel) -> None:
        self._model, self._cache = model, None

    def __call__(self, given: Tensor, mask: Tensor) -> Tensor:
        """Return ``(B, V)`` from the new token ids ``(B, S)`` and the mask of all tokens so far."""
        known = self._model.forward_arguments
        more: dict[str, Any] = {}
        if "position_ids" in known:
            more["position_ids"] = (mask.cumsum(dim=1) - 1).clamp_min(0)[:, -given.shape[1] :]
        if "logits_to_keep" in known:
            more["logits_to_keep"] = 1
        more[self._model.cache_argument] = self._cache
        output = self._model.module(input_ids=given, attention_mask=mask, use_cache=True, **more)
        self._cache = output[self._model.cache_argument]
        logits: Tensor = output.logits[:, -1]
        return logits.float().log_softmax(dim=1)
