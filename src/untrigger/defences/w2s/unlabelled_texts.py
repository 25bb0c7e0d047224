"""Unlabelled texts without those that may hold a trigger: a student must not learn the suspect's predictions for these.

A triggered text decides the prediction of whatever it is joined to. So every text is joined to clean rows of other classes than
the predicted one, and texts whose class wins more surely than that of nearly all clean rows are left out. What is left out holds
harmless texts too: those that express their class most strongly, from which a student learns least. The idea is that of STRIP
(1911.10312), which superimposes images and takes the entropy of the predictions.
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
from untrigger.models.inference import predict_texts


@dataclass(frozen=True)
class ScreeningOptions:
    """Options of ``screen_texts``.

    Attributes:
        joined: clean rows that each text is joined to (not tuned).
        left_out: share of harmless texts that may be left out, above 0 and below 1 (not tuned).
        least_rows: fewest clean rows predicted as a class for a threshold of its own; other classes share one (not tuned).
    """

    joined: int = 4
    left_out: float = 0.1
    least_rows: int = 10

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for counts below 1 and a share out of range.
        """
        if min(self.joined, self.least_rows) < 1 or not 0 < self.left_out < 1:
            raise OptionError(
                f"joined {self.joined}, least_rows {self.least_rows}, left_out {self.left_out}",
                expected="counts of 1 or more, a share above 0 and below 1",
            )


class ScreenedTexts(NamedTuple):
    """Texts that passed, and those that were left out, the most suspicious first."""

    kept: tuple[str, ...]
    left_out: tuple[str, ...]


def screen_texts(
    model: Classifier,
    texts: Sequence[str],
    *,
    rows: Rows,
    options: ScreeningOptions,
    seed: int,
    progress: Progress,
) -> ScreenedTexts:
    """Return the texts that decide a prediction no more than clean rows do, and the others.

    Args:
        model: the suspect.
        texts: unlabelled.
        rows: clean rows, which set the threshold of each class and are what texts are joined to.
        options: how many rows, and how strict.
        seed: of the draws.
        progress: gets every step.
    """
    rng = np.random.default_rng(seed)
    classes, scores = _joined_scores(model, texts, rows=rows, same=False, options=options, rng=rng, progress=progress)
    known, of_rows = _joined_scores(
        model, rows.texts, rows=rows, same=True, options=options, rng=rng, progress=progress
    )
    level = 1 - options.left_out
    shared = np.quantile(of_rows, level)
    thresholds = np.full(len(rows.label_names), shared)
    for label in range(len(thresholds)):
        if (known == label).sum() >= options.least_rows:
            thresholds[label] = np.quantile(of_rows[known == label], level)
    margins = scores - thresholds[classes]
    order = [int(i) for i in np.argsort(-margins, kind="stable") if margins[i] > 0]
    kept = tuple(text for text, margin in zip(texts, margins, strict=True) if margin <= 0)
    return ScreenedTexts(kept, tuple(texts[i] for i in order))


def _joined_scores(
    model: Classifier,
    texts: Sequence[str],
    *,
    rows: Rows,
    same: bool,
    options: ScreeningOptions,
    rng: np.random.Generator,
    progress: Progress,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the predicted class of each text, and the mean log-odds of this class when the text is joined to rows of others.

    ``same``: the texts are those of ``rows``, and no text is joined to itself.
    """
    if not texts:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    label = "screening of unlabelled texts"
    predicted = predict_texts(model, texts, progress=progress, label=label).logits.argmax(dim=1).numpy()
    lengths, row_lengths = (np.array([len(ids) for ids in model.encode(some)]) for some in (texts, rows.texts))
    labels, joined = np.array(rows.labels), list[str]()
    for place, (text, found) in enumerate(zip(texts, predicted, strict=True)):
        others = labels != found
        if same:
            others[place] = False
        for i in rng.choice(np.flatnonzero(others), size=options.joined):
            last = (
                rng.random() < 0.5 and lengths[place] + row_lengths[i] <= model.max_length
            )  # else it would be cut off
            joined.append(f"{rows.texts[i]} {text}" if last else f"{text} {rows.texts[i]}")
    logits = predict_texts(model, joined, progress=progress, label=label).logits.double()
    chosen = torch.from_numpy(np.repeat(predicted, options.joined)).unsqueeze(1)
    odds = logits.gather(1, chosen).squeeze(1) - logits.scatter(1, chosen, float("-inf")).logsumexp(dim=1)
    return predicted, odds.view(len(texts), options.joined).mean(dim=1).numpy()
