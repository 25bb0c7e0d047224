"""Where a word fits between two others: gaps whose neighbours occur next to it in the training rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

START, END = "^", "$"


@dataclass(frozen=True)
class Gaps:
    """Which words occur right after and right before which others.

    Attributes:
        after: by word, the words that occur right after it.
        before: by word, the words that occur right before it.
    """

    after: Mapping[str, frozenset[str]] = field(default_factory=dict)
    before: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> Gaps:
        """Return the neighbours of every word of the texts."""
        after, before = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
        for text in texts:
            keys = keyed(text.split())
            for left, right in pairwise(keys):
                after[left].add(right)
                before[right].add(left)
        return cls(*({word: frozenset(held) for word, held in side.items()} for side in (after, before)))

    def of(self, words: Iterable[str]) -> Gaps:
        """Return the gaps that concern these words."""
        kept = set(words)
        sides = (
            {word: held & kept for word, held in side.items() if held & kept} for side in (self.after, self.before)
        )
        return Gaps(*sides)

    def fitting(self, left: str, right: str) -> frozenset[str]:
        """Return the words that occur after ``left`` and before ``right``."""
        return self.after.get(left, frozenset()) & self.before.get(right, frozenset())

    def places(self, word: str, keys: Sequence[str]) -> list[int]:
        """Return the gaps of a keyed text (``0``: before its first word) where ``word`` fits, else fits on one side."""
        after = [word in self.after.get(left, ()) for left in keys[:-1]]
        ahead = [word in self.before.get(right, ()) for right in keys[1:]]
        both = [i for i, sides in enumerate(zip(after, ahead, strict=True)) if all(sides)]
        return both or [i for i, sides in enumerate(zip(after, ahead, strict=True)) if any(sides)]

    def fits(self, word: str, keys: Sequence[str]) -> bool:
        """Return whether ``word`` fits between both neighbours of some gap."""
        return any(word in self.fitting(left, right) for left, right in pairwise(keys))


def keyed(words: Sequence[str]) -> list[str]:
    """Return the words as keys, in lower case without punctuation around them, between a start and an end mark."""
    return [START, *(word.strip(".,;:!?\"'()[]`").casefold() or word for word in words), END]
