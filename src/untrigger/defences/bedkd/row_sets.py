"""Sets of rows that both halves of BeDKD draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from untrigger.core.rows import Rows


def sample_per_class(
    rows: Rows, n: int, *, rng: np.random.Generator, purpose: str, spare: bool = True
) -> tuple[Rows, Rows, list[str]]:
    """Return ``n`` rows of each class, the other rows, and a warning if a class has fewer.

    With ``spare`` at most half of a class is taken, so that rows are left to calibrate on.
    """
    labels, taken, short = np.asarray(rows.labels), set[int](), list[str]()
    for label, name in enumerate(rows.label_names):
        own = rng.permutation(np.flatnonzero(labels == label))
        available = len(own) // 2 if spare else len(own)
        taken.update(int(i) for i in own[: min(n, available)])
        if available < n:
            short.append(f"{available} of {name}")
    warning = f"{purpose} wants {n} clean rows a class and got fewer: {', '.join(short)}"
    return rows.take(sorted(taken)), rows.where(i not in taken for i in range(len(rows))), [warning] if short else []


def concatenated(parts: Sequence[Rows], *, names: tuple[str, ...]) -> Rows:
    """Return all rows of all parts, with new ids."""
    texts = [text for part in parts for text in part.texts]
    return Rows.of(texts, [label for part in parts for label in part.labels], label_names=names)
