"""What a model says to many texts, without gradients and hardly any padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from untrigger.core.errors import DivergedError
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows
from untrigger.models.classifier import Classifier

if TYPE_CHECKING:
    pass
from typing import NamedTuple

from torch import Tensor

from untrigger.core.errors import ModelError
from untrigger.models.weight_sharing import shared_copy
from untrigger.runtime.batching import packed
from untrigger.runtime.device import bf16_ok, matmul_precision

TOKENS = 2048  # padded tokens a forward pass: measured best on two cores for models of 20 to 140 million parameters


class Predictions(NamedTuple):
    """``logits (N, C)`` and ``features (N, d)`` of N texts, on the CPU."""

    logits: Tensor
    features: Tensor

    @property
    def predictions(self) -> list[int]:
        """The class with the largest logit for each text."""
        return [int(i) for i in self.logits.argmax(dim=1)]

    @property
    def confidences(self) -> list[float]:
        """The probability of the predicted class for each text."""
        return [float(p) for p in self.logits.softmax(dim=1).max(dim=1).values]


def predict_token_ids(
    model: Classifier,
    ids: Sequence[Sequence[int]],
    *,
    tokens: int = TOKENS,
    progress: Progress = silent,
    label: str = "reading",
) -> Predictions:
    """Logits and features for each list of token ids, in the order given."""
    if not ids:
        return Predictions(torch.zeros(0, model.classes), torch.zeros(0, 0))
    order, logits, features = list[int](), list[Tensor](), list[Tensor]()
    model.module.eval()
    with torch.inference_mode(), matmul_precision(exact=True), progress.task(label, total=len(ids)) as tick:
        for batch in packed([len(row) for row in ids], tokens=tokens):
            said = model.forward(model.collate([ids[i] for i in batch]))
            order += batch
            logits.append(said.logits.cpu())
            features.append(said.features.cpu())
            tick(len(batch))
    back = torch.tensor(order).argsort()
    return Predictions(torch.cat(logits)[back], torch.cat(features)[back])


def as_bfloat16(model: Classifier) -> Classifier:
    """A copy of the classifier in bfloat16, as it now is, on a processor that gains by it; elsewhere the classifier itself.

    Measured with AMX: two and a half times as fast, logits wrong by 0.01. Enough to rank words, candidates and epochs by, and for
    rates with intervals of ten points; what a verdict stands on is read in full precision.
    """
    if model.device.type != "cpu" or not bf16_ok():
        return model
    return model.with_module(shared_copy(model.module).to(torch.bfloat16).eval())


def hidden_state_means(
    model: Classifier, ids: Sequence[Sequence[int]], *, progress: Progress = silent, label: str = "reading"
) -> tuple[Tensor, Tensor]:
    """Logits ``(N, C)`` and text means of hidden states ``(N, 3, d)``: of the embedding, the middle and the last layer."""
    logits, found = torch.zeros(len(ids), model.classes), list[Tensor | None]([None] * len(ids))
    model = model.with_module(
        shared_copy(model.module).eval()
    )  # transformers leaves hooks on what it is asked for hidden states
    with torch.inference_mode(), matmul_precision(exact=True), progress.task(label, total=len(ids)) as tick:
        for rows in packed([len(row) for row in ids], tokens=TOKENS):
            batch = model.collate([ids[i] for i in rows])
            read = model.forward(batch, hidden=True)
            logits[rows] = read.logits.cpu()
            states, mask = read.hidden, batch.attention_mask.unsqueeze(-1).float()
            if any(state.shape[1] != mask.shape[1] for state in (states[0], states[len(states) // 2], states[-1])):
                raise ModelError(
                    "layers of this architecture hold fewer tokens than the text", remedy="take another method"
                )
            means = [(states[at].float() * mask).sum(dim=1) / mask.sum(dim=1) for at in (0, len(states) // 2, -1)]
            for i, own in zip(rows, torch.stack(means, dim=1).cpu(), strict=True):
                found[i] = own
            tick(len(rows))
    return logits, torch.stack([own for own in found if own is not None]) if ids else torch.zeros(0, 3, 0)


def predict_texts(
    model: Classifier, texts: Sequence[str], *, progress: Progress = silent, label: str = "reading"
) -> Predictions:
    """Logits and features for each text, in the order given."""
    return predict_token_ids(model, model.encode(texts), progress=progress, label=label)


def accuracy(predictions: Sequence[int], labels: Sequence[int]) -> float:
    """The share of equal entries; NaN for none."""
    if not labels:
        return float("nan")
    return sum(p == y for p, y in zip(predictions, labels, strict=True)) / len(labels)


def log_odds(logits: Tensor, labels: Sequence[int]) -> Tensor:
    """``log p(y) - log p(not y)`` of each row's label, ``(B,)``; the logits are ``(B, C)``."""
    index = torch.tensor(list(labels), dtype=torch.long, device=logits.device).unsqueeze(1)
    others = logits.scatter(1, index, -torch.inf).logsumexp(dim=1)
    return logits.gather(1, index).squeeze(1) - others


def check_finite_logits(model: Classifier, rows: Rows, *, most: int = 16) -> None:
    """Nothing, where the trained model answers the first rows with numbers.

    Raises:
        DivergedError: if it does not, as after a last step that was too large.
    """
    if not bool(predict_texts(model, rows.texts[:most]).logits.isfinite().all()):
        raise DivergedError("the trained model answers with what is no number", remedy="use a smaller learning rate")
