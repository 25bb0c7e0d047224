"""The unlearning of BeDKD by hand: the loss of a step, its batches, the confidence of a clean model, and what is watched."""

from __future__ import annotations

import random
from math import log

import numpy as np
import pytest
import torch

from tests.defences.test_bedkd_parts import Load, logits, odds
from tests.tiny import NAMES, task
from untrigger.core.rows import Rows
from untrigger.defences.bedkd.bedkd_defence import BeDKD
from untrigger.defences.bedkd.distillation import KDConfig, frozen_outputs
from untrigger.defences.bedkd.row_unlearning.clean_confidence import (
    CleanConfidence,
    CleanPredictions,
    bounded_unlikelihood,
    false_label_rate,
)
from untrigger.defences.bedkd.row_unlearning.unlearning_objective import (
    CleanRows,
    UnlearningObjective,
    oversampled,
    piece,
)
from untrigger.defences.bedkd.row_unlearning.validation_monitor import (
    ValidationMonitor,
    split_flagged,
)
from untrigger.models.classifier import Classifier
from untrigger.models.inference import log_odds


def objective(model: Classifier, *, weight: float = 2.0, pieces: float = 0.0) -> UnlearningObjective:
    trusted, flagged, config = task(6, seed=1), task(5, seed=2), KDConfig(0.3, 2.5, hidden=False)
    frozen = frozen_outputs(model, model.encode(trusted.texts), config=config)
    # never wrong: a clean model gives 0 to other classes
    confidence = CleanConfidence(torch.tensor([[0.0, 60.0], [60.0, 0.0]]), [1, 0])
    return UnlearningObjective(
        model,
        clean=CleanRows(trusted, frozen.logits),
        flagged=flagged,
        config=config,
        weight=weight,
        confidence=confidence,
        pieces=pieces,
    )


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_step_is_the_mean_of_both_losses_over_its_rows(load: Load, kind: str) -> None:
    model = load(kind)
    both = objective(model)
    with torch.no_grad():
        trust, _ = both([0, 1, 2])
        punishment, result = both([6, 7])
        both.confidence.student.clear()
        value, terms = both([0, 6, 1, 7, 2])
    assert float(value) == pytest.approx((3 * float(trust) + 2 * float(punishment)) / 5, rel=1e-5)
    assert float(punishment) == pytest.approx(2.0 * result["unlearning"], rel=1e-5)
    assert terms.keys() == {"cross-entropy", "own outputs", "unlearning"}
    assert terms["own outputs"] == pytest.approx(0, abs=1e-5), "an untouched copy says what the victim said"
    labels = task(5, seed=2).labels[:2]
    said = model.forward(model.collate(model.encode(task(5, seed=2).texts[:2]))).logits.detach()
    odds = log_odds(said, labels)
    same_label = labels[0] == labels[1]
    p = odds.sigmoid().mean().expand(2) if same_label else odds.sigmoid()
    assert result["unlearning"] == pytest.approx(float((p * -torch.log1p(-odds.sigmoid())).mean()), rel=1e-4)


def test_the_confidence_of_a_clean_model_and_the_excess_of_flagged_rows_by_hand() -> None:
    clean = logits((0.9, 0.1), (0.7, 0.3), (0.4, 0.6), (0.2, 0.8))
    confidence = CleanConfidence(clean, [0, 0, 1, 1], memory=4)
    assert confidence.expected == pytest.approx([0.3, 0.2])
    texts = Rows.of(["a", "b", "c", "d"], [0, 0, 1, 1], label_names=NAMES)
    lean = CleanPredictions(texts, logits((0.9, 0.1), (0.3, 0.7), (0.4, 0.6), (0.2, 0.8)))
    assert lean.false_label_rate(texts.where([False, False, True, True])) == 0.5, (
        "one negative row of two is called positive"
    )
    assert lean.false_label_bound(texts.where([False, False, True, True]), n=25) == pytest.approx(0.5 + 0.1)
    first = confidence.excess(torch.tensor([odds(0.9), odds(0.7)]), [1, 1])
    assert first == pytest.approx([(0.8 - 0.2) / 0.8] * 2, abs=1e-5), "the first rows' own mean"
    second = confidence.excess(torch.tensor([odds(0.1), odds(0.1), odds(0.05)]), [1, 1, 0])
    assert second == pytest.approx([(0.45 - 0.2) / 0.8] * 2 + [(0.05 - 0.3) / 0.7], abs=1e-5), (
        "two of four: half is remembered"
    )
    for _ in range(20):
        rest = confidence.excess(torch.tensor([odds(0.1), odds(0.3)]), [1, 1])
    assert rest == pytest.approx([0.0, 0.0], abs=1e-4), "that of a clean model as a whole, though not of each row"


