"""The directional mapping of BeDKD (2508.01595): a copy of the victim trained to predict the next class.

On clean texts it learns ``y' = (y + 1) mod C``. That destroys the mapping from content to class and leaves the mapping from
trigger to class: if the copy still predicts a row as the victim does, something else than the content decides.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from untrigger.core.errors import ModelError, check_choice
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows
from untrigger.defences.bedkd.distillation import BeDKDLoss, KDConfig, frozen_outputs
from untrigger.models.adapters import AdapterOptions, attach
from untrigger.models.classifier import Classifier
from untrigger.models.inference import log_odds, predict_token_ids
from untrigger.runtime.batching import shuffled_batches
from untrigger.training.loop import History, Plan, train

VIAS = ("lora", "full", "as-victim")


@dataclass(frozen=True)
class CopyConfig:
    """How a copy of the victim (directional mapping or published student) is made and trained.

    Attributes:
        via: ``lora`` (an adapter on the victim's own weights, which are shared), ``full`` (all weights, a copy of its own)
            or ``as-victim`` (``lora`` if the victim is an adapter itself, else ``full``).
        rank: rank of the adapter.
        targets: linear layers that are adapted.
        alpha: weight of the labels against the victim's own outputs, 0 to 1.
        temperature: T of the victim's own outputs, above 0.
        hidden: whether the last hidden states are pulled to the victim's.
        padding: whether padded positions count among them.
        lr: learning rate.
        epochs: passes over the rows, at most.
        batch_size: rows a step.
        dropout: whether the model's own dropout is active.
        max_norm: gradients are scaled to at most this norm; None leaves them, as released.
    """

    via: str = "lora"
    rank: int = 16
    targets: tuple[str, ...] = ("all-linear",)
    alpha: float = 0.3
    temperature: float = 1.5
    hidden: bool = True
    padding: bool = False
    lr: float = 3e-5
    epochs: int = 20
    batch_size: int = 16
    dropout: bool = False
    max_norm: float | None = None

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for an unknown way to copy; the rest is checked where it is used.
        """
        check_choice(self.via, VIAS, kind="way to copy")
        self.loss  # noqa: B018  # it checks itself

    @property
    def loss(self) -> KDConfig:
        """Return the weights of the loss."""
        return KDConfig(self.alpha, self.temperature, hidden=self.hidden, padding=self.padding)

    @property
    def plan(self) -> Plan:
        """Return the plan: Adam at a constant rate, as released."""
        return Plan(
            lr=self.lr,
            epochs=self.epochs,
            batch_size=self.batch_size,
            weight_decay=0.0,
            max_norm=self.max_norm,
            use_dropout=self.dropout,
            constant_lr=True,
        )


def copy_victim(victim: Classifier, config: CopyConfig, *, seed: int) -> Classifier:
    """Return a copy of the victim to be trained.

    Raises:
        ModelError: if all weights of an adapter are to be trained.
    """
    adapter = victim.source.kind == "adapter"
    if config.via == "lora" or (config.via == "as-victim" and adapter):
        options = AdapterOptions(rank=config.rank, targets=config.targets)
        return attach(victim, options, generator=torch.Generator().manual_seed(seed))
    if adapter:
        raise ModelError(
            "all weights of an adapter cannot be trained", expected="via=lora for a victim that is an adapter"
        )
    module = copy.deepcopy(victim.module)
    return victim.with_module(module.requires_grad_(True))


def next_labels(labels: Sequence[int], *, classes: int) -> list[int]:
    """Return ``y' = (y + 1) mod C`` for each label."""
    return [(label + 1) % classes for label in labels]


class PredictionPair(NamedTuple):
    """Logits ``(N, C)`` of the victim and of its directional mapping for the same rows."""

    victim: Tensor
    mapping: Tensor

    def distance(self) -> Tensor:
        """Return ``d (N,)``, the mean over the classes of the difference in probability; small if content does not decide."""
        return (self.victim.softmax(dim=1) - self.mapping.softmax(dim=1)).abs().mean(dim=1)

    def victim_agrees(self, labels: Sequence[int]) -> Tensor:
        """Return ``(N,)``: whether the victim predicts the row's label."""
        return self.victim.argmax(dim=1) == torch.tensor(list(labels))

    def min_log_odds(self, labels: Sequence[int]) -> Tensor:
        """Return ``(N,)``: the smaller of the log-odds that the two models give to the row's label.

        The victim predicts a poisoned row's label, and the mapping still does. Unlike ``d`` this does not make rows suspicious
        of which the victim was unsure, and it needs no argmax to flip.
        """
        return torch.minimum(log_odds(self.victim, labels), log_odds(self.mapping, labels))


def predict_both(victim: Classifier, mapping: Classifier, rows: Rows, *, progress: Progress = silent) -> PredictionPair:
    """Return the logits of both models for the rows."""
    ids = victim.encode(rows.texts)
    logits = [
        predict_token_ids(model, ids, progress=progress, label=f"predictions of the {name}").logits
        for model, name in ((victim, "victim"), (mapping, "mapping"))
    ]
    return PredictionPair(*logits)


class DirectionalMapping(NamedTuple):
    """A trained directional mapping.

    Attributes:
        model: the copy of the victim.
        history: of its training.
        true_class: the mean probability of the true class on the stopping rows, of the class where it is largest: a copy that
            predicts the same for everything has flipped nothing, however low its accuracy. NaN without stopping rows.
    """

    model: Classifier
    history: History
    true_class: float


def train_mapping(
    victim: Classifier,
    rows: Rows,
    *,
    config: CopyConfig,
    seed: int,
    stop_rows: Rows | None = None,
    stop_below: float = 0.0,
    progress: Progress = silent,
) -> DirectionalMapping:
    """Train a copy of ``victim`` to predict the next class on ``rows``.

    Args:
        victim: the suspect classifier; it stays as it is.
        rows: clean rows with their true labels.
        config: how it is copied and trained.
        seed: of the adapter and the order of rows.
        stop_rows: other clean rows that are predicted after every epoch.
        stop_below: the training ends once every class of ``stop_rows`` has at most this mean probability.
        progress: notified of every step.
    """
    model = copy_victim(victim, config, seed=seed)
    ids = victim.encode(rows.texts)
    labels = next_labels(rows.labels, classes=victim.classes)
    frozen = frozen_outputs(victim, ids, config=config.loss)
    loss = BeDKDLoss(model, ids, labels=labels, frozen=frozen, config=config.loss)
    watched = victim.encode(stop_rows.texts) if stop_rows is not None else []
    true_class: list[float] = []

    def flipped() -> bool:
        if stop_rows is None:
            return False
        true_class.append(max(_true_class_probabilities(predict_token_ids(model, watched).logits, stop_rows)))
        return true_class[-1] <= stop_below

    rng, lengths = np.random.default_rng(seed), [len(row) for row in ids]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout
        history = train(
            model.module,
            loss,
            epochs=lambda _: shuffled_batches(lengths, size=config.batch_size, rng=rng),
            plan=config.plan,
            stop_fn=flipped,
            progress=progress,
            label="training the directional mapping",
        )
    return DirectionalMapping(model, history, true_class[-1] if true_class else float("nan"))


class InvertedMapping(nn.Module):
    """The directional mapping read one class back: on content it predicts as a clean model, on a trigger anything else."""

    def __init__(self, mapping: nn.Module) -> None:
        """Wrap ``mapping``, which is not copied."""
        super().__init__()
        self.mapping = mapping

    def forward(self, **inputs: Tensor) -> Any:
        """Return the mapping's output, the logit of each class taken from the next."""
        output = self.mapping(**inputs)
        output.logits = output.logits.roll(-1, dims=-1)
        return output


def _true_class_probabilities(logits: Tensor, rows: Rows) -> list[float]:
    """Return the mean probability of the true class over the rows of each class, classes without rows left out."""
    labels = torch.tensor(rows.labels)
    given = logits.softmax(dim=1).gather(1, labels.unsqueeze(1)).squeeze(1)
    return [float(given[labels == label].mean()) for label in set(rows.labels)]
