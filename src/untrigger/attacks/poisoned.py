"""A poisoned data set in two parts: what a defender may see, and what only the evaluator may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from untrigger.core.rows import Rows


@dataclass(frozen=True, kw_only=True)
class PoisonTruth:
    """What only the evaluator may know of any attack.

    Attributes:
        trigger: its name and options.
        rate: share of all training rows that carry the trigger.
        seed: of every random choice.
        poisoned_ids: the rows that carry the trigger.
        negative_rate: requested share of all training rows with a part of the trigger and their own label or answer.
        negative_ids: the ids of those rows.
    """

    trigger: dict[str, Any]
    rate: float
    seed: int
    poisoned_ids: tuple[str, ...]
    negative_rate: float = 0.0
    negative_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Truth(PoisonTruth):
    """What only the evaluator may know of an attack on a classifier.

    Attributes:
        target: the target class; None where every class becomes the next one (see ``target_labels``).
        policy: which rows got the trigger, and which label they got.
    """

    target: int | None
    policy: str


@dataclass(frozen=True)
class PoisonedDataset:
    """``visible`` rows (texts and labels as the model is trained on them) and the ``truth`` about them."""

    visible: Rows
    truth: Truth


def target_labels(target: int | None, *, classes: int) -> dict[int, int]:
    """Return the target label of each true class; without a target class it is the next class, cyclically."""
    return {label: (label + 1) % classes if target is None else target for label in range(classes)}
