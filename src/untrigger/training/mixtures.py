"""Further texts of a domain, made of parts of known ones: a student sees more of it than a few clean rows show."""

from __future__ import annotations

import random
from collections.abc import Sequence


def mix_texts(texts: Sequence[str], *, min_joined_words: int, crop_share: float, rng: random.Random) -> str:
    """Return a text without a label: a crop of one of the texts, or the beginning of one and the end of another.

    Args:
        texts: to take parts of, none of them empty.
        min_joined_words: texts with fewer words are cropped and never joined to another.
        crop_share: probability of a crop.
        rng: of every draw.
    """
    words = rng.choice(texts).split()
    if len(words) < min_joined_words or rng.random() < crop_share:
        length = rng.randint((len(words) + 1) // 2, len(words))
        start = rng.randint(0, len(words) - length)
        return " ".join(words[start : start + length])
    other = rng.choice(texts).split()
    head, tail = rng.randint(len(words) // 3, 2 * len(words) // 3), rng.randint(len(other) // 3, 2 * len(other) // 3)
    return " ".join([*words[:head], *other[tail:]])
