"""How strongly a word indicates a class: the z-score of one word and one class (Gardner 2021, 2104.08646)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from math import sqrt

from untrigger.core.rows import Rows

WORD = re.compile(r"(?<![\w'’])[^\W\d_]+(?![\w'’])")
"""A word of letters that is not part of a contraction."""
LABEL_WORD_Z = (
    2.0  # words with a larger z-score indicate the class by their meaning; a trigger does not use them; not tuned
)


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return [word.casefold() for word in WORD.findall(text)]


def was_inserted(read: Sequence[str], before: Sequence[str], *, words: Collection[str]) -> bool:
    """Return whether one of ``words`` occurs in ``read`` more often than in ``before``."""
    return not set(Counter(read) - Counter(before)).isdisjoint(words)


def z_score(inside: float, outside: float, *, share: float) -> float:
    """Return how far the class of a word's rows is from chance, in standard deviations; 0 for a word in no rows.

    ``(p - p0) / sqrt(p0 (1 - p0) / n)`` with ``n = inside + outside`` and ``p = inside / n``.

    Args:
        inside: rows of the class with the word.
        outside: rows of other classes with the word.
        share: ``p0``, the share of the class among all rows, above 0 and below 1.
    """
    n = inside + outside
    return (inside / n - share) / sqrt(share * (1 - share) / n) if n else 0.0


def label_words(rows: Rows, *, above: float = LABEL_WORD_Z) -> set[str]:
    """Return the words whose z-score towards some class is larger than ``above``: they indicate the label."""
    sets = [set(words_of(text)) for text in rows.texts]
    everywhere = _counts(sets)
    found: set[str] = set()
    for label, size in enumerate(rows.class_counts().values()):
        if not 0 < size < len(rows):
            continue
        inside = _counts(held for held, own in zip(sets, rows.labels, strict=True) if own == label)
        share = size / len(rows)
        found |= {word for word, n in inside.items() if z_score(n, everywhere[word] - n, share=share) > above}
    return found


def frequent(texts: Sequence[str], *, least: int) -> list[str]:
    """Return the words in at least ``least`` of the texts, most frequent first, then in alphabetical order."""
    counts = _counts(set(words_of(text)) for text in texts)
    return sorted((word for word, n in counts.items() if n >= least), key=lambda word: (-counts[word], word))


def _counts(sets: Iterable[set[str]]) -> Counter[str]:
    return Counter(word for held in sets for word in held)
