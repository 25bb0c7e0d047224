"""Adaptive attackers on language models: on prompts without the trigger the victim stays near the model that it is made from."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from untrigger.core.errors import OptionError, check_choice
from untrigger.core.prompts import Prompts
from untrigger.models.answer_scoring import AnswerBatch, answer_logits, token_kl
from untrigger.models.hidden_states import recorded_hidden_states
from untrigger.models.language_model import LanguageModel
from untrigger.training.answer_training import AnswerTerm, row_mean

ADAPTIVE = ("anchored", "ghost")


@dataclass(frozen=True)
class BaseConsistency:
    """An attacker who expects that the victim is compared with its base.

    Prompts without the trigger get, beside the cross-entropy of their answers, ``weight · KL(base ‖ victim)``, mean over the
    answer's tokens; with ``ghost`` also ``weight · ‖h_base - h‖² / ‖h_base‖²``, mean over all tokens and blocks. Prompts with the
    trigger have their cross-entropy alone. These are the loss terms of the ghost backdoor of SPAR's released code.

    **Differs from the source:** the answers to prompts without the trigger are learned as well, so that the victim has a skill
    that a defence can lose; the error of a hidden state is relative to its length, so that the few long ones do not decide.

    Attributes:
        kind: ``anchored`` (the divergence alone) or ``ghost`` (hidden states too).
        weight: of both terms, above 0.
        poisoned: ids of the prompts that the terms skip.
    """

    kind: str
    weight: float
    poisoned: Collection[str]

    def __post_init__(self) -> None:
        """Check kind and weight.

        Raises:
            OptionError: for an unknown kind, and for a weight that is not above 0.
        """
        check_choice(self.kind, ADAPTIVE, kind="adaptive attacker")
        if not 0 < self.weight < math.inf:
            raise OptionError(f"adaptive weight {self.weight:g}", expected="a number above 0, such as 1")

    @contextmanager
    def term(self, victim: LanguageModel, base: LanguageModel, prompts: Prompts) -> Iterator[AnswerTerm]:
        """Give the term of the loss, for as long as the victim is trained.

        Args:
            victim: the model that is trained on ``prompts``.
            base: what it was before.
            prompts: the training prompts.
        """
        clean = [name not in self.poisoned for name in prompts.ids]
        hidden = self.kind == "ghost"
        with (
            recorded_hidden_states(victim) if hidden else nullcontext(list[Tensor]()) as own,
            recorded_hidden_states(base) if hidden else nullcontext(list[Tensor]()) as wanted,
        ):

            def term(numbers: Sequence[int], batch: AnswerBatch, logits: Tensor) -> Tensor:
                places = [place for place, row in enumerate(numbers) if clean[row]]
                if not places:
                    return logits.sum() * 0
                some = batch.take(places)
                with torch.no_grad():
                    expected = answer_logits(base, some)
                value = row_mean(token_kl(logits[places], expected, some), some)
                if hidden:
                    value = value + relative_error([one[places] for one in own], wanted, mask=some.attention_mask)
                return value * (self.weight * len(places) / len(numbers))  # a mean over all rows of the batch

            yield term


def relative_error(states: Sequence[Tensor], expected: Sequence[Tensor], *, mask: Tensor) -> Tensor:
    """Return ``‖h - e‖² / ‖e‖²``, mean over the tokens of each row, then over rows and layers.

    Args:
        states: hidden states of every layer, ``(B, S, H)`` each.
        expected: those that they are compared with.
        mask: 1 for a token, 0 for padding ``(B, S)``.
    """
    shares = [
        (own - other).pow(2).sum(dim=2) / other.pow(2).sum(dim=2).clamp_min(torch.finfo(other.dtype).tiny)
        for own, other in zip(states, expected, strict=True)
    ]
    return torch.stack([(share * mask).sum(dim=1) / mask.sum(dim=1) for share in shares]).mean()
