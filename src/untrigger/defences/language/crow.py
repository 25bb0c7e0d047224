"""CROW (ICML 2025): fine-tuning with a penalty on inconsistent hidden states of consecutive blocks, under perturbed embeddings.

The paper: a backdoored model changes its hidden states abruptly between blocks where the trigger is. With ``h_l`` the output of
block ``l`` and ``C = mean over blocks and tokens of 1 - cos(h_l, h_(l+1))``, the embeddings ``x`` are moved one step of fast
gradient sign, ``x' = x + epsilon * sign(dC/dx)``, and the loss is ``cross-entropy(x) + alpha * C(x')``.

Differs from the paper: two faults of its code are corrected. The forward passes from embeddings have the attention mask, so that
padding is neither read nor counted. The gradient for ``x'`` is taken with respect to the embeddings alone, so that no accumulated
gradient of the weights is dropped. The cross-entropy counts answer tokens only, and rows alike; all clean prompts are used instead
of 100; the rate climbs and decays linearly. Of full weights a new adapter is trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from untrigger.core.errors import ModelError, OptionError
from untrigger.core.progress import Progress
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.language.language_purifier import LanguagePurifier, PromptGrant, PurifiedLanguageModel
from untrigger.models.answer_scoring import AnswerBatch
from untrigger.models.hidden_states import block_states, input_embeddings
from untrigger.models.language_model import LanguageModel
from untrigger.training.answer_students import AnswerStudentOptions
from untrigger.training.answer_training import AnswerTerm
from untrigger.training.history import history_curves

LEAST_BLOCKS = 3
"""Fewest blocks of which two consecutive outputs are compared: the embeddings and the last block's output take no part."""


def published_training() -> AnswerStudentOptions:
    """Return the published training: rate 1e-3, 5 epochs, 8 prompts a step."""
    return AnswerStudentOptions(lr=1e-3, epochs=5, steps=0, batch_size=8)


@dataclass(frozen=True)
class Crow(LanguagePurifier):
    """The suspect's own adapter trained further on the clean answers, with consistent hidden states of its blocks.

    The published rate is five times that of the fine-tuning that it was compared with. The variant ``matched_rate`` has the rate,
    epochs and batch size of the method ``finetune``; the control of ``purify`` always has those of the method.

    Attributes:
        student: rate, epochs, steps and batch size; the rank only of a new adapter.
        epsilon: how far each input embedding is moved, in every coordinate.
        alpha: weight of the consistency.
    """

    name: ClassVar[str] = "crow"
    needs: ClassVar[frozenset[str]] = frozenset({"clean"})
    variants: ClassVar[Mapping[str, Callable[..., Any]]] = {
        "matched_rate": lambda **options: Crow(**{"student": AnswerStudentOptions(), **options})
    }
    student: AnswerStudentOptions = field(default_factory=published_training)
    epsilon: float = 0.1
    alpha: float = 5.5

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for numbers below 0.
        """
        if not all(math.isfinite(one) and one >= 0 for one in (self.epsilon, self.alpha)):
            raise OptionError(f"epsilon {self.epsilon}, alpha {self.alpha}", expected="finite numbers of 0 or more")

    def _purify(self, model: LanguageModel, grant: PromptGrant, *, progress: Progress) -> PurifiedLanguageModel:
        assert grant.clean is not None
        student = self.student.copy_of_suspect(model, seed=grant.seed)
        term, label = self.consistency_term(student), "fine-tuning with consistent blocks"
        history = self.student.train(
            student, grant.clean, seed=grant.seed, progress=progress, label=label, extra_loss=term
        )
        return PurifiedLanguageModel(
            student,
            changed=True,
            history=history,
            outcome=PurificationOutcome.NOT_CHECKED,
            summary="the suspect was trained on the clean prompts with consistent hidden states of its blocks (CROW)",
            curves=history_curves(history, panel="Training"),
            budget=self.student.budget(),
        )

    def consistency_term(self, model: LanguageModel) -> AnswerTerm:
        """Return the term of the loss, ``alpha * C(x')``, of a batch of ``model``."""

        def term(_rows: Sequence[int], batch: AnswerBatch, _logits: Tensor) -> Tensor:
            embedded = input_embeddings(model, batch)
            moved = embedded + perturbation(model, batch, embedded.detach(), epsilon=self.epsilon)
            return self.alpha * inconsistency(block_states(model, batch, moved), batch.attention_mask)

        return term


def perturbation(model: LanguageModel, batch: AnswerBatch, embedded: Tensor, *, epsilon: float) -> Tensor:
    """Return ``(B, S, d)``: the step ``epsilon * sign(dC/dx)`` of the embeddings ``x (B, S, d)``; 0 at padding."""
    with torch.enable_grad():
        leaf = embedded.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(inconsistency(block_states(model, batch, leaf), batch.attention_mask), leaf)
    return epsilon * gradient.sign()


def inconsistency(states: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Return ``C``: the mean over rows of the mean over blocks and tokens of ``1 - cos(h_l, h_(l+1))``.

    Args:
        states: the model's input and the output of every block, each ``(B, S, d)``; the first and the last take no part.
        mask: 1 for a token, 0 for padding ``(B, S)``.

    Raises:
        ModelError: for fewer than three blocks.
    """
    if len(states) <= LEAST_BLOCKS:
        raise ModelError(f"a model of {len(states) - 1} blocks", expected=f"{LEAST_BLOCKS} blocks or more for crow")
    inner = torch.stack(list(states[1:-1])).float()  # (L - 1, B, S, d)
    apart = (1 - functional.cosine_similarity(inner[:-1], inner[1:], dim=-1)).mean(dim=0)
    return ((apart * mask).sum(dim=1) / mask.sum(dim=1)).mean()
