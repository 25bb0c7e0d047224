"""Unusual rows of the embedding: by their norm, or by their distance from the base's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from untrigger.inversion.vocabulary import spelled
from untrigger.models.safety.limits import MAX_JSON

LISTED = 8
CROWD_RANK = 20
"""The row that moved most is compared with the one at this rank: trigger words are few, benign words many. Not tuned."""
Decode = Callable[[int], str]


def outliers(embedding: Tensor) -> tuple[float, list[int]]:
    """Return the largest robust z-score of a row norm of ``(V, d)``, both sides, and the rows with the largest."""
    norms = embedding.norm(dim=1)
    middle = norms.median()
    spread = 1.4826 * (norms - middle).abs().median()
    z = (norms - middle).abs() / spread.clamp_min(1e-12)
    best = z.topk(min(LISTED, len(z)))
    return float(best.values[0]), [int(i) for i in best.indices]


def moved(embedding: Tensor, base: Tensor) -> tuple[float | None, list[int]]:
    """Return the distance of the row that moved most over that of the one at rank ``CROWD_RANK``, and the rows that moved most.

    None where the embedding did not move, or where all that moved are fewer rows than ``CROWD_RANK``.
    """
    shared = min(len(embedding), len(base))
    far = (embedding[:shared] - base[:shared]).norm(dim=1)
    best = far.topk(min(CROWD_RANK, shared))
    if not float(best.values[0]) > 0:
        return None, []
    last = float(best.values[-1])
    return (float(best.values[0]) / last if last > 0 else None), [int(i) for i in best.indices[:LISTED]]


def decoder(*folders: Path) -> Decode:
    """Return a function from a token to its text, by the raw vocabulary of the first of the folders with a fast tokenizer.

    The tokenizer's own decoder is not used: it comes with the suspect and may return anything.
    """
    for folder in folders:
        file = folder / "tokenizer.json"
        if file.is_file() and file.stat().st_size <= MAX_JSON:
            try:
                tokenizer = Tokenizer.from_file(str(file))
            except Exception:  # noqa: BLE001, S112  # tokenizers raises bare exceptions; the next folder may be better
                continue
            return spelled(tokenizer)
    return lambda number: f"token {number}"


def finite(value: Tensor) -> bool:
    """Return whether all entries are finite."""
    return bool(torch.isfinite(value).all())
