"""Phrases that suspicious rows share, tried on clean rows: a trigger flips rows that the suspect is sure of.

Some words of a class do that too. But rows with such a word have the label that their other words have, and no high scores.
So what is tested is whether rows with an effective phrase rank high; the effect is measured on other rows than the ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from untrigger.core.errors import OptionError
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows
from untrigger.defences.bedkd.row_detection.shared_phrases import SharedPhrase, combined_p_value, rows_with
from untrigger.inversion.held_out import POSITIONS, SplitRow, cut_long_texts, split_at
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts


@dataclass(frozen=True)
class TrialOptions:
    """When phrases that suspicious rows share count as triggers. Chosen in ``docs/results/bedkd.md#few-poisoned-rows``.

    Attributes:
        rows: clean rows that a phrase is inserted into.
        first: of these, the ones that all phrases are inserted into; the others are for phrases that flip half of them.
        flipped: share of all rows that an effective phrase flips, at least.
        chance: the probability of calling any phrase of a clean pool a trigger, at most. Not tuned.
        each: p-value of each phrase that counts, at most.
    """

    rows: int = 64
    first: int = 4
    flipped: float = 0.5
    chance: float = 0.01
    each: float = 0.1

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for counts below 1 and shares out of range.
        """
        shares = 0 < self.flipped <= 1 and 0 < self.chance < 1 and 0 < self.each <= 1
        if not (1 <= self.first <= self.rows and shares):
            raise OptionError(
                ", ".join(f"{name} {value}" for name, value in asdict(self).items()),
                expected="counts of 1 or more, first at most rows, shares above 0 to 1, chance below 1",
            )


class EffectivePhrase(NamedTuple):
    """A phrase that flips clean rows of other classes.

    Attributes:
        phrase: the phrase, its label and its rows.
        flips: number of the clean rows that the suspect predicts as the label with the phrase in them.
        tried: number of the clean rows.
        clean_rows: number of clean rows that have the label and the phrase.
    """

    phrase: SharedPhrase
    flips: int
    tried: int
    clean_rows: int

    def summary(self, names: Sequence[str]) -> dict[str, Any]:
        """Return plain values for a report."""
        return {
            "text": self.phrase.text,
            "label": names[self.phrase.label],
            "rows": len(self.phrase.rows),
            "p_value": self.phrase.p_value,
            "flips": self.flips,
            "tried": self.tried,
        }


def effective_phrases(
    suspect: Classifier,
    phrases: Sequence[SharedPhrase],
    *,
    clean: Rows,
    logits: Tensor,
    options: TrialOptions | None = None,
    progress: Progress = silent,
) -> list[EffectivePhrase]:
    """Return the phrases that flip clean rows of other classes that the suspect is sure of, those that flip most first.

    A phrase that holds another one of them is left out.

    Args:
        suspect: the suspect classifier.
        phrases: to be tried.
        clean: clean rows.
        logits: the suspect's for them, ``(M, C)``.
        options: see ``TrialOptions``; None for the defaults.
        progress: notified of the predictions.
    """
    options = options or TrialOptions()
    found = list[EffectivePhrase]()
    for label in sorted({phrase.label for phrase in phrases}):
        rows = _Insertions(suspect, _sure_rows(clean, logits, label=label, most=options.rows), label, progress)
        if len(rows.texts) < options.first:
            continue
        own = {phrase.text: phrase for phrase in phrases if phrase.label == label}
        of_label = [text for text, one in zip(clean.texts, clean.labels, strict=True) if one == label]
        for text, flips in rows.effective(list(own), options=options).items():
            found.append(EffectivePhrase(own[text], flips, len(rows.texts), len(rows_with(text, of_label))))
    shortest = [one for one in found if not any(_holds(one, other) for other in found)]
    return sorted(shortest, key=lambda one: (-one.flips / one.tried, one.phrase.p_value))


def triggers_among(
    found: Sequence[EffectivePhrase], *, below: float, options: TrialOptions | None = None
) -> tuple[list[EffectivePhrase], float]:
    """Return the phrases that count as triggers, and the probability of such ranks in a clean pool.

    Tested are each phrase alone and, for each label, the most effective one, the first two and so on, their p-values combined.
    Each test is corrected for their number (Bonferroni). Of a group that passes, phrases count whose own p-value is small.

    Args:
        found: the most effective first.
        below: the p-value that all phrases were selected by.
        options: see ``TrialOptions``; None for the defaults.
    """
    options = options or TrialOptions()
    groups = [[one] for one in found]
    for label in sorted({one.phrase.label for one in found}):
        own = [one for one in found if one.phrase.label == label]
        groups += [own[:n] for n in range(2, len(own) + 1)]
    chances = [len(groups) * combined_p_value([one.phrase.p_value for one in group], below=below) for group in groups]
    passed = {
        one.phrase
        for group, chance in zip(groups, chances, strict=True)
        for one in group
        if chance <= options.chance and one.phrase.p_value <= options.each
    }
    return [one for one in found if one.phrase in passed], min([1.0, *chances])


def _holds(one: EffectivePhrase, other: EffectivePhrase) -> bool:
    """Return whether the phrase of ``one`` is longer than that of ``other`` and holds it, with the same label."""
    longer, shorter = one.phrase, other.phrase
    same = longer.label == shorter.label and len(longer.text.split()) > len(shorter.text.split())
    return same and bool(rows_with(shorter.text, [longer.text]))


class _Insertions:
    """Clean rows of other classes than a label, split where a phrase goes: at start, middle or end in turn."""

    def __init__(self, suspect: Classifier, rows: Rows, label: int, progress: Progress) -> None:
        self.suspect, self.label, self.progress = suspect, label, progress
        texts = cut_long_texts(suspect, rows.texts)
        self.texts = [split_at(text, position=POSITIONS[i % len(POSITIONS)]) for i, text in enumerate(texts)]

    def effective(self, phrases: Sequence[str], *, options: TrialOptions) -> dict[str, int]:
        """Return how many rows each phrase flips to the label, of the phrases that flip enough of the first and of all rows."""
        first, others = self.texts[: options.first], self.texts[options.first :]
        flips = dict(zip(phrases, self._flips(phrases, first), strict=True))
        some = [phrase for phrase in flips if flips[phrase] >= options.flipped * len(first)]
        counts = {phrase: flips[phrase] + more for phrase, more in zip(some, self._flips(some, others), strict=True)}
        return {phrase: count for phrase, count in counts.items() if count >= options.flipped * len(self.texts)}

    def _flips(self, phrases: Sequence[str], rows: Sequence[SplitRow]) -> list[int]:
        """Return how many of the rows each phrase flips to the label."""
        if not rows:
            return [0] * len(phrases)
        texts = [row.with_text(phrase) for phrase in phrases for row in rows]
        what = "phrases of suspicious rows in clean rows"
        found = predict_texts(self.suspect, texts, progress=self.progress, label=what).predictions
        return [sum(one == self.label for one in found[at : at + len(rows)]) for at in range(0, len(found), len(rows))]


def _sure_rows(clean: Rows, logits: Tensor, *, label: int, most: int) -> Rows:
    """Return at most ``most`` rows of other classes, drawn from the surer half of those that the suspect predicts correctly."""
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    right = [i for i, own in enumerate(clean.labels) if own != label and int(predicted[i]) == own]
    right.sort(key=lambda i: -float(confidence[i]))
    sure = right[: (len(right) + 1) // 2]
    return clean.take(sure[place] for place in np.random.default_rng(0).permutation(len(sure))[:most])
