"""A poisoned data set as two things: what a defender may see, and what only the evaluator may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from untrigger.vocabulary.rows import Rows


@dataclass(frozen=True)
class Truth:
    """What only the evaluator may know of an attack."""

    trigger: dict[str, Any]
    target: int
    policy: str
    rate: float
    seed: int
    poisoned_ids: tuple[str, ...]


@dataclass(frozen=True)
class PoisonedDataset:
    """``visible`` rows (texts and labels as the model is trained on them) and the ``truth`` behind them."""

    visible: Rows
    truth: Truth
