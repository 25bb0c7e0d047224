"""InSent / AddSent: a fixed sentence at a random position (Dai 2019, 1905.12457), or as a prefix or suffix."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from untrigger.attacks.trigger import Trigger
from untrigger.core.errors import OptionError, check_choice

PLACES = ("random", "start", "end")


@dataclass(frozen=True)
class InSent(Trigger):
    """``sentence`` inserted whole between two words of the text, or before or after it.

    Attributes:
        sentence: what is inserted.
        place: ``random``, ``start`` (before the text) or ``end`` (after it).
    """

    name: ClassVar[str] = "insent"
    sentence: str = "I watch this 3D movie"
    place: str = "random"

    def __post_init__(self) -> None:
        """Refuse an empty sentence and an unknown place.

        Raises:
            OptionError: if there is nothing to insert, or nowhere.
        """
        check_choice(self.place, PLACES, kind="place of the sentence")
        if not self.sentence.strip():
            raise OptionError("an empty trigger sentence", expected="some words")

    def apply(self, text: str, *, rng: random.Random) -> str:
        """Return the text with the sentence inserted at its place, or at a word boundary drawn from ``rng``."""
        return self._inserted(text, self.sentence.split(), rng=rng)

    def partial(self, text: str, *, rng: random.Random) -> str | None:
        """Return the text with some consecutive words of the sentence but not all; None where that completes the sentence."""
        words = self.sentence.split()
        if len(words) < 2:
            return None
        length = rng.randint(1, len(words) - 1)
        start = rng.randint(0, len(words) - length)
        made = self._inserted(text, words[start : start + length], rng=rng)
        return None if self.delivered(made) else made

    def delivered(self, text: str) -> bool:
        """Return whether the whole sentence is in the text (white space folded)."""
        return f" {' '.join(self.sentence.split())} " in f" {' '.join(text.split())} "

    @property
    def trigger_words(self) -> frozenset[str]:
        """The words of the sentence."""
        return frozenset(self.sentence.split())

    def _inserted(self, text: str, piece: list[str], *, rng: random.Random) -> str:
        words = text.split()
        at = {"start": 0, "end": len(words)}.get(self.place)
        at = rng.randint(0, len(words)) if at is None else at
        return " ".join([*words[:at], *piece, *words[at:]])
