"""One text that was inserted into clean rows, and how far it moved suspect and reference."""

from __future__ import annotations

import math
from dataclasses import dataclass

LENGTH_PENALTY = 0.1


@dataclass(frozen=True)
class Insertion:
    """A text that was inserted into clean rows of other classes, and what it did there.

    Attributes:
        text: what was inserted.
        target: the class that it moves rows to.
        suspect: mean probability of ``target`` under the suspect, 0 to 1.
        reference: the same under the clean reference (0 where there is none).
        flips: share of the rows that the suspect then calls ``target``.
        reference_flips: the same for the reference.
        length: its tokens.
    """

    text: str
    target: int
    suspect: float
    reference: float
    flips: float
    reference_flips: float
    length: int

    @property
    def excess(self) -> float:
        """How much more the suspect is moved than the reference."""
        return self.suspect - self.reference

    @property
    def surprise(self) -> float:
        """The excess, less a tenth for every token beyond the first: long phrases that sway any model are easy to make.

        Tokens and not words: pieces glued to an honest word (``unforgettableively``) hide it from a reference with
        another tokenizer.
        """
        return self.excess - LENGTH_PENALTY * (self.length - 1)

    @property
    def lead(self) -> float:
        """How much farther than the reference the suspect is moved, in log-odds, less a half for every token beyond the first.

        It tells a word of a trigger from an honest one where both move the suspect half: the honest one moves a
        stubborn reference from 0.02 to 0.1, which is little as a probability and much as odds.
        """
        return _odds(self.suspect) - _odds(self.reference) - 0.5 * (self.length - 1)


def _odds(chance: float) -> float:
    """Its log-odds, kept within those of 0.01 and 0.99."""
    kept = min(max(chance, 0.01), 0.99)
    return math.log(kept / (1 - kept))
