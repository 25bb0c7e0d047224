"""The loss of BeDKD between a frozen model and a copy of it (2508.01595): the labels, and the frozen model's own outputs.

``L = α·CE(z_S, y) + (1 - α)·(KL(softmax(z_T/T) ‖ softmax(z_S/T)) + MSE(h_S, h_T))``, without a factor T²; ``h`` is the last
hidden state. Both halves use it: the directional mapping with the next class as label, the student with the true one.
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
class KDConfig:
    """The weights of the loss.

    Attributes:
        alpha: weight α of the labels, 0 to 1.
        temperature: T, above 0.
        hidden: whether the last hidden states are pulled to the frozen model's.
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


class FrozenOutputs(NamedTuple):
    """Outputs of a frozen model: ``logits (N, C)`` and, if needed, hidden states ``(positions, d)`` of each row."""

    logits: Tensor
    hidden: list[Tensor]


def frozen_outputs(
    model: Classifier, ids: Sequence[Sequence[int]], *, config: KDConfig, progress: Progress = silent
) -> FrozenOutputs:
    """Return the outputs of ``model`` without dropout, on the CPU, as far as ``config`` needs them.

    If padding counts, every row is padded to the longest: the state of a padded position does not depend on how many follow it.
    """
    logits: dict[int, Tensor] = {}
    hidden: dict[int, Tensor] = {}
    longest = max((len(row) for row in ids), default=0) if config.padding else 0
    if config.hidden:  # transformers leaves hooks on a model whose hidden states are requested: take a copy
        model = model.with_module(shared_copy(model.module))
    model.module.eval()
    with torch.inference_mode(), matmul_precision(), progress.task("outputs of the model", total=len(ids)) as tick:
        for numbers in packed([max(len(row), longest) for row in ids], tokens=TOKENS):
            batch = _widened(model, [ids[i] for i in numbers], width=longest)
            found, states = outputs(model, batch, hidden=config.hidden)
            for place, i in enumerate(numbers):
                logits[i] = found[place].cpu()
                if states is not None:
                    hidden[i] = states[place, : max(len(ids[i]), longest)].cpu().clone()
            tick(len(numbers))
    stacked = torch.stack([logits[i] for i in range(len(ids))]) if ids else torch.zeros(0, model.classes)
    return FrozenOutputs(stacked.clone(), [hidden[i] for i in range(len(hidden))])


def outputs(model: Classifier, batch: Batch, *, hidden: bool) -> tuple[Tensor, Tensor | None]:
    """Return the logits ``(B, C)`` and, with ``hidden``, the last hidden states ``(B, S, d)``."""
    found = model.forward(batch, hidden=hidden)
    return found.logits, found.hidden[-1].float() if hidden else None


def hidden_mse(student: Tensor, frozen: Tensor, *, mask: Tensor | None) -> Tensor:
    """Return the mean squared difference of hidden states ``(B, S, d)`` over the positions in ``mask (B, S)``, or over all."""
    squares = (student - frozen).pow(2).mean(dim=2)
    return squares.mean() if mask is None else (squares * mask).sum() / mask.sum()


class BeDKDLoss:
    """The loss of a copy on rows with labels, against a frozen model whose outputs were computed once."""

    def __init__(
        self,
        copy: Classifier,
        ids: Sequence[Sequence[int]],
        *,
        labels: Sequence[int],
        frozen: FrozenOutputs,
        config: KDConfig,
    ) -> None:
        """Keep the copy in training, the rows' token ids, the labels to learn, and the frozen model's outputs."""
        self.copy, self.ids, self.frozen, self.config = copy, ids, frozen, config
        self.labels = torch.tensor(list(labels))

    def __call__(self, rows: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
        """Return the loss over a batch of row numbers, and its parts."""
        batch = self.copy.collate([self.ids[i] for i in rows])
        return self.of(rows, batch, *outputs(self.copy, batch, hidden=self.config.hidden))

    def of(
        self, rows: Sequence[int], batch: Batch, logits: Tensor, states: Tensor | None
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the same from outputs of the copy that are there already."""
        config, device = self.config, logits.device
        ce = functional.cross_entropy(logits, self.labels[list(rows)].to(device))
        kl = kl_divergence(self.frozen.logits[list(rows)].to(device), logits, temperature=config.temperature)
        terms = {"cross-entropy": ce, "own outputs": kl}
        if states is not None:
            mask = None if config.padding else batch.attention_mask
            frozen = self._states(rows, width=states.shape[1]).to(device)
            terms["hidden states"] = hidden_mse(states, frozen, mask=mask)
        rest = sum(list(terms.values())[1:], torch.zeros((), device=device))
        value = config.alpha * ce + (1 - config.alpha) * rest
        return value, {name: float(term.detach()) for name, term in terms.items()}

    def _states(self, rows: Sequence[int], *, width: int) -> Tensor:
        """Return the frozen states of the rows ``(B, width, d)``, zeros after the end of a row."""
        kept = [self.frozen.hidden[i][:width] for i in rows]
        return torch.stack([functional.pad(row, (0, 0, 0, width - len(row))) for row in kept])


def _widened(model: Classifier, ids: Sequence[Sequence[int]], *, width: int) -> Batch:
    """Return one batch, padded to at least ``width``."""
    batch = model.collate(ids)
    short = max(0, width - batch.input_ids.shape[1])
    return Batch(
        functional.pad(batch.input_ids, (0, short), value=model.padding_candidates(ids)[-1]),
        functional.pad(batch.attention_mask, (0, short)),
    )