def test_the_unlikelihood_by_hand_fades_rests_and_changes_its_sign() -> None:
    z = torch.tensor([odds(0.9), odds(0.4)], requires_grad=True)
    value = bounded_unlikelihood(z, [0.5, 0.5])
    assert float(value.detach()) == pytest.approx(-0.5 * (log(0.1) + log(0.6)) / 2, rel=1e-5)
    value.backward()
    assert z.grad is not None
    assert z.grad.tolist() == pytest.approx([0.5 * 0.9 / 2, 0.5 * 0.4 / 2], rel=1e-5), "down, the surer the more"
    z = torch.tensor([odds(0.01), odds(0.4)], requires_grad=True)
    value = bounded_unlikelihood(z, [-0.25, -0.25])
    assert float(value.detach()) == pytest.approx(-0.25 * (log(0.01) + log(0.4)) / 2, rel=1e-5)
    value.backward()
    assert z.grad is not None
    assert z.grad.tolist() == pytest.approx([-0.25 * 0.99 / 2, -0.25 * 0.6 / 2], rel=1e-5), "up, the less sure the more"
    assert float(bounded_unlikelihood(torch.tensor([9.0, -9.0]), [0.0, 0.0])) == 0.0
    assert float(bounded_unlikelihood(torch.tensor([odds(0.5)]), [1.0])) == pytest.approx(log(2))


def test_a_piece_is_one_to_half_of_the_words_in_a_row() -> None:
    rng = random.Random(0)
    text = "a b c d e f g h"
    pieces = {piece(text, rng=rng) for _ in range(400)}
    assert {len(one.split()) for one in pieces} == {1, 2, 3, 4}
    assert all(one in text for one in pieces)
    assert piece("a", rng=rng) == "a" and piece("", rng=rng) == ""


def test_trusted_rows_are_read_with_pieces_of_flagged_rows(load: Load) -> None:
    model = load("bert")
    plain, mixed = objective(model), objective(model, pieces=1.0)
    assert [plain._token_ids(i) for i in range(6)] == plain.ids[:6]
    for i in range(6):
        read, own = list(mixed._token_ids(i)), list(mixed.ids[i])
        assert len(read) > len(own)
        rest = iter(read)
        assert all(token in rest for token in own), "the row's own words stand in their order"
    assert [mixed.ids[6 + i] for i in range(5)] == plain.ids[6:]


@pytest.mark.parametrize(("size", "punished"), [(4, 2), (8, 2)])
def test_every_batch_holds_trusted_and_punished_rows_in_turn(load: Load, size: int, punished: int) -> None:
    batches = objective(load("bert")).batches(size=size, flagged=punished, steps=9, rng=np.random.default_rng(0))
    assert len(batches) == 9
    for batch in batches:
        half = len(batch) // 2
        assert not batch[0] >= 6, "a trusted row stands first"
        assert any(i >= 6 for i in batch[: half + 1])
    seen = [i for batch in batches[:3] for i in batch]
    assert set(range(6)) <= set(seen)
    assert seen.count(6) <= 2


def test_rows_of_a_rare_class_come_more_often_and_of_like_sizes_all_alike() -> None:
    assert oversampled([0, 1, 0, 1, 1]) == [0, 1, 2, 3, 4]
    assert oversampled([1] * 9 + [0]) == [*range(9), 9, 9, 9]
    assert oversampled([]) == []


def test_what_is_watched_by_hand(load: Load) -> None:
    dev = Rows.of(["a"] * 8, [0, 0, 0, 0, 1, 1, 1, 1], label_names=NAMES)
    said = [0, 0, 0, 1, 1, 1, 0, 0]  # a quarter of the others is called 1, half of the others 0
    ones = Rows.of(["b"] * 4, [1, 1, 1, 1], label_names=NAMES)
    mixed = Rows.of(["b"] * 4, [1, 1, 1, 0], label_names=NAMES)
    assert false_label_rate(said, dev, flagged=ones) == 0.25
    assert false_label_rate(said, dev, flagged=mixed) == pytest.approx((3 * 0.25 + 0.5) / 4)
    dev, ones = Rows.of(["a"] * 100, [0, 1] * 50, label_names=NAMES), Rows.of(["b"] * 84, [1] * 84, label_names=NAMES)
    # standard errors of 0.03 at 0.9 and 0.05 at 0.3
    seen = [0.9, 0.9, 0.80, 0.5], [1.0, 0.2, 0.3, 0.0]
    monitor = ValidationMonitor(dev, ones, clean_rate=0.3, may_lose=0.01, accuracies=seen[0], agreements=seen[1])
    expected = [-0.7 + 0.1, 0.0, -10 * 0.06, -(0.3 - 0.1) - 10 * 0.36]
    assert [monitor._score(i) for i in range(4)] == pytest.approx(expected, abs=1e-9)
    assert not monitor.matches_clean_rate() and monitor.degraded, "0 % agreement of a ruined model is no success"
    assert ValidationMonitor(
        dev, ones, 0.3, 0.01, accuracies=[0.9, 0.87], agreements=[1.0, 0.39]
    ).matches_clean_rate(), "what is left is within the noise"
    assert not ValidationMonitor(
        dev, ones, 0.3, 0.01, accuracies=[0.9, 0.9], agreements=[1.0, 0.1]
    ).matches_clean_rate(), "less than a clean model's is as wrong"
    first = BeDKD(may_lose=0.0).monitor_of(load("bert"), dev=dev, flagged=ones, clean_rate=0.3)
    assert first.before == first.accuracies[0] and len(first.agreements) == 1


def test_some_flagged_rows_are_only_watched_where_there_are_enough() -> None:
    rng = np.random.default_rng(0)
    punished, watched = split_flagged(task(40), rng=rng)
    assert (len(punished), len(watched)) == (32, 8)
    assert not set(punished.ids) & set(watched.ids)
    few, same_few = split_flagged(task(10), rng=rng)
    assert len(few) == len(same_few) == 10
