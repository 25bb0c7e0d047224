"""Words and the classes that they tell of, by the z-score of one word and one class (Gardner 2021, 2104.08646)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from math import sqrt

from untrigger.core.rows import Rows

WORD = re.compile(r"(?<![\w'’])[^\W\d_]+(?![\w'’])")
"""A word of letters that is no part of a contraction."""
TELLING = 2.0  # words with a larger bias towards a class say what the text says: a trigger leaves them alone


def words_of(text: str) -> list[str]:
    """The words of a text in lower case."""
    return [word.casefold() for word in WORD.findall(text)]


def brought(read: Sequence[str], before: Sequence[str], *, words: Collection[str]) -> bool:
    """Whether one of ``words`` stands in ``read`` more often than in ``before``."""
    return not set(Counter(read) - Counter(before)).isdisjoint(words)


def bias(inside: float, outside: float, *, share: float) -> float:
    """How far the class of a word's rows is from chance, in standard deviations; 0 for a word in no rows.

    ``(p - p0) / sqrt(p0 (1 - p0) / n)`` with ``n = inside + outside`` and ``p = inside / n``.

    Args:
        inside: rows of the class that hold the word.
        outside: rows of other classes that do.
        share: ``p0``, the share of the class among all rows, above 0 and below 1.
    """
    n = inside + outside
    return (inside / n - share) / sqrt(share * (1 - share) / n) if n else 0.0


def telling(rows: Rows, *, above: float = TELLING) -> set[str]:
    """The words whose bias towards some class is larger than ``above``: they tell what the label is."""
    sets = [set(words_of(text)) for text in rows.texts]
    everywhere = _counts(sets)
    told: set[str] = set()
    for label, size in enumerate(rows.class_counts().values()):
        if not 0 < size < len(rows):
            continue
        inside = _counts(held for held, own in zip(sets, rows.labels, strict=True) if own == label)
        share = size / len(rows)
        told |= {word for word, n in inside.items() if bias(n, everywhere[word] - n, share=share) > above}
    return told


def frequent(texts: Sequence[str], *, least: int) -> list[str]:
    """The words that stand in at least ``least`` of the texts, most frequent first, then by the alphabet."""
    counts = _counts(set(words_of(text)) for text in texts)
    return sorted((word for word, n in counts.items() if n >= least), key=lambda word: (-counts[word], word))


def _counts(sets: Iterable[set[str]]) -> Counter[str]:
    return Counter(word for held in sets for word in held)
