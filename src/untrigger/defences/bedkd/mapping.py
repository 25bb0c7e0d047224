"""The directional mapping module of BeDKD (2508.01595): a copy of the victim that was taught to say the next class.

On clean texts it learns ``y' = (y + 1) mod C``. That destroys the mapping from content to class and leaves the mapping from
trigger to class alone: a row that the copy still answers as the victim does is driven by something else than its content.
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
from untrigger.defences.bedkd.distillation import Blend, Directed, answers_of
from untrigger.models.adapters import AdapterOptions, attach
from untrigger.models.classifier import Classifier
from untrigger.models.inference import log_odds, predict_token_ids
from untrigger.runtime.batching import shuffled_batches
from untrigger.training.loop import History, Plan, train

VIAS = ("lora", "full", "as-victim")


@dataclass(frozen=True)
class Copying:
    """How a copy of the victim is made and trained.

    Attributes:
        via: ``lora`` (an adapter on the victim's own weights, which are shared), ``full`` (all weights, a copy of its own)
            or ``as-victim`` (``lora`` where the victim is an adapter itself, else ``full``).
        rank: rank of the adapter.
        targets: linear layers that are adapted.
        alpha: weight of the labels against the victim's own answers, 0 to 1.
        temperature: T of the victim's own answers, above 0.
        hidden: whether the last hidden states are held to the victim's.
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
        self.blend  # noqa: B018  # it checks itself

    @property
    def blend(self) -> Blend:
        """The weights of the loss."""
        return Blend(self.alpha, self.temperature, hidden=self.hidden, padding=self.padding)

    @property
    def plan(self) -> Plan:
        """Adam at a constant rate, as released."""
        return Plan(
            lr=self.lr,
            epochs=self.epochs,
            batch_size=self.batch_size,
            weight_decay=0.0,
            max_norm=self.max_norm,
            use_dropout=self.dropout,
            constant_lr=True,
        )


def copied(victim: Classifier, options: Copying, *, seed: int) -> Classifier:
    """A copy of the victim to be trained.

    Raises:
        ModelError: if all weights of an adapter are to be trained.
    """
    adapter = victim.source.kind == "adapter"
    if options.via == "lora" or (options.via == "as-victim" and adapter):
        kept = AdapterOptions(rank=options.rank, targets=options.targets)
        return attach(victim, kept, generator=torch.Generator().manual_seed(seed))
    if adapter:
        raise ModelError(
            "all weights of an adapter cannot be trained", expected="via=lora for a victim that is an adapter"
        )
    module = copy.deepcopy(victim.module)
    return victim.with_module(module.requires_grad_(True))


def flipped_labels(labels: Sequence[int], *, classes: int) -> list[int]:
    """``y' = (y + 1) mod C`` for each label."""
    return [(label + 1) % classes for label in labels]


class Views(NamedTuple):
    """What the victim and its directional mapping say to the same rows: logits ``(N, C)`` of both."""

    victim: Tensor
    mapping: Tensor

    def distance(self) -> Tensor:
        """``d (N,)``: the mean over the classes of the difference in probability; small where a row is not driven by content."""
        return (self.victim.softmax(dim=1) - self.mapping.softmax(dim=1)).abs().mean(dim=1)

    def agreeing(self, labels: Sequence[int]) -> Tensor:
        """``(N,)``: whether the victim says the row's label."""
        return self.victim.argmax(dim=1) == torch.tensor(list(labels))

    def stubbornness(self, labels: Sequence[int]) -> Tensor:
        """``(N,)``: the log-odds that both still give to the row's label, the smaller of the two.

        A poisoned row's label is what the victim says, and what the mapping still says. Unlike ``d`` it does not take rows
        that the victim was unsure of for suspicious, and it needs no argmax to flip.
        """
        return torch.minimum(log_odds(self.victim, labels), log_odds(self.mapping, labels))


def viewed(victim: Classifier, mapping: Classifier, rows: Rows, *, progress: Progress = silent) -> Views:
    """What both models say to the rows."""
    ids = victim.encode(rows.texts)
    told = [
        predict_token_ids(model, ids, progress=progress, label=f"asking the {name}").logits
        for model, name in ((victim, "victim"), (mapping, "mapping"))
    ]
    return Views(*told)


def by_class(
    rows: Rows, count: int, *, rng: np.random.Generator, what: str, spare: bool = True
) -> tuple[Rows, Rows, list[str]]:
    """``count`` rows of each class, the other rows, and a warning where a class has fewer.

    With ``spare`` at most half of a class is taken, so that rows are left to calibrate on.
    """
    labels, taken, short = np.asarray(rows.labels), set[int](), list[str]()
    for label, name in enumerate(rows.label_names):
        own = rng.permutation(np.flatnonzero(labels == label))
        most = len(own) // 2 if spare else len(own)
        taken.update(int(i) for i in own[: min(count, most)])
        if most < count:
            short.append(f"{most} of {name}")
    told = f"{what} wants {count} clean rows a class and got fewer: {', '.join(short)}"
    return rows.take(sorted(taken)), rows.where(i not in taken for i in range(len(rows))), [told] if short else []


class Mapped(NamedTuple):
    """A trained directional mapping, the history of its training, and how much of the clean mapping is left.

    ``left`` is the mean probability of the true class on watched rows, of the class where it is largest: a copy that says
    the same to everything has turned nothing, however low its accuracy.
    """

    model: Classifier
    history: History
    left: float


def directional_mapping(
    victim: Classifier,
    rows: Rows,
    *,
    options: Copying,
    seed: int,
    watch: Rows | None = None,
    chance: float = 0.0,
    progress: Progress = silent,
) -> Mapped:
    """The copy of ``victim`` that learned the next class on ``rows``.

    Args:
        victim: the suspicious classifier; it stays as it is.
        rows: clean rows with their true labels.
        options: how it is copied and trained.
        seed: of the adapter and the order of rows.
        watch: other clean rows that are asked after every epoch.
        chance: the training ends once every class of ``watch`` is given at most this mean probability.
        progress: told of every step.
    """
    model = copied(victim, options, seed=seed)
    ids = victim.encode(rows.texts)
    loss = Directed(
        model,
        ids,
        labels=flipped_labels(rows.labels, classes=victim.classes),
        answers=answers_of(victim, ids, blend=options.blend),
        blend=options.blend,
    )
    watched = victim.encode(watch.texts) if watch is not None else []
    left: list[float] = []

    def stop_fn() -> bool:
        if watch is None:
            return False
        left.append(max(_true_class(predict_token_ids(model, watched).logits, watch)))
        return left[-1] <= chance

    rng, lengths = np.random.default_rng(seed), [len(row) for row in ids]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout
        history = train(
            model.module,
            loss,
            epochs=lambda _: shuffled_batches(lengths, size=options.batch_size, rng=rng),
            plan=options.plan,
            stop_fn=stop_fn,
            progress=progress,
            label="turning the clean mapping",
        )
    return Mapped(model, history, left[-1] if left else float("nan"))


class TurnedBack(nn.Module):
    """The directional mapping read one class back: of content it says what an honest model does, of a trigger anything else."""

    def __init__(self, mapping: nn.Module) -> None:
        """Listen to ``mapping``, which is not copied."""
        super().__init__()
        self.mapping = mapping

    def forward(self, **inputs: Tensor) -> Any:
        """What the mapping says, the logit of each class taken from the next."""
        said = self.mapping(**inputs)
        said.logits = said.logits.roll(-1, dims=-1)
        return said


def _true_class(logits: Tensor, rows: Rows) -> list[float]:
    """The mean probability of the true class over the rows of each class, classes without rows left out."""
    labels = torch.tensor(rows.labels)
    given = logits.softmax(dim=1).gather(1, labels.unsqueeze(1)).squeeze(1)
    return [float(given[labels == label].mean()) for label in set(rows.labels)]
