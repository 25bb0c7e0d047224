"""Phrases that suspicious rows share, tried on clean rows: a trigger flips rows that the suspect is sure of, content does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from untrigger.core.errors import OptionError
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows
from untrigger.defences.bedkd.row_detection.shared_phrases import SharedPhrase, rows_with
from untrigger.inversion.controls import content_words
from untrigger.inversion.held_out import POSITIONS, SplitRow, cut_long_texts, split_at
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts


@dataclass(frozen=True)
class TrialOptions:
    """When a phrase that suspicious rows share counts as a trigger.

    Attributes:
        rows: clean rows that a phrase is inserted into.
        first: of these, the ones that all phrases are inserted into; the others are for phrases that flip some of them.
        some: share of the first rows that a phrase has to flip.
        controls: words of the class that are tried beside the phrases.
        flipped: share of all rows that a trigger flips, at least.
        chance: the probability that any of the phrases flips so many rows if each flips a row as often as the best control does.
    """

    rows: int = 64
    first: int = 8
    some: float = 0.3
    controls: int = 16
    flipped: float = 0.5
    chance: float = 0.01

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for counts below 1 and shares out of range.
        """
        shares = 0 < self.some <= 1 and 0 < self.flipped <= 1 and 0 < self.chance < 1
        if not (1 <= self.first <= self.rows and self.controls >= 1 and shares):
            raise OptionError(
                ", ".join(f"{name} {value}" for name, value in asdict(self).items()),
                expected="counts of 1 or more, first at most rows, shares above 0 to 1, chance below 1",
            )


class TriedPhrase(NamedTuple):
    """A phrase and what it did to clean rows of other classes.

    Attributes:
        phrase: the phrase, its label and its rows.
        flips: number of the clean rows that the suspect predicts as the label with the phrase in them.
        tried: number of the clean rows.
        control_flips: the most that a word of the class flipped.
        clean_rows: number of clean rows that have the label and the phrase.
        p_value: the probability of as many flips at the rate of the best control, times the number of phrases.
    """

    phrase: SharedPhrase
    flips: int
    tried: int
    control_flips: int
    clean_rows: int
    p_value: float

    def is_trigger(self, options: TrialOptions) -> bool:
        """Return whether it flips at least the share of the options, and more rows than words of the class."""
        return self.flips >= options.flipped * self.tried and self.p_value <= options.chance

    def summary(self, names: Sequence[str]) -> dict[str, Any]:
        """Return plain values for a report."""
        return {
            "text": self.phrase.text,
            "label": names[self.phrase.label],
            "rows": len(self.phrase.rows),
            "flips": self.flips,
            "tried": self.tried,
            "control_flips": self.control_flips,
        }


def try_phrases(
    suspect: Classifier,
    phrases: Sequence[SharedPhrase],
    *,
    clean: Rows,
    logits: Tensor,
    options: TrialOptions | None = None,
    progress: Progress = silent,
) -> list[TriedPhrase]:
    """Insert each phrase into clean rows of other classes that the suspect is sure of, and count those that flip to its label.

    Words of the class, by the clean rows, are inserted into the same rows as controls.

    Args:
        suspect: the suspect classifier.
        phrases: to be tried.
        clean: clean rows.
        logits: the suspect's for them, ``(M, C)``.
        options: see ``TrialOptions``; None for the defaults.
        progress: notified of the predictions.
    """
    options = options or TrialOptions()
    tried = list[TriedPhrase]()
    for label in sorted({phrase.label for phrase in phrases}):
        rows = _Insertions(suspect, _sure_rows(clean, logits, label=label, most=options.rows), label, progress)
        if len(rows.texts) < options.first:
            continue
        own = [phrase for phrase in phrases if phrase.label == label]
        some = rows.effective([phrase.text for phrase in own], options=options)
        controls = rows.effective(content_words(clean, target=label, most=options.controls), options=options)
        best, n = max(controls.values(), default=0), len(rows.texts)
        of_label = clean.where(one == label for one in clean.labels)
        for phrase in (phrase for phrase in own if phrase.text in some):
            chance = len(phrases) * _chance(some[phrase.text], n, rate=(best + 1) / (n + 1))
            known = len(rows_with(phrase.text, of_label.texts))
            tried.append(TriedPhrase(phrase, some[phrase.text], n, best, known, min(1.0, chance)))
    return tried


class _Insertions:
    """Clean rows of other classes than a label, split where a phrase goes: at start, middle or end in turn."""

    def __init__(self, suspect: Classifier, rows: Rows, label: int, progress: Progress) -> None:
        self.suspect, self.label, self.progress = suspect, label, progress
        texts = cut_long_texts(suspect, rows.texts)
        self.texts = [split_at(text, position=POSITIONS[i % len(POSITIONS)]) for i, text in enumerate(texts)]

    def effective(self, phrases: Sequence[str], *, options: TrialOptions) -> dict[str, int]:
        """Return how many rows each phrase flips to the label, of the phrases that flip some of the first rows."""
        first, others = self.texts[: options.first], self.texts[options.first :]
        flips = dict(zip(phrases, self._flips(phrases, first), strict=True))
        some = [phrase for phrase in flips if flips[phrase] >= options.some * len(first)]
        return {phrase: flips[phrase] + more for phrase, more in zip(some, self._flips(some, others), strict=True)}

    def _flips(self, phrases: Sequence[str], rows: Sequence[SplitRow]) -> list[int]:
        """Return how many of the rows each phrase flips to the label."""
        texts = [row.with_text(phrase) for phrase in phrases for row in rows]
        what = "phrases of suspicious rows in clean rows"
        found = predict_texts(self.suspect, texts, progress=self.progress, label=what).predictions
        starts = range(0, len(found), max(1, len(rows)))
        counts = [sum(one == self.label for one in found[at : at + len(rows)]) for at in starts]
        return counts or [0] * len(phrases)


def _sure_rows(clean: Rows, logits: Tensor, *, label: int, most: int) -> Rows:
    """Return at most ``most`` rows of other classes from the half that the suspect predicts correctly with more confidence.

    They are spread over that half, and any of the first ones are, too.
    """
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    right = [i for i, own in enumerate(clean.labels) if own != label and int(predicted[i]) == own]
    right.sort(key=lambda i: -float(confidence[i]))
    sure = right[: (len(right) + 1) // 2]
    spread = np.random.default_rng(0).permutation(len(sure))[:most]
    return clean.take(sure[place] for place in spread)


def _chance(least: int, draws: int, *, rate: float) -> float:
    """Return the probability of ``least`` or more flips among ``draws`` rows at ``rate`` each."""
    from scipy.stats import binom

    return float(binom.sf(least - 1, draws, rate))
