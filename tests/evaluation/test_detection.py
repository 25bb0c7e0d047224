"""Detection rates by hand, ties and empty samples included."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest

from untrigger.evaluation.metrics import auroc, detection_metrics


@pytest.mark.parametrize(
    ("scores", "poisoned", "area"),
    [
        ([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], 1.0),
        ([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0], 0.0),
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.75),
        ([1.0, 1.0, 1.0, 1.0], [0, 1, 0, 1], 0.5),
        ([1.0, 2.0, 2.0, 3.0], [0, 0, 1, 1], 3.5 / 4),
        ([-np.inf, 0.0, np.inf], [0, 0, 1], 1.0),
    ],
)
def test_the_area_counts_pairs_and_ties_half(scores: list[float], poisoned: list[int], area: float) -> None:
    assert auroc(scores, poisoned=[bool(p) for p in poisoned]) == pytest.approx(area)


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    scores, poisoned = rng.integers(0, 20, size=200) / 3, rng.random(200) < 0.3
    pairs = [(a > b) + (a == b) / 2 for a in scores[poisoned] for b in scores[~poisoned]]
    assert auroc(list(scores), poisoned=list(poisoned)) == pytest.approx(np.mean(pairs))


def test_all_rates_by_hand() -> None:
    found = detection_metrics(
        [5, 4, 3, 2, 1], flagged=[True, True, True, False, False], poisoned=[True, False, True, True, False]
    )
    result = {m.metric: (m.value, m.n) for m in found}
    assert result["auroc"] == (pytest.approx(4 / 6), 5)
    assert result["precision"] == (pytest.approx(2 / 3), 3)
    assert result["recall"] == (pytest.approx(2 / 3), 3)
    assert result["fpr"] == (pytest.approx(1 / 2), 2)
    area = next(m for m in found if m.metric == "auroc")
    assert area.low is not None and area.high is not None
    assert 0 <= area.low < 4 / 6 < area.high <= 1


def test_an_empty_sample_is_not_measured() -> None:
    found = {m.metric: m.value for m in detection_metrics([1.0, 2.0], flagged=[False, False], poisoned=[False, False])}
    assert found == {"auroc": None, "precision": None, "recall": None, "fpr": 0.0}
    assert isnan(auroc([1.0], poisoned=[True]))
