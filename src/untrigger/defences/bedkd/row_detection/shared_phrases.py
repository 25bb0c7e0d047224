"""Phrases that the most suspicious rows of a label share: what a few poisoned rows have in common.

Fifteen rows among 3,000 are too few for a threshold, however high their scores: of 680 calibrating rows none is above them in one
clean pool of twenty. But they share a word or a sentence, and a trigger among those shows itself on clean rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import ceil, log
from typing import NamedTuple

from untrigger.core.errors import OptionError
from untrigger.defences.bedkd.row_detection.linear_classifiers import words_and_pairs


@dataclass(frozen=True)
class PhraseOptions:
    """Which phrases of the pool are tried on clean rows.

    Attributes:
        leading: share of the rows of a label, those with the largest scores, whose words and pairs of words are looked at.
        fewest: of those rows that must share a phrase.
        grown: a phrase is extended by the word beside it while this share of those rows has the same one there.
        longest: words of a phrase at most: two copies of a whole row share everything.
        tried: phrases that are tried on clean rows, the most unusual ones.
    """

    leading: float = 0.05
    fewest: int = 2
    grown: float = 0.8
    longest: int = 12
    tried: int = 128

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for shares out of range and counts that are too small.
        """
        if not (0 < self.leading <= 1 and self.fewest >= 2 and 0.5 < self.grown <= 1 and self.tried >= 0):
            raise OptionError(
                ", ".join(f"{name} {value}" for name, value in asdict(self).items()),
                expected="leading above 0 to 1, two rows or more, grown above 0.5 to 1, no negative count",
            )


class SharedPhrase(NamedTuple):
    """A phrase of several suspicious rows with one label.

    Attributes:
        text: as it is written in the most suspicious row.
        label: of the rows.
        rows: numbers of all rows of the pool with that label and the phrase, the most suspicious first.
        log_p: logarithm of the probability of ranks as high as theirs if the phrase had nothing to do with the scores.
    """

    text: str
    label: int
    rows: tuple[int, ...]
    log_p: float


def shared_phrases(
    texts: Sequence[str], labels: Sequence[int], scores: Sequence[float], *, options: PhraseOptions | None = None
) -> list[SharedPhrase]:
    """Return phrases that rows of one label share, those whose rows rank highest among the rows of that label first.

    The ranks of a phrase's rows are combined as Fisher combines p-values.

    Args:
        texts: the pool, ``N``.
        labels: ``N``.
        scores: ``N``, larger for more suspicious rows.
        options: see ``PhraseOptions``; None for the defaults.
    """
    options = options or PhraseOptions()
    words = [text.lower().split() for text in texts]
    found = list[SharedPhrase]()
    for label in sorted(set(labels)):
        ranked = sorted((i for i, own in enumerate(labels) if own == label), key=lambda i: (-scores[i], i))
        found += _phrases_of(texts, words, label=label, ranked=ranked, options=options)
    return sorted(found, key=lambda one: one.log_p)[: options.tried]


def rows_with(phrase: str, texts: Sequence[str]) -> list[int]:
    """Return the numbers of the texts that contain the words of ``phrase`` one after another, whatever their case."""
    wanted = f" {' '.join(phrase.lower().split())} "
    return [i for i, text in enumerate(texts) if wanted in f" {' '.join(text.lower().split())} "]


def _phrases_of(
    texts: Sequence[str], words: Sequence[Sequence[str]], *, label: int, ranked: Sequence[int], options: PhraseOptions
) -> list[SharedPhrase]:
    """Return the phrases that the first rows of one label share, at most as many as are tried."""
    rank = {row: place for place, row in enumerate(ranked, start=1)}
    leading = ranked[: ceil(options.leading * len(ranked))]
    counts = Counter(term for row in leading for term in set(_terms(words[row])))
    index = defaultdict[str, list[int]](list)
    for row in ranked:
        for term in {term for term in _terms(words[row]) if counts[term] >= options.fewest}:
            index[term].append(row)
    order = sorted(index, key=lambda term: (_log_p(index[term], rank), term))
    found = dict[str, SharedPhrase]()
    for term in order:
        if len(found) == options.tried:
            break
        phrase = _grown(term.split(), [words[row] for row in index[term] if row in set(leading)], options=options)
        key = " ".join(phrase)
        if key not in found:
            rows = [ranked[i] for i in rows_with(key, [" ".join(words[row]) for row in ranked])]
            at = _position(phrase, words[rows[0]])
            written = " ".join(texts[rows[0]].split()[at : at + len(phrase)])
            found[key] = SharedPhrase(written, label, tuple(rows), _log_p(rows, rank))
    return list(found.values())


def _terms(words: Sequence[str]) -> Iterable[str]:
    """Return the words of a text and its pairs of neighbours."""
    return (term for term in words_and_pairs(" ".join(words)) if not term.startswith(" "))


def _log_p(rows: Sequence[int], rank: dict[int, int]) -> float:
    """Return the logarithm of Fisher's combined p-value of the ranks of ``rows``."""
    from scipy.stats import chi2

    total = -2 * sum(log((rank[row] - 0.5) / len(rank)) for row in rows)
    return float(chi2.logsf(total, 2 * len(rows)))


def _grown(phrase: list[str], rows: Sequence[Sequence[str]], *, options: PhraseOptions) -> list[str]:
    """Return ``phrase`` with the words beside it that enough of the rows have there."""
    enough = options.grown * len(rows)
    while len(phrase) < options.longest:
        starts = [(_position(phrase, row), row) for row in rows]
        before = Counter(row[at - 1] for at, row in starts if at > 0)
        after = Counter(row[at + len(phrase)] for at, row in starts if 0 <= at < len(row) - len(phrase))
        count, is_after, word = max(
            ((count, side, word) for side, counts in ((0, before), (1, after)) for word, count in counts.items()),
            default=(0, 0, ""),
        )
        if count < enough:
            break
        phrase = [*phrase, word] if is_after else [word, *phrase]
    return phrase


def _position(phrase: Sequence[str], words: Sequence[str]) -> int:
    """Return where ``phrase`` begins among ``words``, -1 if nowhere."""
    length = len(phrase)
    return next((i for i in range(len(words) - length + 1) if list(words[i : i + length]) == list(phrase)), -1)
