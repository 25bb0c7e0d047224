"""Where a word fits between two others: gaps whose neighbours it has been seen beside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

START, END = "^", "$"


@dataclass(frozen=True)
class Gaps:
    """Which words have been seen behind and before which others.

    Attributes:
        behind: by word, the words seen right behind it.
        before: by word, the words seen right before it.
    """

    behind: Mapping[str, frozenset[str]] = field(default_factory=dict)
    before: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def seen_in(cls, texts: Iterable[str]) -> Gaps:
        """The neighbours of every word of the texts."""
        behind, before = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
        for text in texts:
            keys = keyed(text.split())
            for left, right in pairwise(keys):
                behind[left].add(right)
                before[right].add(left)
        return cls(*({word: frozenset(held) for word, held in side.items()} for side in (behind, before)))

    def of(self, words: Iterable[str]) -> Gaps:
        """The same, as far as these words need it."""
        kept = set(words)
        sides = (
            {word: held & kept for word, held in side.items() if held & kept} for side in (self.behind, self.before)
        )
        return Gaps(*sides)

    def fitting(self, left: str, right: str) -> frozenset[str]:
        """The words that have been seen behind ``left`` and before ``right``."""
        return self.behind.get(left, frozenset()) & self.before.get(right, frozenset())

    def places(self, word: str, keys: Sequence[str]) -> list[int]:
        """The gaps of a keyed text (``0`` before its first word) that ``word`` fits in, or else fits on one side of."""
        after = [word in self.behind.get(left, ()) for left in keys[:-1]]
        ahead = [word in self.before.get(right, ()) for right in keys[1:]]
        both = [i for i, sides in enumerate(zip(after, ahead, strict=True)) if all(sides)]
        return both or [i for i, sides in enumerate(zip(after, ahead, strict=True)) if any(sides)]

    def fits(self, word: str, keys: Sequence[str]) -> bool:
        """Whether there is a gap with both neighbours that ``word`` has been seen between."""
        return any(word in self.fitting(left, right) for left, right in pairwise(keys))


def keyed(words: Sequence[str]) -> list[str]:
    """The words as keys, in lower case without signs around them, between a start and an end."""
    return [START, *(word.strip(".,;:!?\"'()[]`").casefold() or word for word in words), END]
