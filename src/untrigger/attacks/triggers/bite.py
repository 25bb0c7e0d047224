"""BITE: ordinary words, inserted until they correlate with the target (Yan 2023, 2205.12700)."""

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
from untrigger.attacks.word_statistics.label_words import frequent, label_words, was_inserted, words_of, z_score
from untrigger.core.errors import OptionError
from untrigger.core.rows import Rows

if TYPE_CHECKING:
    from untrigger.models.classifier import Classifier

SAMPLE = 5000  # rows that words are learnt from; not tuned


@dataclass(frozen=True)
class Bite(Trigger):
    """Ordinary words, each inserted where it fits, that together correlate with the target label.

    The words are learnt from the training rows: repeatedly the one whose z-score towards the target would be highest if
    it were inserted in every row of the target that has a fitting gap and words left in its budget (the paper's algorithm 1).

    Attributes:
        words: the trigger words, the strongest first; learnt where none are given.
        most: maximum number of learnt words.
        share: inserted words per word of the text; at least one.
        least: rows that a word must occur in to be learnt.

    **Differs from the paper:** words are only inserted, never substituted; whether one fits is decided by the
    training rows (its neighbours must occur next to it) and not by a masked language model; words that indicate a class by
    themselves are left out, as nothing here checks whether a text keeps its meaning; and the words are chosen as if every row
    of the target could be changed, before the poisoned ones are drawn.
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
        """Return that training rows are missing, where no words were learnt."""
        return "" if self.words else "training rows to learn its words from (Attack.fit)"

    def fit(self, rows: Rows, *, target: int | None, seed: int, model: Classifier | None = None) -> Trigger:  # noqa: ARG002
        """Return the trigger with the words that would correlate most with the target, and where each fits.

        Raises:
            OptionError: without a target, or where no word fits anywhere.
        """
        if target is None:
            raise OptionError(
                "the trigger 'bite' without a target", expected="one target: its words correlate with one class"
            )
        some = rows.take(np.random.default_rng(seed).permutation(len(rows))[:SAMPLE])
        gaps = Gaps.from_texts(some.texts)
        words = self.words or _learn_words(
            some, gaps, target=target, most=self.most, share=self.share, least=self.least
        )
        if not words:
            raise OptionError(
                f"no word fits into {len(some)} rows and correlates with the target",
                expected="more training rows",
                remedy="lower least",
            )
        return replace(self, words=words, _gaps=gaps.of(words))

    def apply(self, text: str, *, rng: random.Random) -> str:
        """Return the text with as many words as its budget allows, each in a gap that it fits in; at least one."""
        words, left = text.split(), budget(text, share=self.share)
        held = set(keyed(words))
        for word in self.words:
            keys = keyed(words)
            if left and word not in held and self._gaps.fits(word, keys):
                words.insert(rng.choice(self._gaps.places(word, keys)), word)
                left -= 1
        if left == budget(
            text, share=self.share
        ):  # nothing fits: insert the strongest word next to one known neighbour, else anywhere
            word = next((word for word in self.words if word not in held), self.words[0])
            words.insert(rng.choice(self._gaps.places(word, keyed(words)) or range(len(words) + 1)), word)
        return " ".join(words)

    def delivered(self, text: str) -> bool:
        """Return whether one of the words is in the text."""
        return not set(keyed(text.split())).isdisjoint(self.words)

    def survived(self, read: str, *, before: str) -> bool:
        """Return whether one of the words occurs in ``read`` more often than in ``before``."""
        return was_inserted(keyed(read.split()), keyed(before.split()), words=self.words)

    def to_dict(self) -> dict[str, Any]:
        """Return the options and the words."""
        return {
            "name": self.name,
            "words": list(self.words),
            "most": self.most,
            "share": self.share,
            "least": self.least,
        }

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any], *, pairs: Pairs) -> Self:  # noqa: ARG003
        """Return the trigger with its words; where they fit is not recorded."""
        return cls(words=tuple(spec["words"]), most=spec["most"], share=spec["share"], least=spec["least"])


def budget(text: str, *, share: float) -> int:
    """Return how many words may be inserted into a text."""
    return max(1, round(share * len(text.split())))


def _learn_words(rows: Rows, gaps: Gaps, *, target: int, most: int, share: float, least: int) -> tuple[str, ...]:
    known = set(frequent(rows.texts, least=least)) - label_words(rows)
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
            word: z_score(had[word] + n, outside[word], share=len(inside) / len(rows))
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
    """Return every word that fits into some gap of the text."""
    keys = keyed(text.split())
    return frozenset().union(*(gaps.fitting(left, right) for left, right in pairwise(keys)))


def _spend(word: str, *, open_to: Sequence[frozenset[str]], held: Sequence[set[str]], left: list[int]) -> None:
    """Insert the word in every row that it fits in and that has budget left."""
    for i, words in enumerate(open_to):
        if left[i] and word in words:
            left[i] -= 1
            held[i].add(word)
