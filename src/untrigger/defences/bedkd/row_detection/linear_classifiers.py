"""Linear classifiers of rows by hidden states and by words, with scikit-learn.

Imported inside functions: scikit-learn takes seconds to load.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch

from untrigger.core.errors import OptionError

TOLERANCE, ITERATIONS = 1e-7, 1000  # of L-BFGS: a smaller tolerance changes scores by less than 0.001


@dataclass(frozen=True)
class EvidenceOptions:
    """How the evidence against a row is computed.

    Attributes:
        leaders: share of the pool, the rows with the largest scores, that the others are compared with. Chosen in
            ``docs/results/bedkd.md#evidence-for-rewrites`` (8, 10, 12 and 14 %); at 1 % poison most leaders are clean.
        fewest: rows of the pool, or clean rows, below which no classifier is trained. Not tuned.
        folds: of the cross-fitting. Not tuned.
        penalty: weight of the squared norm of a classifier of pool rows. Not tuned.
        word_penalty: the same for the classifier that predicts labels from words. Not tuned.
        terms: words and pairs of words that texts are described by, the most frequent ones. Not tuned.
        text_length: norm of a text's vector of terms: that of a thousand features of deviation 1. Not tuned.
        lower_quantile: a score's unit is the way from the median down to this quantile: one deviation of a normal distribution.
    """

    leaders: float = 0.1
    fewest: int = 40
    folds: int = 5
    penalty: float = 0.05
    word_penalty: float = 0.03
    terms: int = 12_000
    text_length: float = 30.0
    lower_quantile: float = 0.16

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for shares out of range, counts that are too small and penalties that are not above 0.
        """
        shares = 0 < self.leaders < 0.5 and 0 < self.lower_quantile < 0.5
        counts = self.fewest >= 2 and self.folds >= 2 and self.terms >= 1
        if not shares or not counts or not min(self.penalty, self.word_penalty, self.text_length) > 0:
            raise OptionError(
                ", ".join(f"{name} {value}" for name, value in asdict(self).items()),
                expected="leaders and lower_quantile below 0.5, 2 rows, 2 folds and 1 term or more, the others above 0",
            )


class FeatureSpace(NamedTuple):
    """Features of clean reference rows ``(M, D)`` and of the rows to score ``(N, D)``, both dense or both sparse."""

    reference: Any
    rows: Any


def standardised(reference: np.ndarray, rows: np.ndarray) -> FeatureSpace:
    """Scale features to mean 0 and deviation 1 in the reference rows."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(reference)
    return FeatureSpace(scaler.transform(reference), scaler.transform(rows))


def terms_of(reference: Sequence[str], rows: Sequence[str], *, options: EvidenceOptions) -> FeatureSpace:
    """Describe texts by tf-idf of their words and pairs of neighbours, and how they begin, as sparse rows of one length.

    The ``options.terms`` most frequent terms in at least two texts. A term counts once a text and weighs
    ``log(N / texts with it)``: scikit-learn's ``TfidfVectorizer`` would add 1 to that, which makes words of every text count.
    """
    from scipy.sparse import csr_array, diags_array
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.preprocessing import normalize

    texts = [*reference, *rows]
    vectorizer = CountVectorizer(analyzer=words_and_pairs, binary=True, min_df=2, max_features=options.terms)
    try:
        counts = csr_array(vectorizer.fit_transform(texts), dtype=np.float64)
    except ValueError:  # no term is in two texts
        counts = csr_array((len(texts), 1), dtype=np.float64)
    inverse = np.log(len(texts) / np.maximum(1, counts.sum(axis=0)))
    table = options.text_length * normalize(csr_array(counts @ diags_array(inverse)))
    return FeatureSpace(table[: len(reference)], table[len(reference) :])


def words_and_pairs(text: str) -> list[str]:
    """Return the words of a text and its pairs of neighbours; the first pair, with an empty word, states how it begins."""
    words = ["", *text.lower().split()]
    return [*words[1:], *(" ".join(pair) for pair in pairwise(words))]


def cross_fitted_log_odds(
    space: FeatureSpace,
    weights: tuple[np.ndarray, np.ndarray],
    *,
    positive: np.ndarray,
    negative: np.ndarray,
    seed: int,
    options: EvidenceOptions,
) -> np.ndarray:
    """Return ``(N,)``, the log-odds of ``positive`` rows against reference and ``negative`` rows, cross-fitted.

    No row is scored by a classifier that was trained on it. Both sides weigh the same as a whole. (``cross_val_predict`` of
    scikit-learn scores every row that it trains on; reference rows are trained on in every fold and never scored.)

    Args:
        space: the features.
        weights: of the reference rows ``(M,)`` and of the rows ``(N,)`` as negatives.
        positive: flags ``(N,)``.
        negative: flags ``(N,)``.
        seed: of the folds.
        options: folds and penalty.
    """
    generator = torch.Generator().manual_seed(seed)
    fold = (torch.randperm(len(positive), generator=generator) % options.folds).numpy()
    scores = np.zeros(len(positive))
    for number in range(options.folds):
        train, test = fold != number, fold == number
        if test.any() and (positive & train).any():
            model = _fit_against(space, weights, positive=positive & train, negative=negative & train, options=options)
            scores[test] = model.decision_function(space.rows[test])
    return scores


def _fit_against(
    space: FeatureSpace,
    weights: tuple[np.ndarray, np.ndarray],
    *,
    positive: np.ndarray,
    negative: np.ndarray,
    options: EvidenceOptions,
) -> Any:
    """Return the classifier with the least ``Σ weight · loss + penalty · ‖w‖²``, the weights of either side adding up to a half."""
    others = np.concatenate([weights[0], weights[1][negative]])
    labels = np.repeat([1, 0], [positive.sum(), len(others)])
    each = np.concatenate([np.full(positive.sum(), 0.5 / positive.sum()), 0.5 * others / others.sum()])
    features = _stacked(space.rows[positive], space.reference, space.rows[negative])
    return _regression(1 / (2 * options.penalty)).fit(features, labels, sample_weight=each)


def fit_word_classifier(
    embeddings: np.ndarray, labels: np.ndarray, *, classes: int, options: EvidenceOptions
) -> Callable[[np.ndarray], np.ndarray]:
    """Fit a linear classifier of labels; return a function from embeddings averaged over texts ``(N, d)`` to logits ``(N, C)``.

    It minimises the mean cross-entropy ``+ word_penalty · ‖W‖²`` with one column of ``W`` a class, also of two.

    Args:
        embeddings: of clean rows, ``(M, d)``.
        labels: ``(M,)``, every class among them.
        classes: C.
        options: the penalty.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    columns = 2 if classes == 2 else 1  # scikit-learn fits the difference of two columns as one, which halves its norm
    strength = columns / (2 * options.word_penalty * len(labels))
    model = make_pipeline(StandardScaler(), _regression(strength)).fit(embeddings, labels)

    def logits(rows: np.ndarray) -> np.ndarray:
        values = model.decision_function(rows)
        return np.stack([-values / 2, values / 2], axis=1) if values.ndim == 1 else np.asarray(values)

    return logits


def _regression(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, tol=TOLERANCE, max_iter=ITERATIONS)


def _stacked(*parts: Any) -> Any:
    from scipy.sparse import issparse, vstack

    return vstack(parts, format="csr") if issparse(parts[0]) else np.concatenate(parts)
