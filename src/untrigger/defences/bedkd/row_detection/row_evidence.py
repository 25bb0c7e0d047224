"""Evidence against each row of a suspect pool: what the directional mapping predicts and four more kinds, added up.

A rewritten row (style, syntax) keeps some content, so the mapping flips many of them as it flips clean rows. But its label
contradicts its words, it is unusual among clean rows, and poisoned rows are unusual in the same way and have the same label.

The clean rows that calibrate a threshold are scored as if they were in the pool, in every step: what is learned from the pool is
learned from both together, against other clean rows. So a clean row of the pool and a calibrating one are exchangeable, whatever
the poisoned rows look like (AdaDetect: Marandon et al. 2022, 2208.06685), and conformal thresholds hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows
from untrigger.defences.bedkd.row_detection.linear_classifiers import (
    EvidenceOptions,
    FeatureSpace,
    cross_fitted_log_odds,
    fit_word_classifier,
    standardised,
    terms_of,
)
from untrigger.models.classifier import Classifier
from untrigger.models.inference import hidden_state_means, log_odds, predict_token_ids


class RowFeatures(NamedTuple):
    """What the victim and its directional mapping compute from rows.

    Attributes:
        texts: the rows as they are.
        labels: ``(N,)``.
        victim: the victim's logits, ``(N, C)``.
        mapping: the mapping's logits, ``(N, C)``.
        layers: the victim's hidden states, averaged over each text: embedding, middle and last layer, ``(N, 3, d)``.
    """

    texts: Sequence[str]
    labels: Tensor
    victim: Tensor
    mapping: Tensor
    layers: Tensor

    def victim_agreement(self, among: Sequence[bool]) -> float:
        """Return the share of the rows ``among`` these whose label the victim predicts, 1 if there are none."""
        some = torch.tensor(list(among), dtype=torch.bool)
        return float((self.victim.argmax(dim=1) == self.labels)[some].float().mean()) if some.any() else 1.0


class ReferenceRows(NamedTuple):
    """Clean rows that others are compared with: ``texts``, ``labels (N,)`` and the victim's ``layers (N, 3, d)``."""

    texts: Sequence[str]
    labels: Tensor
    layers: Tensor

    def word_classifier(self, *, classes: int, options: EvidenceOptions) -> Callable[[RowFeatures], Tensor]:
        """Return a function from rows to logits ``(N, C)`` of their labels, fitted on the embeddings of these rows."""
        logits = fit_word_classifier(self.layers[:, 0].numpy(), self.labels.numpy(), classes=classes, options=options)
        return lambda rows: torch.from_numpy(logits(rows.layers[:, 0].numpy()))


def collect_features(
    victim: Classifier, mapping: Classifier, rows: Rows, *, progress: Progress = silent
) -> RowFeatures:
    """Return what both models compute from the rows."""
    ids = victim.encode(rows.texts)
    logits, layers = hidden_state_means(victim, ids, progress=progress, label="predictions of the victim")
    flipped = predict_token_ids(mapping, ids, progress=progress, label="predictions of the mapping").logits
    return RowFeatures(rows.texts, torch.tensor(rows.labels), logits, flipped, layers)


def reference_features(victim: Classifier, rows: Rows, *, progress: Progress = silent) -> ReferenceRows:
    """Return what the victim computes from clean rows that calibrate nothing."""
    ids = victim.encode(rows.texts)
    _, layers = hidden_state_means(victim, ids, progress=progress, label="predictions of the victim")
    return ReferenceRows(rows.texts, torch.tensor(rows.labels), layers)


def score_rows(
    calibrating: RowFeatures,
    pool: RowFeatures,
    *,
    reference: ReferenceRows,
    word_logits: Callable[[RowFeatures], Tensor],
    seed: int,
    options: EvidenceOptions | None = None,
) -> tuple[list[float], list[float]]:
    """Return the scores of the ``calibrating`` clean rows and of the ``pool``, larger for more suspicious rows.

    First a sum: the log-odds that the mapping still gives to the row's label; the negative log-odds that its words give to it;
    how unusual the row is among reference rows, by hidden states and by terms; and how much more frequent its label is among the
    rows with the largest scores (the leaders) than among the others. Then half of that sum, plus the log-odds of leaders against
    reference rows and the lower half of the scores, which are weighted so that their labels come half of the way (in logarithms)
    to those of the leaders, plus the log-ratio of labels once more.

    Calibrating rows and pool go through all of it as one. Only the medians from which unusualness is measured are each side's own,
    so that a pool of another source, or one that the victim has memorised, is not unusual as a whole: this moves a threshold by
    no more than the sampling error of a median.

    Args:
        calibrating: clean rows on which neither the mapping, nor when it stopped, nor ``word_logits`` depends.
        pool: suspect rows.
        reference: other clean rows.
        word_logits: see ``ReferenceRows.word_classifier``.
        seed: of the folds.
        options: see ``EvidenceOptions``; None for the defaults.
    """
    options = options or EvidenceOptions()
    sides = _Sides(calibrating, pool, options)
    scores = sides.spread(lambda rows: log_odds(rows.mapping, rows.labels.tolist()))
    scores = scores + sides.spread(lambda rows: -log_odds(word_logits(rows), rows.labels.tolist()))
    if min(len(calibrating.labels), len(pool.labels)) < options.fewest:
        return sides.split(scores)
    unusual = _Unusual(sides, reference, seed=seed)
    everyone = np.ones(len(scores), dtype=bool)
    scores = scores + unusual.log_odds(everyone, ~everyone, class_weights=np.ones(sides.classes))
    scores = scores + sides.label_log_ratio(sides.leaders(scores))[sides.labels]
    leading, others = sides.leaders(scores), scores < _median(scores)
    against = np.concatenate([reference.labels.numpy(), sides.labels[others]])
    ratio = _label_shares(sides.labels[leading], sides.classes) / _label_shares(against, sides.classes)
    last = unusual.log_odds(leading, others, class_weights=np.sqrt(ratio))
    return sides.split(last + scores / 2 + sides.label_log_ratio(leading)[sides.labels])


