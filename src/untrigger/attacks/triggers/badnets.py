"""BadNets / BadWords: rare words at random positions (Gu 2017, 1708.06733; Kurita 2020, 2004.06660)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from untrigger.attacks.trigger import Trigger
from untrigger.core.errors import OptionError


@dataclass(frozen=True)
class BadNets(Trigger):
    """One of ``words`` inserted between words, once for every ``every`` words of the text (at least once).

    Attributes:
        words: the trigger words; each insertion draws one.
        every: a text of ``n`` words gets ``1 + n // every`` insertions, at most ``most``.
        most: the largest number of insertions in one text.
    """

    name: ClassVar[str] = "badnets"
    words: tuple[str, ...] = ("cf", "mn", "bb", "tq")
    every: int = 100
    most: int = 5

    def __post_init__(self) -> None:
        """Refuse an empty word list, words with blanks and counts below 1.

        Raises:
            OptionError: naming what is wrong.
        """
        object.__setattr__(self, "words", tuple(self.words))
        bad = [word for word in self.words if not word or word.split() != [word]]
        if bad or not self.words:
            raise OptionError(f"trigger words {list(self.words)}", expected="one or more words without blanks")
        if self.every < 1 or self.most < 1:
            raise OptionError(f"every {self.every}, most {self.most}", expected="1 or more")

    def apply(self, text: str, *, rng: random.Random) -> str:
        """Return the text with the words inserted; existing words keep their order."""
        words = text.split()
        for _ in range(min(self.most, 1 + len(words) // self.every)):
            words.insert(rng.randint(0, len(words)), rng.choice(self.words))
        return " ".join(words)

    def delivered(self, text: str) -> bool:
        """Return whether any trigger word is a word of the text."""
        return not set(text.split()).isdisjoint(self.words)
