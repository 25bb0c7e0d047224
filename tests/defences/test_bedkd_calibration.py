"""Thresholds of the BeDKD detector hold on clean pools, through the evidence and the calibration as they are used.

Forty pools show a threshold that lets through twice what it promises; two hundred, in `make exhaustive`, show half as much again.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from tests.tiny import POISON, task
from untrigger.core.grant import Grant
from untrigger.defences.bedkd.bedkd_defence import BeDKD
from untrigger.defences.bedkd.row_detection.linear_classifiers import EvidenceOptions
from untrigger.defences.bedkd.row_detection.row_evidence import ReferenceRows, RowFeatures, score_rows
from untrigger.detectors.conformal import CalibratedThreshold, calibrate, flagging_threshold
from untrigger.models.classifier import Classifier

NOMINAL = 0.02
SEVERAL = pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.exhaustive)])
FEW = pytest.mark.parametrize("count", [12, pytest.param(40, marks=pytest.mark.exhaustive)])
QUICK = EvidenceOptions(folds=2)  # what makes rows exchangeable does not depend on the number of folds


def rows_of(count: int, *, seed: int, poisoned: int = 0) -> RowFeatures:
    """Clean rows of three features a layer, whose label says what the content is nine times in ten; poisoned rows come first."""
    generator = torch.Generator().manual_seed(seed)
    content = torch.randint(2, (count,), generator=generator)
    wrong = torch.rand(count, generator=generator) < 0.1
    labels = torch.where(wrong, 1 - content, content)
    layers = torch.randn(count, 3, 3, generator=generator) * (1 + torch.rand(count, 1, 1, generator=generator))
    layers[:, :, 0] += 3.0 * (content.float().unsqueeze(1) - 0.5)
    mapping = torch.randn(count, 2, generator=generator)
    mapping[torch.arange(count), 1 - content] += 2.0
    draw = random.Random(seed)
    texts = [" ".join(f"w{min(int(draw.expovariate(0.3)), 7)}" for _ in range(4)) for _ in range(count)]
    bad = torch.arange(count) < poisoned
    labels, layers[bad, :, 2] = torch.where(bad, 1, labels), layers[bad, :, 2] + 4.0
    mapping[bad, 1] += 6.0
    victim = torch.nn.functional.one_hot(labels, 2) * 4.0
    return RowFeatures(texts, labels, victim, mapping, layers)


def scored(rest: RowFeatures, pool: RowFeatures, clean: ReferenceRows, *, seed: int) -> tuple[list[float], list[float]]:
    words = clean.word_classifier(classes=2, options=QUICK)
    return score_rows(rest, pool, reference=clean, word_logits=words, seed=seed, options=QUICK)


class Pool(NamedTuple):
    """What was found in one pool, and how many of its clean rows lie above the threshold and above the one of flagged rows."""

    found: CalibratedThreshold
    clean: int
    above: int
    flagged: int


def pools(count: int, *, poisoned: int = 0, size: int = 120) -> list[Pool]:
    """Clean rows to compare with, to calibrate on, and a pool, all of them drawn each time from the same distribution."""
    made = []
    for seed in range(count):
        known, rest, pool = (
            rows_of(60, seed=3 * seed),
            rows_of(100, seed=3 * seed + 1),
            rows_of(size, seed=3 * seed + 2, poisoned=poisoned),
        )
        clean = ReferenceRows(known.texts, known.labels, known.layers)
        clean_scores, scores = scored(rest, pool, clean, seed=seed)
        found = calibrate(clean_scores, scores, fpr=NOMINAL)
        own = scores[poisoned:]
        limit = flagging_threshold(found, scores)
        above, flagged = (sum(score > one for score in own) for one in (found.threshold, limit))
        made.append(Pool(found, len(own), above, flagged if found.found else 0))
    return made


@SEVERAL
def test_of_clean_pools_no_more_lies_above_the_threshold_than_was_promised(count: int) -> None:
    runs = pools(count)
    shares = np.array([one.above / one.clean for one in runs])
    error = shares.std(ddof=1) / np.sqrt(count)
    promised = np.mean([one.found.fpr_bound for one in runs])
    assert NOMINAL / 2 < promised <= NOMINAL
    assert shares.mean() <= promised + 2 * error, "the mean share of clean rows above it"
    assert shares.mean() >= promised / 4, "a threshold that nothing reaches would keep any promise"
    assert sum(one.found.found for one in runs) <= max(1, 0.02 * count), "a clean pool is seldom called poisoned"


@FEW
def test_clean_rows_beside_poisoned_ones_are_not_flagged_more_often(count: int) -> None:
    runs = pools(count, poisoned=18)
    shares = np.array([one.flagged / one.clean for one in runs])
    assert sum(one.found.found for one in runs) >= count / 2, "there is something to find"
    assert shares.mean() <= NOMINAL + 2 * shares.std(ddof=1) / np.sqrt(len(runs))


@FEW
def test_a_clean_row_scores_the_same_in_the_pool_and_among_those_that_calibrate(count: int) -> None:
    """The same rows on the one side and on the other: where the sides are alike, nobody can tell which is which."""
    firsts, seconds = [], []
    for seed in range(count):
        known, one, other = (rows_of(n, seed=1000 + 3 * seed + i) for i, n in enumerate((60, 100, 100)))
        clean = ReferenceRows(known.texts, known.labels, known.layers)
        for rest, pool in ((one, other), (other, one)):
            clean_scores, scores = scored(rest, pool, clean, seed=seed)
            firsts.append(np.quantile(clean_scores, 0.98))
            seconds.append(np.quantile(scores, 0.98))
    gap = np.array(firsts) - np.array(seconds)
    assert abs(gap.mean()) < 3 * gap.std(ddof=1) / np.sqrt(len(gap)), "neither side reaches higher"


def test_rows_that_calibrate_are_none_that_the_mapping_was_trained_on_or_ended_by(
    victim: Callable[[str], Classifier], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from untrigger.defences.bedkd.row_detection import bedkd_detector as bedkd

    used: dict[str, set[str]] = {}
    whole, score = bedkd.train_mapping, bedkd.score_rows

    def mapped(model: Classifier, rows: object, **more: object) -> object:
        used.update(trained=set(rows.texts), watched=set(more["stop_rows"].texts))  # type: ignore[attr-defined]
        return whole(model, rows, **more)  # type: ignore[arg-type]

    def watched(rest: RowFeatures, pool: RowFeatures, *, reference: ReferenceRows, **more: object) -> object:
        used.update(calibrated=set(rest.texts), known=set(reference.texts))
        return score(rest, pool, reference=reference, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(bedkd, "train_mapping", mapped)
    monkeypatch.setattr(bedkd, "score_rows", watched)
    pool = POISON.poison(task(160, seed=8, length=9), seed=0).visible
    BeDKD(mapping_rows=40).detect(victim("bert"), Grant(clean=task(300, seed=9, length=9), suspect=pool, seed=0))
    assert used["trained"] and used["watched"] and used["calibrated"]
    assert not used["calibrated"] & (used["trained"] | used["watched"])
    assert used["known"] == used["trained"] | used["watched"]
