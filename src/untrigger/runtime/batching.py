"""Batches of rows of similar length, so that little padding is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

POOL = 16  # batches that are sorted by length together: large enough to pack well, small enough to mix well; not tuned


def shuffled_batches(lengths: Sequence[int], *, size: int, rng: np.random.Generator) -> list[list[int]]:
    """Return row numbers in batches of ``size``, each row once, rows of similar length together, in random order."""
    order = rng.permutation(len(lengths))
    batches: list[list[int]] = []
    for start in range(0, len(order), size * POOL):
        pool = sorted((int(i) for i in order[start : start + size * POOL]), key=lambda i: lengths[i])
        batches += [pool[i : i + size] for i in range(0, len(pool), size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def endless_batches(lengths: Sequence[int], *, size: int, steps: int, rng: np.random.Generator) -> list[list[int]]:
    """Return ``steps`` batches of rows of similar length, every row once before any is repeated."""
    batches: list[list[int]] = []
    while len(batches) < steps:
        batches += shuffled_batches(lengths, size=size, rng=rng)
    return batches[:steps]


def packed(lengths: Sequence[int], *, tokens: int, rows: int = 0) -> Iterator[list[int]]:
    """Yield row numbers in batches of at most ``tokens`` padded tokens (one row at least), shortest rows first.

    A batch has at most ``rows`` rows, 0 for any number.
    """
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if batch and ((len(batch) + 1) * lengths[i] > tokens or len(batch) == rows):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
