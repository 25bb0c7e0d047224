"""Benign insertions, without meaning for the label: random words, letters and fragments of rows of the same class."""

from __future__ import annotations

import random
import re
import string

from untrigger.core.rows import Rows
from untrigger.inversion.vocabulary import Words

_CONTROL = re.compile(r"[\[<].+[\]>]")  # [CLS], </s>, <|end|>


class NoiseInsertions:
    """Draws benign insertions, so that a model learns that odd text alone has no meaning for the label."""

    def __init__(self, words: Words, rows: Rows) -> None:
        """Remember the vocabulary without what looks like a special token, and the rows of each class."""
        self._words = [text for text in words.texts if not _CONTROL.fullmatch(text)]
        self._texts = [
            [t for t, y in zip(rows.texts, rows.labels, strict=True) if y == c] for c in range(len(rows.label_names))
        ]

    def draw(self, label: int, *, rng: random.Random) -> str:
        """Return a vocabulary word, two to four letters, or three to six words of another row with this label."""
        kind = rng.randrange(3)
        if kind == 0 and self._words:
            return rng.choice(self._words)
        if kind == 1:
            return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 4)))
        words = rng.choice(self._texts[label]).split()
        length = min(len(words), rng.randint(3, 6))
        start = rng.randint(0, len(words) - length)
        return " ".join(words[start : start + length])
