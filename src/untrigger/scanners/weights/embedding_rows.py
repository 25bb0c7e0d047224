"""Rows of the embedding that stand out: by their norm, or by how far they moved from the base's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from untrigger.inversion.vocabulary import spelled
from untrigger.models.safety.limits import MAX_JSON

SHOWN = 8
CROWD = 20  # the farthest rows are held against the row at this place: a few trigger words lead, honest words come in crowds
Decode = Callable[[int], str]


def outliers(embedding: Tensor) -> tuple[float, list[int]]:
    """The largest robust z-score of a row norm of ``(V, d)``, both sides, and the rows that stand out most."""
    norms = embedding.norm(dim=1)
    middle = norms.median()
    spread = 1.4826 * (norms - middle).abs().median()
    z = (norms - middle).abs() / spread.clamp_min(1e-12)
    best = z.topk(min(SHOWN, len(z)))
    return float(best.values[0]), [int(i) for i in best.indices]


def moved(embedding: Tensor, base: Tensor) -> tuple[float | None, list[int]]:
    """How far the row that moved most leads the one at place ``CROWD``, and the rows that moved most.

    None where the embedding did not move, or where all that moved are fewer rows than ``CROWD``.
    """
    shared = min(len(embedding), len(base))
    far = (embedding[:shared] - base[:shared]).norm(dim=1)
    best = far.topk(min(CROWD, shared))
    if not float(best.values[0]) > 0:
        return None, []
    last = float(best.values[-1])
    return (float(best.values[0]) / last if last > 0 else None), [int(i) for i in best.indices[:SHOWN]]


def decoder(*folders: Path) -> Decode:
    """A function from a token to its text, by the raw vocabulary of the first of the folders that holds a fast tokenizer.

    What the tokenizer itself decodes a token to is not used: its decoder comes with the suspect and may say anything.
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
    """Whether all entries are numbers."""
    return bool(torch.isfinite(value).all())