class _Sides:
    """The calibrating rows and, after them, the pool, with the labels of all."""

    def __init__(self, calibrating: RowFeatures, pool: RowFeatures, options: EvidenceOptions) -> None:
        self.parts, self.options = (calibrating, pool), options
        self.border, self.classes = len(calibrating.labels), calibrating.victim.shape[1]
        self.labels = torch.cat([calibrating.labels, pool.labels]).numpy()

    def spread(self, values: Callable[[RowFeatures], Tensor]) -> np.ndarray:
        """Return values ``(N,)`` of both sides from their common median, in units of the spread below it."""
        return self._in_spreads(torch.cat([values(part) for part in self.parts]).numpy())

    def from_own_median(self, values: np.ndarray) -> np.ndarray:
        """Return values from the median of their own side, in a unit that both sides share.

        Poisoned rows are the minority at the upper end: neither median nor unit moves much with them.
        """
        sides = values[: self.border], values[self.border :]
        return self._in_spreads(np.concatenate([side - _median(side) for side in sides]))

    def _in_spreads(self, values: np.ndarray) -> np.ndarray:
        """Return values from their median, in units of the way down to the lower quantile.

        ``RobustScaler(quantile_range=(16, 50))`` would do the same but for the median of an even number: by that one, scores of
        the tiny pools in the tests moved by up to 0.27.
        """
        low, middle = np.quantile(values, [self.options.lower_quantile, 0.5])
        spreads: np.ndarray = (values - _median(values)) / max(middle - low, 1e-6)
        return spreads

    def leaders(self, scores: np.ndarray) -> np.ndarray:
        """Return flags of the rows with the largest scores, as many as a share of the pool."""
        leading = np.zeros(len(scores), dtype=bool)
        leading[np.argsort(-scores, kind="stable")[: round(self.options.leaders * len(self.parts[1].labels))]] = True
        return leading

    def label_log_ratio(self, leading: np.ndarray) -> np.ndarray:
        """Return ``(C,)``: the logarithm of how much more frequent each label is among the leading rows than among the others."""
        return label_log_ratio(self.labels, leading, classes=self.classes)

    def split(self, scores: np.ndarray) -> tuple[list[float], list[float]]:
        """Return the scores of either side."""
        return scores[: self.border].tolist(), scores[self.border :].tolist()


class _Unusual:
    """How different rows are from reference rows, by hidden states and by terms."""

    def __init__(self, sides: _Sides, reference: ReferenceRows, *, seed: int) -> None:
        layers = torch.cat([part.layers for part in sides.parts]).flatten(1)
        texts = [text for part in sides.parts for text in part.texts]
        self.sides, self.reference, self.seed = sides, reference, seed
        self.spaces: tuple[FeatureSpace, ...] = (
            standardised(reference.layers.flatten(1).numpy(), layers.numpy()),
            terms_of(reference.texts, texts, options=sides.options),
        )

    def log_odds(self, positive: np.ndarray, negative: np.ndarray, *, class_weights: np.ndarray) -> np.ndarray:
        """Return the sum over both kinds of features of the log-odds of ``positive`` rows, from each side's median."""
        weights = class_weights[self.reference.labels.numpy()], class_weights[self.sides.labels]
        each = [
            cross_fitted_log_odds(
                space, weights, positive=positive, negative=negative, seed=self.seed, options=self.sides.options
            )
            for space in self.spaces
        ]
        total: np.ndarray = np.sum([self.sides.from_own_median(one) for one in each], axis=0)
        return total


def _median(values: np.ndarray) -> float:
    """Return the lower of the two middle values of an even number."""
    return float(np.quantile(values, 0.5, method="lower"))


def label_log_ratio(labels: np.ndarray, leading: np.ndarray, *, classes: int) -> np.ndarray:
    """Return ``(C,)``: the logarithm of each label's share among the leading rows over that among the others."""
    ratio: np.ndarray = np.log(_label_shares(labels[leading], classes) / _label_shares(labels[~leading], classes))
    return ratio


def _label_shares(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return the share of each label, ``(C,)``, as if each had been seen once more."""
    counts: np.ndarray = np.bincount(labels, minlength=classes) + 1.0
    shares: np.ndarray = counts / counts.sum()
    return shares
