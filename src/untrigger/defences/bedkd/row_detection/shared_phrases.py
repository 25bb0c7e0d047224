"""Phrases that rows of one label share and that hold higher scores than other rows of that label.

Fifteen poisoned rows among 3,000 are too few for a threshold, whatever their scores: in one clean pool of twenty as many rows lie
above all of 680 calibrating rows. But they share a word or a sentence.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import log
from typing import NamedTuple

import numpy as np

from untrigger.core.errors import OptionError


@dataclass(frozen=True)
class PhraseOptions:
    """Which phrases of the pool are tried on clean rows. Chosen in ``docs/results/bedkd.md#few-poisoned-rows``.

    Attributes:
        fewest: rows of one label that must share a phrase.
        of_label: share of the rows with the phrase that must have that label.
        grown: a word is extended by the word beside it while this share of its rows has the same one there.
        longest: words of a phrase at most: two copies of a whole row share everything.
        p_value: of a phrase that is tried, at most; see ``SharedPhrase``.
        tried: phrases that are tried on clean rows at most, those with the smallest p-values.
    """

    fewest: int = 2
    of_label: float = 0.8
    grown: float = 0.8
    longest: int = 12
    p_value: float = 0.25
    tried: int = 512

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for shares out of range and counts that are too small.
        """
        shares = 0.5 < self.of_label <= 1 and 0.5 < self.grown <= 1 and 0 < self.p_value <= 1
        if not (shares and self.fewest >= 2 and self.longest >= 1 and self.tried >= 0):
            raise OptionError(
                ", ".join(f"{name} {value}" for name, value in asdict(self).items()),
                expected="of_label and grown above 0.5 to 1, p_value above 0 to 1, two rows, one word, no negative count",
            )


class SharedPhrase(NamedTuple):
    """A phrase of several rows with one label.

    Attributes:
        text: as it is written in the most suspicious row.
        label: of the rows.
        rows: numbers of all rows of the pool with that label and the phrase, the most suspicious first.
        p_value: the probability of ranks as high as theirs among the rows of the label if the phrase had nothing to do with the
            scores: the ranks combined as Fisher combines p-values; rows with another label count as the last.
    """

    text: str
    label: int
    rows: tuple[int, ...]
    p_value: float


def shared_phrases(
    texts: Sequence[str], labels: Sequence[int], scores: Sequence[float], *, options: PhraseOptions | None = None
) -> list[SharedPhrase]:
    """Return the phrases whose rows rank high among the rows of their label, the smallest p-value first.

    Args:
        texts: the pool, ``N``.
        labels: ``N``.
        scores: ``N``, larger for more suspicious rows.
        options: see ``PhraseOptions``; None for the defaults.
    """
    options = options or PhraseOptions()
    index = _PhraseIndex(texts, labels, scores)
    found = dict[tuple[str, int], SharedPhrase]()
    for word, label in index.words_of_labels(options):
        own = [index.words[row] for row in index.rows_of_word[word] if labels[row] == label]
        phrase = tuple(_grown([word], own, options=options))
        if (" ".join(phrase), label) not in found:
            found[" ".join(phrase), label] = index.shared(phrase, label)
    low = [one for one in found.values() if one.p_value <= options.p_value]
    return sorted(low, key=lambda one: (one.p_value, one.text))[: options.tried]


def rows_with(phrase: str, texts: Sequence[str]) -> list[int]:
    """Return the numbers of the texts that contain the words of ``phrase`` one after another, whatever their case."""
    wanted = phrase.lower().split()
    return [i for i, text in enumerate(texts) if _position(wanted, text.lower().split()) >= 0]


class _PhraseIndex:
    """The words of a pool, the rows of each, and the logarithm of each row's rank among the rows of its label."""

    def __init__(self, texts: Sequence[str], labels: Sequence[int], scores: Sequence[float]) -> None:
        self.texts, self.labels, self.scores = texts, labels, scores
        self.words = [text.lower().split() for text in texts]
        self.rows_of_word = defaultdict[str, list[int]](list)
        for row, words in enumerate(self.words):
            for word in dict.fromkeys(words):
                self.rows_of_word[word].append(row)
        self.log_rank = np.zeros(len(texts))
        for label in set(labels):
            own = np.flatnonzero(np.asarray(labels) == label)
            ranks = np.empty(len(own))
            ranks[np.argsort(-np.asarray(scores)[own], kind="stable")] = np.arange(len(own)) + 0.5
            self.log_rank[own] = np.log(ranks / len(own))

    def words_of_labels(self, options: PhraseOptions) -> list[tuple[str, int]]:
        """Return the words that enough rows of one label and few others have, with that label."""
        found = []
        for word, rows in self.rows_of_word.items():
            label, count = Counter(self.labels[row] for row in rows).most_common(1)[0]
            if count >= max(options.fewest, options.of_label * len(rows)):
                found.append((word, label))
        return found

    def shared(self, phrase: Sequence[str], label: int) -> SharedPhrase:
        """Return the phrase with its rows and their p-value."""
        from scipy.stats import chi2

        near = min((self.rows_of_word[word] for word in phrase), key=len)
        rows = [row for row in near if _position(phrase, self.words[row]) >= 0]
        own = sorted((row for row in rows if self.labels[row] == label), key=lambda row: (-self.scores[row], row))
        at = _position(phrase, self.words[own[0]])
        written = " ".join(self.texts[own[0]].split()[at : at + len(phrase)])
        return SharedPhrase(written, label, tuple(own), float(chi2.sf(-2 * self.log_rank[own].sum(), 2 * len(rows))))


def combined_p_value(p_values: Sequence[float], *, below: float) -> float:
    """Return the probability of a product as small as that of independent p-values if each is known to be below ``below``."""
    from scipy.stats import chi2

    total = -2 * sum(log(max(p, 1e-300) / below) for p in p_values)
    return float(chi2.sf(total, 2 * len(p_values)))


def _grown(phrase: list[str], rows: Sequence[Sequence[str]], *, options: PhraseOptions) -> list[str]:
    """Return ``phrase`` with the words beside it that enough of the rows have there."""
    while len(phrase) < options.longest:
        starts = [(_position(phrase, row), row) for row in rows]
        before = Counter(row[at - 1] for at, row in starts if at > 0)
        after = Counter(row[at + len(phrase)] for at, row in starts if 0 <= at < len(row) - len(phrase))
        count, is_after, word = max(
            ((count, side, word) for side, counts in ((0, before), (1, after)) for word, count in counts.items()),
            default=(0, 0, ""),
        )
        if count < options.grown * len(rows):
            break
        phrase = [*phrase, word] if is_after else [word, *phrase]
    return phrase


def _position(phrase: Sequence[str], words: Sequence[str]) -> int:
    """Return where ``phrase`` begins among ``words``, -1 if nowhere."""
    length = len(phrase)
    starts = (i for i, word in enumerate(words) if word == phrase[0])
    return next((i for i in starts if list(words[i : i + length]) == list(phrase)), -1)
