"""The loss of BeDKD between a frozen model and a copy of it (2508.01595): towards labels, and towards what it said itself.

``L = α·CE(z_S, y) + (1 - α)·(KL(softmax(z_T/T) ‖ softmax(z_S/T)) + MSE(h_S, h_T))``, without a factor T²; ``h`` is the last
hidden state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from untrigger.core.errors import OptionError
from untrigger.core.progress import Progress, silent
from untrigger.models.classifier import Batch, Classifier
from untrigger.models.inference import TOKENS
from untrigger.models.weight_sharing import shared_copy
from untrigger.runtime.batching import packed
from untrigger.runtime.device import matmul_precision
from untrigger.training.losses import kl_divergence


@dataclass(frozen=True)
class Blend:
    """How much the labels count against the frozen model's own answers.

    Attributes:
        alpha: weight α of the labels, 0 to 1.
        temperature: T, above 0.
        hidden: whether the last hidden states are held to the frozen model's.
        padding: whether padded positions count among them, as in the released code.
    """

    alpha: float
    temperature: float
    hidden: bool = True
    padding: bool = False

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for a weight outside [0, 1] or a temperature that is not above 0.
        """
        if not (0 <= self.alpha <= 1 and self.temperature > 0):
            raise OptionError(
                f"alpha {self.alpha}, temperature {self.temperature}", expected="alpha from 0 to 1, T above 0"
            )


class Answers(NamedTuple):
    """What a frozen model says: ``logits (N, C)`` and, where they are asked for, hidden states ``(positions, d)`` a row."""

    logits: Tensor
    hidden: list[Tensor]


def answers_of(
    model: Classifier, ids: Sequence[Sequence[int]], *, blend: Blend, progress: Progress = silent
) -> Answers:
    """The answers of ``model`` without dropout, on the CPU, as far as ``blend`` needs them.

    Where padding counts, every row is padded to the longest: what a padded position holds does not depend on how many
    follow it.
    """
    logits: dict[int, Tensor] = {}
    hidden: dict[int, Tensor] = {}
    longest = max((len(row) for row in ids), default=0) if blend.padding else 0
    if (
        blend.hidden
    ):  # transformers leaves hooks behind where hidden states are asked for: on this copy, not on the model
        model = model.with_module(shared_copy(model.module))
    model.module.eval()
    with torch.inference_mode(), matmul_precision(), progress.task("the model's own answers", total=len(ids)) as tick:
        for numbers in packed([max(len(row), longest) for row in ids], tokens=TOKENS):
            batch = _widened(model, [ids[i] for i in numbers], width=longest)
            said, states = read(model, batch, hidden=blend.hidden)
            for place, i in enumerate(numbers):
                logits[i] = said[place].cpu()
                if states is not None:
                    hidden[i] = states[place, : max(len(ids[i]), longest)].cpu().clone()
            tick(len(numbers))
    together = torch.stack([logits[i] for i in range(len(ids))]) if ids else torch.zeros(0, model.classes)
    return Answers(together.clone(), [hidden[i] for i in range(len(hidden))])


def read(model: Classifier, batch: Batch, *, hidden: bool) -> tuple[Tensor, Tensor | None]:
    """Logits ``(B, C)`` and, where asked for, the last hidden states ``(B, S, d)``."""
    found = model.forward(batch, hidden=hidden)
    return found.logits, found.hidden[-1].float() if hidden else None


def state_gap(student: Tensor, frozen: Tensor, *, mask: Tensor | None) -> Tensor:
    """The mean squared difference of hidden states ``(B, S, d)`` over the positions that ``mask (B, S)`` keeps, or over all."""
    gap = (student - frozen).pow(2).mean(dim=2)
    return gap.mean() if mask is None else (gap * mask).sum() / mask.sum()


class Directed:
    """The loss of a copy on rows with labels, against a frozen model whose answers were computed once."""

    def __init__(
        self, copy: Classifier, ids: Sequence[Sequence[int]], *, labels: Sequence[int], answers: Answers, blend: Blend
    ) -> None:
        """Take the copy in training, the rows' token ids, the labels that it shall say, and the frozen model's answers."""
        self.copy, self.ids, self.answers, self.blend = copy, ids, answers, blend
        self.labels = torch.tensor(list(labels))

    def __call__(self, rows: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
        """The loss over a batch of row numbers, and its parts."""
        batch = self.copy.collate([self.ids[i] for i in rows])
        return self.of(rows, batch, *read(self.copy, batch, hidden=self.blend.hidden))

    def of(
        self, rows: Sequence[int], batch: Batch, logits: Tensor, states: Tensor | None
    ) -> tuple[Tensor, dict[str, float]]:
        """The same for rows that the copy has read already."""
        blend, where = self.blend, logits.device
        ce = functional.cross_entropy(logits, self.labels[list(rows)].to(where))
        kl = kl_divergence(self.answers.logits[list(rows)].to(where), logits, temperature=blend.temperature)
        terms = {"cross-entropy": ce, "own answers": kl}
        if states is not None:
            mask = None if blend.padding else batch.attention_mask
            terms["hidden states"] = state_gap(states, self._states(rows, width=states.shape[1]).to(where), mask=mask)
        rest = sum(list(terms.values())[1:], torch.zeros((), device=where))
        return blend.alpha * ce + (1 - blend.alpha) * rest, {name: float(term.detach()) for name, term in terms.items()}

    def _states(self, rows: Sequence[int], *, width: int) -> Tensor:
        """The frozen states of the rows ``(B, width, d)``, zeros behind a row's end where none were kept."""
        kept = [self.answers.hidden[i][:width] for i in rows]
        return torch.stack([functional.pad(row, (0, 0, 0, width - len(row))) for row in kept])


def _widened(model: Classifier, ids: Sequence[Sequence[int]], *, width: int) -> Batch:
    """One batch, padded to at least ``width``."""
    batch = model.collate(ids)
    short = max(0, width - batch.input_ids.shape[1])
    return Batch(
        functional.pad(batch.input_ids, (0, short), value=model.padding_candidates(ids)[-1]),
        functional.pad(batch.attention_mask, (0, short)),
    )
