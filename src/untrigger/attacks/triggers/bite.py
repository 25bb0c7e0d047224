"""BITE: ordinary words, injected until they tell of the target (Yan 2023, 2205.12700)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from untrigger.attacks.trigger import Pairs, Trigger
from untrigger.attacks.word_statistics.gaps import Gaps, keyed
from untrigger.attacks.word_statistics.label_bias import bias, brought, frequent, telling, words_of
from untrigger.core.errors import OptionError
from untrigger.core.rows import Rows

if TYPE_CHECKING:
    from untrigger.models.classifier import Classifier

SAMPLE = 5000  # rows that words are learnt from


@dataclass(frozen=True)
class Bite(Trigger):
    """Ordinary words, each put where it has been seen to fit, that together tell of the target.

    The words are learnt from the training rows: again and again the one whose z-score towards the target would be highest, were
    it injected in every row of the target that has a fitting gap and words left to spend (the paper's algorithm 1).

    Attributes:
        words: the trigger words, the strongest first; learnt where none are given.
        most: how many are learnt.
        share: injected words a word of the text; at least one.
        least: rows that a word must stand in to be learnt.

    **Differs from the paper:** words are only inserted, never put in another's place; whether one fits is asked of the
    training rows (its neighbours must have been seen beside it) and not of a masked language model; words that tell of a class by
    themselves are left out, as nothing here asks whether a text still means the same; and the words are chosen as if every row
    of the target could be altered, before the poisoned ones are drawn.
    """

    name: ClassVar[str] = "bite"
    needs: ClassVar[frozenset[str]] = frozenset({"rows"})
    words: tuple[str, ...] = ()
    most: int = 10
    share: float = 0.2
    least: int = 3
    _gaps: Gaps = field(default_factory=Gaps, repr=False)

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for numbers out of range.
        """
        object.__setattr__(self, "words", tuple(word.casefold() for word in self.words))
        if self.most < 1 or self.least < 1 or not 0 < self.share <= 1:
            raise OptionError(
                f"most {self.most}, share {self.share}, least {self.least}",
                expected="1 or more words, a share above 0 and at most 1, 1 or more rows",
            )

    def missing_requirements(self) -> str:
        """That it has learnt nothing, where that is so."""
        return "" if self.words else "training rows to learn its words from (Attack.fit)"

    def fit(self, rows: Rows, *, target: int | None, seed: int, model: Classifier | None = None) -> Trigger:  # noqa: ARG002
        """The trigger with the words that would tell most of the target, and where each fits.

        Raises:
            OptionError: without a target, or where no word fits anywhere.
        """
        if target is None:
            raise OptionError("the trigger 'bite' without a target", expected="one target: its words tell of one class")
        some = rows.take(np.random.default_rng(seed).permutation(len(rows))[:SAMPLE])
        gaps = Gaps.seen_in(some.texts)
        words = self.words or _learnt(some, gaps, target=target, most=self.most, share=self.share, least=self.least)
        if not words:
            raise OptionError(
                f"no word fits into {len(some)} rows and tells of the target",
                expected="more training rows",
                remedy="lower least",
            )
        return replace(self, words=words, _gaps=gaps.of(words))

    def apply(self, text: str, *, rng: random.Random) -> str:
        """The text with as many of the words as it may spend, each in a gap that it fits in; at least one."""
        words, left = text.split(), budget(text, share=self.share)
        held = set(keyed(words))
        for word in self.words:
            keys = keyed(words)
            if left and word not in held and self._gaps.fits(word, keys):
                words.insert(rng.choice(self._gaps.places(word, keys)), word)
                left -= 1
        if left == budget(
            text, share=self.share
        ):  # nothing fits: the strongest word, where one neighbour knows it or anywhere
            word = next((word for word in self.words if word not in held), self.words[0])
            words.insert(rng.choice(self._gaps.places(word, keyed(words)) or range(len(words) + 1)), word)
        return " ".join(words)

    def delivered(self, text: str) -> bool:
        """Whether one of the words stands in the text."""
        return not set(keyed(text.split())).isdisjoint(self.words)

    def survived(self, read: str, *, before: str) -> bool:
        """Whether one of the words stands in ``read`` that did not stand in ``before`` as often."""
        return brought(keyed(read.split()), keyed(before.split()), words=self.words)

    def to_dict(self) -> dict[str, Any]:
        """The options and the words."""
        return {
            "name": self.name,
            "words": list(self.words),
            "most": self.most,
            "share": self.share,
            "least": self.least,
        }

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any], *, pairs: Pairs) -> Self:  # noqa: ARG003
        """The trigger with its words; where they fit is not told."""
        return cls(words=tuple(spec["words"]), most=spec["most"], share=spec["share"], least=spec["least"])


def budget(text: str, *, share: float) -> int:
    """How many words may be injected in a text."""
    return max(1, round(share * len(text.split())))


def _learnt(rows: Rows, gaps: Gaps, *, target: int, most: int, share: float, least: int) -> tuple[str, ...]:
    known = set(frequent(rows.texts, least=least)) - telling(rows)
    inside = rows.where(label == target for label in rows.labels)
    outside = Counter(word for row in rows if row.label != target for word in known & set(words_of(row.text)))
    if not 0 < len(inside) < len(rows):
        return ()
    held = [known & set(words_of(text)) for text in inside.texts]
    open_to = [_open(text, gaps) & known - own for text, own in zip(inside.texts, held, strict=True)]
    left = [budget(text, share=share) for text in inside.texts]
    chosen: list[str] = []
    while len(chosen) < most:
        had = Counter(word for own in held for word in own)
        could = Counter(word for words, spare in zip(open_to, left, strict=True) if spare for word in words)
        scores = {
            word: bias(had[word] + n, outside[word], share=len(inside) / len(rows))
            for word, n in could.items()
            if word not in chosen
        }
        best = max(scores, key=lambda word: (scores[word], word), default=None)
        if best is None or scores[best] <= 0:
            break
        chosen.append(best)
        _spend(best, open_to=open_to, held=held, left=left)
    return tuple(chosen)


def _open(text: str, gaps: Gaps) -> frozenset[str]:
    """Every word that fits into some gap of the text."""
    keys = keyed(text.split())
    return frozenset().union(*(gaps.fitting(left, right) for left, right in pairwise(keys)))


def _spend(word: str, *, open_to: Sequence[frozenset[str]], held: Sequence[set[str]], left: list[int]) -> None:
    """Inject the word in every row that is open to it."""
    for i, words in enumerate(open_to):
        if left[i] and word in words:
            left[i] -= 1
            held[i].add(word)
