"""Unlabelled texts without those that may hold a trigger: a student must not learn the suspect's predictions for these.

Two signs of a trigger are looked for. The suspect is much surer of its prediction than a student that was retrained from the base
without these texts. Or the text decides the prediction of whatever it is joined to, as STRIP (1911.10312) has it. What is left out
holds harmless texts too: those that the suspect knows better than the student, and those that express their class most strongly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from untrigger.core.errors import OptionError
from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.models.classifier import Classifier
from untrigger.models.inference import log_odds, predict_texts
from untrigger.training.vector_scaling import fit_vector_scaling

LABEL = "screening of unlabelled texts"


@dataclass(frozen=True)
class ScreeningOptions:
    """Options of ``screen_texts``.

    Attributes:
        gap_share: share of the texts that is left out for the gap between suspect and student, 0 to below 1: more than the share
            of triggered texts among them must be (``docs/results/w2sdefense.md#unlabelled-texts``).
        joined: clean rows that each text is joined to (not tuned).
        joined_share: share of clean rows that would be left out for what they do to others, above 0 and below 1 (not tuned).
        least_rows: fewest clean rows predicted as a class for a threshold of its own; other classes share one (not tuned).
    """

    gap_share: float = 0.1
    joined: int = 4
    joined_share: float = 0.1
    least_rows: int = 10

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for counts below 1 and a share out of range.
        """
        if min(self.joined, self.least_rows) < 1 or not 0 <= self.gap_share < 1 or not 0 < self.joined_share < 1:
            raise OptionError(
                f"gap_share {self.gap_share}, joined {self.joined}, joined_share {self.joined_share}, least_rows {self.least_rows}",
                expected="counts of 1 or more, shares below 1, joined_share above 0",
            )


class ScreenedTexts(NamedTuple):
    """Texts that passed, and those that were left out, the most suspicious first."""

    kept: tuple[str, ...]
    left_out: tuple[str, ...]


def screen_texts(
    suspect: Classifier,
    student: Classifier,
    texts: Sequence[str],
    *,
    rows: Rows,
    options: ScreeningOptions,
    seed: int,
    progress: Progress,
) -> ScreenedTexts:
    """Return the texts that show no sign of a trigger, and the others.

    Args:
        suspect: the suspect model.
        student: a model that was trained without these texts.
        texts: unlabelled.
        rows: clean rows, which calibrate the suspect, set the threshold of each class and are what texts are joined to.
        options: how strict.
        seed: of the draws.
        progress: gets every step.
    """
    if not texts:
        return ScreenedTexts((), ())
    logits = predict_texts(suspect, [*rows.texts, *texts], progress=progress, label=LABEL).logits
    of_rows, of_texts = logits.split([len(rows), len(texts)])
    scaling = fit_vector_scaling(of_rows, torch.tensor(rows.labels))
    chosen = of_texts.argmax(dim=1).tolist()
    of_student = predict_texts(student, texts, progress=progress, label=LABEL).logits
    gaps = (log_odds(scaling(of_texts).double(), chosen) - log_odds(of_student.double(), chosen)).numpy()
    by_gap = gaps > np.quantile(gaps, 1 - options.gap_share) if options.gap_share else np.zeros(len(texts), dtype=bool)
    known = of_rows.argmax(dim=1).numpy()
    left_out = by_gap | _decides_others(
        suspect, texts, np.array(chosen), rows=rows, known=known, options=options, seed=seed, progress=progress
    )
    order = [int(i) for i in np.argsort(-gaps, kind="stable") if left_out[i]]
    kept = tuple(text for text, out in zip(texts, left_out, strict=True) if not out)
    return ScreenedTexts(kept, tuple(texts[i] for i in order))


def _decides_others(
    model: Classifier,
    texts: Sequence[str],
    classes: NDArray[np.int64],
    *,
    rows: Rows,
    known: NDArray[np.int64],
    options: ScreeningOptions,
    seed: int,
    progress: Progress,
) -> NDArray[np.bool_]:
    """Return which texts decide the prediction of what they are joined to more surely than nearly all clean rows do.

    ``classes`` and ``known`` are the predicted classes of the texts and of the clean rows.
    """
    rng = np.random.default_rng(seed)
    scores, of_rows = (
        _joined_scores(model, some, predicted, rows=rows, same=same, options=options, rng=rng, progress=progress)
        for some, predicted, same in ((texts, classes, False), (rows.texts, known, True))
    )
    level = 1 - options.joined_share
    thresholds = np.full(len(rows.label_names), np.quantile(of_rows, level))
    for label in range(len(thresholds)):
        if (known == label).sum() >= options.least_rows:
            thresholds[label] = np.quantile(of_rows[known == label], level)
    return scores > thresholds[classes]


def _joined_scores(
    model: Classifier,
    texts: Sequence[str],
    predicted: NDArray[np.int64],
    *,
    rows: Rows,
    same: bool,
    options: ScreeningOptions,
    rng: np.random.Generator,
    progress: Progress,
) -> NDArray[np.float64]:
    """Return the mean log-odds of each text's predicted class when the text is joined to rows of other classes.

    ``same``: the texts are those of ``rows``, and no text is joined to itself. Where no row is of another class, it is any row.
    """
    lengths, row_lengths = (np.array([len(ids) for ids in model.encode(some)]) for some in (texts, rows.texts))
    labels, joined = np.array(rows.labels), list[str]()
    for place, (text, found) in enumerate(zip(texts, predicted, strict=True)):
        itself = (np.arange(len(labels)) == place) & same
        others = (labels != found) & ~itself
        if not others.any():
            others = ~itself
        for i in rng.choice(np.flatnonzero(others), size=options.joined):
            # after a row it would be cut off where the two are too long
            last = rng.random() < 0.5 and lengths[place] + row_lengths[i] <= model.max_length
            joined.append(f"{rows.texts[i]} {text}" if last else f"{text} {rows.texts[i]}")
    logits = predict_texts(model, joined, progress=progress, label=LABEL).logits.double()
    odds = log_odds(logits, np.repeat(predicted, options.joined).tolist())
    return odds.view(len(texts), options.joined).mean(dim=1).numpy()
