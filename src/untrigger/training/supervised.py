"""Cross-entropy training of a classifier: of every parameter that requires a gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows
from untrigger.models.classifier import Classifier, ModelOutput
from untrigger.models.inference import accuracy, as_bfloat16, predict_token_ids
from untrigger.runtime.batching import shuffled_batches
from untrigger.training.embedding_subset import embedding_subset
from untrigger.training.loop import History, Keep, Plan, no_worse, train

LossTerm = Callable[[Sequence[int], ModelOutput], Tensor]
"""A function from the row numbers of a batch and the model's output to a further term of the loss, a mean over the batch."""


def fine_tune(
    model: Classifier,
    rows: Rows,
    *,
    plan: Plan,
    seed: int,
    dev: Rows | None = None,
    keep: Keep = no_worse,
    progress: Progress = silent,
    label: str = "fine-tuning",
    label_smoothing: float = 0.0,
    extra_loss: LossTerm | None = None,
) -> History:
    """Train ``model`` in place on ``rows`` and return the history; with ``dev`` the best epoch on it is kept, or as ``keep`` says.

    ``label_smoothing`` spreads that share of each label over all classes; ``extra_loss`` is added to the cross-entropy.

    Raises:
        DivergedError: if the loss is not finite.
    """
    ids, labels = model.encode(rows.texts), torch.tensor(rows.labels)

    def loss(batch: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
        output = model.forward(model.collate([ids[i] for i in batch]))
        expected = labels[list(batch)].to(output.logits.device)
        value = functional.cross_entropy(output.logits, expected, label_smoothing=label_smoothing)
        terms = {"ce": float(value.detach())}
        if extra_loss is not None:
            more = extra_loss(batch, output)
            value, terms["extra"] = value + more, float(more.detach())
        return value, terms

    rng = np.random.default_rng(seed)
    lengths = [len(row) for row in ids]
    dev_ids = model.encode(dev.texts) if dev is not None else []

    def dev_accuracy() -> float:
        return accuracy(
            predict_token_ids(as_bfloat16(model), dev_ids).predictions, dev.labels if dev is not None else []
        )

    with (
        torch.random.fork_rng(devices=[]),
        embedding_subset(model.module, [*ids, *dev_ids, model.padding_candidates(ids + dev_ids)]),
    ):
        torch.manual_seed(seed)  # dropout
        return train(
            model.module,
            loss,
            epochs=lambda _: shuffled_batches(lengths, size=plan.batch_size, rng=rng),
            plan=plan,
            score=dev_accuracy if dev is not None else None,
            keep=keep,
            progress=progress,
            label=label,
        )


def accuracy_on(model: Classifier, dev: Rows) -> Callable[[], float]:
    """Return a function that measures the current accuracy of ``model`` on ``dev``."""
    ids = model.encode(dev.texts)
    return lambda: accuracy(predict_token_ids(model, ids).predictions, dev.labels)
