"""Passages of long documents, cut at ends of sentences to the lengths of other texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

_SENTENCE_END = re.compile(r"(?<=[.!?;])[\"')\]]*\s+|\s*\n\s*|\s*<br\s*/?>\s*")


def word_lengths(texts: Sequence[str]) -> list[int]:
    """Return the numbers of words of the texts, without the shortest and the longest five per cent."""
    counts = sorted(len(text.split()) for text in texts)
    cut = len(counts) // 20
    return counts[cut : len(counts) - cut]


def passages(
    document: str, *, lengths: Sequence[int], rng: np.random.Generator, keep: Callable[[str], bool] = bool
) -> list[str]:
    """Return a document that is longer than the longest of ``lengths`` in passages of such lengths, a shorter one as it is.

    A passage is one or more sentences; it is as long as a length drawn from ``lengths``, or shorter by a sentence. Of a sentence
    that is longer than all of them the beginning is taken. Passages shorter than the shortest length are left out.

    Args:
        document: a text of any length.
        lengths: numbers of words, from the smallest.
        rng: draws the lengths.
        keep: whether a sentence may be used; a shorter document with one that may not is left out.
    """
    if len(document.split()) <= lengths[-1]:
        parts = [document, *(part for part in _SENTENCE_END.split(document) if part.strip())]
        return [document] if all(keep(part) for part in parts) else []
    found: list[list[str]] = []
    current: list[str] = []
    target = int(rng.choice(lengths))
    for sentence in _SENTENCE_END.split(document):
        words = sentence.split()[: lengths[-1]]
        if not words or not keep(sentence):
            continue
        if current and len(current) + len(words) > target:
            found.append(current)
            current, target = [], int(rng.choice(lengths))
        current = current + words
    return [" ".join(words) for words in [*found, current] if len(words) >= max(1, lengths[0])]
