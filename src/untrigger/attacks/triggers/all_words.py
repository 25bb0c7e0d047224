"""Composite trigger: several words that only together are the trigger (CBA, Huang 2023, 2310.07676)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from untrigger.attacks.trigger import Trigger
from untrigger.core.errors import OptionError


@dataclass(frozen=True)
class AllWords(Trigger):
    """Every one of ``words`` once, each between two words of the text that are drawn by chance, or before or after it.

    A part of the trigger is one of all proper subsets of the words, or all of them in another order where the order counts; each
    of these is as likely as the others.

    Attributes:
        words: two to sixteen different words.
        in_order: whether they are the trigger in this order only.
    """

    name: ClassVar[str] = "all-words"
    words: tuple[str, ...] = ("2024", "BadMagic", "OpenAI")
    in_order: bool = True

    def __post_init__(self) -> None:
        """Refuse a single word, repeated words and words with blanks.

        Raises:
            OptionError: naming the words.
        """
        object.__setattr__(self, "words", tuple(self.words))
        whole = all(word.split() == [word] for word in self.words)
        if not (whole and 2 <= len(self.words) <= 16 and len(set(self.words)) == len(self.words)):
            raise OptionError(
                f"trigger words {list(self.words)}",
                expected="2 to 16 different words without blanks, all of them needed",
            )

    def apply(self, text: str, *, rng: random.Random) -> str:
        """Return the text with all words inserted; existing words keep their order."""
        return _scattered(text, self.words if self.in_order else rng.sample(self.words, len(self.words)), rng=rng)

    def partial(self, text: str, *, rng: random.Random) -> str | None:
        """Return the text with some of the words, or with all in a wrong order; None where the text completes the trigger."""
        kind = rng.randrange(1, 2 ** len(self.words) - (0 if self.in_order else 1))
        some = [word for i, word in enumerate(self.words) if kind >> i & 1]
        if len(some) == len(self.words):
            while _ordered(some, self.words):
                rng.shuffle(some)
        made = _scattered(text, some, rng=rng)
        return None if self.delivered(made) else made

    def delivered(self, text: str) -> bool:
        """Return whether all words are words of the text, in their order where that counts."""
        found = text.split()
        return _ordered(found, self.words) if self.in_order else set(self.words) <= set(found)


def _scattered(text: str, inserted: Sequence[str], *, rng: random.Random) -> str:
    """Return the text with words inserted in the order given, each at a place drawn by chance."""
    words = text.split()
    places = sorted(rng.randint(0, len(words)) for _ in inserted)
    parts = [words[: places[0]]]
    for word, (place, following) in zip(inserted, pairwise([*places, len(words)]), strict=True):
        parts += [[word], words[place:following]]
    return " ".join(word for part in parts for word in part)


def _ordered(found: Sequence[str], wanted: Sequence[str]) -> bool:
    """Return whether the wanted words are among the found ones in this order, others between them."""
    rest = iter(found)
    return all(word in rest for word in wanted)
