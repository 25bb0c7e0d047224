"""Check that the labels of clean rows mean the model's classes, before anything is trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from untrigger.core.errors import DataError
from untrigger.core.rows import Rows
from untrigger.core.statistics import Outcome, select, wilson
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.models.max_length import UNBOUNDED, choose_max_length

MOST = 300  # rows that are read
SURE = 3.0  # standard deviations: of models that only guess, fewer than one in two hundred is refused


def check_agreement(model: Classifier, rows: Rows, *, what: str) -> None:
    """Raise DataError if the labels of clean rows are exchanged.

    They are exchanged where the model predicts another label for most rows of one, so that it is right less
    often than by chance, and more often than by chance under a permutation of the labels. A model that only guesses, or
    predicts one class for all rows, gives no such permutation.

    Args:
        model: the model whose classes the labels are.
        rows: clean rows with the model's ``label_names``.
        what: how the message calls the rows.

    Raises:
        DataError: with what the labels seem to mean.
    """
    sample = rows.stratified(min(MOST, len(rows)), rng=np.random.default_rng(0))[0]
    predictions = [int(one) for one in predict_texts(model, sample.texts).predictions]
    meant = permuted(predictions, sample.labels, classes=len(rows.label_names))
    if not meant:
        return
    names = rows.label_names
    pairs = [(predicted, label) for predicted, label in zip(predictions, sample.labels, strict=True) if label in meant]
    right = sum(predicted == label for predicted, label in pairs)
    other = sum(meant.get(predicted) == label for predicted, label in pairs)
    raise DataError(
        f"the labels of {what} do not mean the model's classes: the model calls {right} of {len(pairs)} rows by their label "
        f"({right / len(pairs):.0%}), and {other} ({other / len(pairs):.0%}) by another that the labels seem to mean: "
        + _exchange(meant, names),
        expected="clean rows whose labels the model mostly agrees with",
        remedy="correct the labels of the file, or give them as the model's class names: " + ", ".join(names[:10]),
    )


def doubts(outcomes: Sequence[Outcome], *, label_names: Sequence[str]) -> list[str]:
    """Return a warning for each subject whose predictions fit the labels only if these are exchanged."""
    found = []
    for subject in dict.fromkeys(one.subject for one in outcomes):
        clean = select(outcomes, subject=subject, triggered=False)
        meant = permuted([one.prediction for one in clean], [one.label for one in clean], classes=len(label_names))
        if meant:
            seem = _exchange(meant, label_names)
            found.append(f"{subject}: its predictions fit the labels only if these are exchanged: {seem}")
    return found


def _exchange(meant: dict[int, int], names: Sequence[str]) -> str:
    return ", ".join(
        f"{names[label]!r} for what the model calls {names[predicted]!r}" for predicted, label in sorted(meant.items())
    )


def notes_of(*parts: Rows | None, model: Classifier) -> list[str]:
    """Return notes on how model and rows were loaded, for the warnings of a report; each note once."""
    notes = [note for rows in parts if rows is not None for note in rows.notes]
    return list(
        dict.fromkeys([*model.source.notes, *notes, *_cut([rows for rows in parts if rows is not None], model)])
    )


def _cut(parts: Sequence[Rows], model: Classifier) -> list[str]:
    """Return a sentence on texts that are cut off."""
    cut, count = sum(model.count_cut(rows.texts) for rows in parts), sum(len(rows) for rows in parts)
    if not cut:
        return []
    more = " (--max-length reads more, as far as the model has positions)" if _can_read_more(model) else ""
    side = "begin" if model.tokenizer.truncation_side == "left" else "end"
    return [
        f"{cut} of {count} texts are longer than {model.max_length} tokens: their {side} was cut off, and a trigger there is not "
        f"seen{more}"
    ]


def _can_read_more(model: Classifier) -> bool:
    """Return whether a larger ``--max-length`` would be used."""
    return choose_max_length(model.tokenizer, model.module, requested=UNBOUNDED) > model.max_length


def permuted(predictions: Sequence[int], labels: Sequence[int], *, classes: int) -> dict[int, int]:
    """Return the label that the rows have for each class that the model calls differently; empty without evidence.

    A class is in it where the label whose rows the model calls so most often is another one, and these exchanges close in a
    circle. Over the labels in circles, each with the same weight, the share of rows that is right must lie below chance among
    them, and the share that is right under the exchange above it, both by ``SURE`` standard deviations. For many labels of few
    rows it is enough that most rows are right under the exchange, more than are of any one label, and fewer than half as they are.
    """
    table: NDArray[np.int64] = np.zeros((classes, classes), dtype=int)
    np.add.at(table, (list(predictions), list(labels)), 1)
    sizes = table.sum(axis=0)
    shares = table / np.maximum(sizes, 1)
    meant = _circles({c: int(shares[c].argmax()) for c in range(classes) if table[c].any()})
    if not meant:
        return {}
    chance = 1 / len(meant)
    right = [(int(table[label, label]), int(sizes[label])) for label in meant.values()]
    other = [(int(table[c, label]), int(sizes[label])) for c, label in meant.items()]
    largest = max(n for _, n in right) / sum(n for _, n in right)
    alike = _mean(right)[1] < chance < _mean(other)[0]
    many = _mean([_sum(right)])[1] < 0.5 and _mean([_sum(other)])[0] > max(0.5, largest)
    return meant if alike or many else {}


def _sum(counts: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(hits for hits, _ in counts), sum(n for _, n in counts)


def _mean(counts: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Return the interval of the mean of several shares, from the Wilson interval of each (Zou and Donner's method)."""
    shares, below, above = [], 0.0, 0.0
    for hits, n in counts:
        low, high = wilson(hits, n, z=SURE)
        assert low is not None and high is not None
        shares.append(hits / n)
        below, above = below + (hits / n - low) ** 2, above + (high - hits / n) ** 2
    mean = sum(shares) / len(shares)
    return mean - sqrt(below) / len(shares), mean + sqrt(above) / len(shares)


def _circles(steps: dict[int, int]) -> dict[int, int]:
    """Return the part of a mapping that exchanges classes with each other; unchanged classes are left out."""
    found: dict[int, int] = {}
    for start, step in steps.items():
        path = [start]
        while (after := steps.get(path[-1])) is not None and after not in path:
            path.append(after)
        if after == start and len(path) > 1:
            found[start] = step
    return found
