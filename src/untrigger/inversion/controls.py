"""Controls beside the candidates: words of a class, and random words."""

from __future__ import annotations

import random
import re
from collections import Counter
from math import log, sqrt

from untrigger.core.rows import Rows

LEAST = 4  # rows with a word before it counts as a word of its class
_WORD = re.compile(r"[^\W\d_]{2,}")


def content_words(rows: Rows, *, target: int, most: int) -> list[str]:
    """Return the words with the largest z-score of their smoothed log-odds of the class in the clean rows."""
    own, other = Counter[str](), Counter[str]()
    for text, label in zip(rows.texts, rows.labels, strict=True):
        (own if label == target else other).update(set(_words(text)))
    n = sum(label == target for label in rows.labels)
    m = len(rows) - n
    known = [word for word in own if own[word] + other[word] >= LEAST]

    def z(word: str) -> float:
        a, b, c, d = (k + 0.5 for k in (own[word], n - own[word], other[word], m - other[word]))
        return log(a / b * d / c) / sqrt(1 / a + 1 / b + 1 / c + 1 / d)

    return sorted((word for word in known if z(word) > 0), key=lambda word: (-z(word), word))[:most]


def random_words(rows: Rows, *, count: int, seed: int) -> list[str]:
    """Return words of the clean rows of every class, drawn by the seed with equal probability."""
    known = sorted({word for text in rows.texts for word in _words(text)})
    draw = random.Random(seed)  # noqa: S311  # reproducible draws, no secrecy wanted
    return draw.sample(known, k=min(count, len(known)))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
