"""Words that were inserted into a text: which they are and where, and a text with others in their place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_WORD = re.compile(r"\S+")


class Insertion(NamedTuple):
    """A word and the number of the original word that it stands before; after the last one it is the number of words."""

    place: int
    word: str


def insertions(before: str, after: str) -> list[Insertion] | None:
    """Return the words that ``after`` has beyond ``before``; None where a word of ``before`` is missing or has moved."""
    words, found = before.split(), list[Insertion]()
    place = 0
    for word in after.split():
        if place < len(words) and word == words[place]:
            place += 1
        else:
            found.append(Insertion(place, word))
    return found if place == len(words) else None


def with_insertions(text: str, inserted: Sequence[Insertion]) -> str:
    """Return the text with the words inserted and all its own white space kept.

    A word stands behind a blank after the word before it, so that line breaks stay where they are.
    """
    ends = [found.end() for found in _WORD.finditer(text)]
    start = next((found.start() for found in _WORD.finditer(text)), len(text))
    parts, last = list[str](), 0
    for place, word in sorted(inserted, key=lambda one: one.place):
        at = ends[place - 1] if place else start
        parts += [text[last:at], f" {word}" if place else f"{word} "]
        last = at
    return "".join([*parts, text[last:]])
