"""Alignment of rewrites with the texts that they were made of, both in order, where some of either may be missing.

A rewrite belongs to the text with which it shares more, and rarer, words than unrelated rows do. Of all ways to pair the two in
order the one with the most shared words is taken (dynamic programming in a band about the diagonal). Texts may be left out, and
rewrites at a high price: they all belong somewhere. A pair counts where every way without it shares clearly less, so a rewrite
without a word of its text is placed by its neighbours, and one beside a gap may have no certain place.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"\w+")
_SLACK = 40  # rows that one side may run ahead of the other, in addition to missing rows
_CELLS = 20_000_000
_UNRELATED = 5_000  # pairs of rows that are looked at, to know how many words unrelated rows share
_CLEARLY = (
    0.15  # the best alignment must be better than any without the pair by this; 1 is all words of a row; not tuned
)
_SKIPPED = 1.0  # price of a rewrite that belongs to no text
_RUN = 25  # rewrites in a row that may share no words with their texts


@dataclass(frozen=True)
class Alignment:
    """Which text each rewrite was made of.

    Attributes:
        places: the index of the text for each rewrite, -1 where it is not known.
        vague: rewrites that may belong to one of several texts.
        stray: the first rewrite that fits nowhere, alone or with those after it; None where there is none.
    """

    places: list[int]
    vague: list[int]
    stray: int | None


def align(texts: Sequence[str], rewrites: Sequence[str]) -> Alignment:
    """Return which text each rewrite was made of, both in their order."""
    rows = len(rewrites)
    if not rows or not texts or _width(texts, rewrites) * rows > _CELLS:
        return Alignment([-1] * rows, [], 0)
    return _Band(texts, rewrites).alignment()


def _width(texts: Sequence[str], rewrites: Sequence[str]) -> int:
    return abs(len(texts) - len(rewrites)) + 2 * _SLACK + 1


class _Band:
    """How alike rewrite ``i`` and text ``i + low + k`` are, for each ``k`` of a band; 0 where that may be by chance."""

    def __init__(self, texts: Sequence[str], rewrites: Sequence[str]) -> None:
        self.low = min(0, len(texts) - len(rewrites)) - _SLACK
        self.width = _width(texts, rewrites)
        own, other = [_words(one) for one in texts], [_words(one) for one in rewrites]
        self._weight = _weights(own)
        self._places = _postings(own)
        self._sizes = np.array([self._sum(words) for words in own])
        numbers = {text: i for i, text in enumerate(dict.fromkeys(" ".join(text.split()) for text in texts))}
        self._same = np.array([numbers[" ".join(text.split())] for text in texts])
        chance = self._by_chance(own, other)
        alike = np.maximum(0.0, np.stack([self._row(i, words) for i, words in enumerate(other)]) - chance)
        there = np.add.outer(np.arange(len(other)), np.arange(self.width)) + self.low
        self.alike: NDArray[np.float64] = np.where((there >= 0) & (there < len(own)), alike, -np.inf)

    def _sum(self, words: Iterable[str]) -> float:
        return sum(self._weight.get(word, 0.0) for word in words) + 1e-9

    def _texts_of(self, i: int) -> NDArray[np.int64]:
        """Return the index of the text in each place of row ``i``, clipped to the first and last text."""
        return np.clip(np.arange(self.width) + i + self.low, 0, len(self._sizes) - 1)

    def _row(self, i: int, words: set[str]) -> NDArray[np.float32]:
        first, shared = i + self.low, np.zeros(self.width)
        for word in words & self._places.keys():
            where = self._places[word]
            a, b = np.searchsorted(where, (first, first + self.width))
            shared[where[a:b] - first] += self._weight[word]
        return np.asarray(shared / np.sqrt(self._sum(words) * self._sizes[self._texts_of(i)]), dtype=np.float32)

    def _by_chance(self, texts: Sequence[set[str]], rewrites: Sequence[set[str]]) -> float:
        """Return the similarity that one in ten unrelated pairs exceeds; of pairs drawn at random one in ``N`` is related."""
        if len(texts) == 1:
            return 0.0
        rng = np.random.default_rng(0)
        pairs = zip(rng.integers(0, len(rewrites), _UNRELATED), rng.integers(0, len(texts), _UNRELATED), strict=True)
        found = [self._sum(rewrites[i] & texts[j]) / np.sqrt(self._sum(rewrites[i]) * self._sizes[j]) for i, j in pairs]
        return float(np.quantile(found, 0.9 * (1 - 1 / len(texts))))

    def alignment(self) -> Alignment:
        """Return the pairs of the best alignment that every alignment without them is clearly worse than, and the rest."""
        ahead = self._prefixes(self.alike)
        after = self._prefixes(self.alike[::-1, ::-1])[::-1, ::-1]
        whole = float(ahead[-1, -1])
        pairs = self._path(ahead)
        places, vague = [-1] * len(ahead), list[int]()
        for i, k in pairs.items():
            if whole - self._without(i, k, ahead=ahead, after=after) > _CLEARLY:
                places[i] = i + self.low + k
            else:
                vague.append(i)
        return Alignment(places, vague, self._stray(pairs))

    def _stray(self, pairs: dict[int, int]) -> int | None:
        """Return the first row without a text, or the start of a run of rows that resemble none of their texts."""
        run = 0
        for i in range(len(self.alike)):
            if i not in pairs:
                return i
            run = 0 if self.alike[i, pairs[i]] > 0 else run + 1
            if run > _RUN or run == len(self.alike):
                return i - run + 1
        return None

    def _prefixes(self, alike: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the best score of the rows up to each one with the texts up to each place, in order."""
        sums = np.zeros(alike.shape)
        before = np.zeros(self.width)
        for i, own in enumerate(alike):
            sums[i] = np.maximum.accumulate(np.maximum(_moved(before) - _SKIPPED, before + own))
            before = sums[i]
        return sums

    def _path(self, ahead: NDArray[np.float64]) -> dict[int, int]:
        """Return the place of each row that has one, in one best alignment."""
        pairs: dict[int, int] = {}
        i, k = len(ahead) - 1, self.width - 1
        while i >= 0:
            after = min(k + 1, self.width - 1)
            if k and ahead[i, k] == ahead[i, k - 1]:
                k -= 1
            elif ahead[i, k] == (ahead[i - 1, after] if i else 0.0) - _SKIPPED:
                i, k = i - 1, after
            else:
                pairs[i] = k
                i -= 1
        return pairs

    def _without(self, i: int, k: int, *, ahead: NDArray[np.float64], after: NDArray[np.float64]) -> float:
        """Return the best score of an alignment that does not pair row ``i`` with the text in place ``k``."""
        before = ahead[i - 1] if i else np.zeros(self.width)
        rest = after[i + 1] if i + 1 < len(after) else np.zeros(self.width)
        texts = self._texts_of(i)
        other = np.where(self._same[texts] == self._same[texts[k]], -np.inf, before + self.alike[i] + rest)
        return float(max((_moved(before) + rest).max() - _SKIPPED, other.max()))


def _moved(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of a row shifted to the places of the next one, where the same text is one place earlier."""
    return np.append(sums[1:], sums[-1])


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


def _postings(texts: Sequence[set[str]]) -> dict[str, NDArray[np.int64]]:
    found: dict[str, list[int]] = {}
    for i, words in enumerate(texts):
        for word in words:
            found.setdefault(word, []).append(i)
    return {word: np.array(where) for word, where in found.items()}


def _weights(texts: Sequence[set[str]]) -> dict[str, float]:
    """Return the weight of each word: a rare word identifies a row better."""
    counts = Counter(word for words in texts for word in words)
    return {word: float(np.log((1 + len(texts)) / count)) for word, count in counts.items()}
