"""The parts of BeDKD by hand: the score, the flipped labels, the copies, both losses, what is monitored."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.tiny import cacc, same, task, weights
from untrigger.core.errors import DivergedError, ModelError, OptionError
from untrigger.core.grant import Grant
from untrigger.defences.bedkd.bedkd_defence import BeDKD
from untrigger.defences.bedkd.bedkd_published import BeDKDAsDescribed, BeDKDAsReleased
from untrigger.defences.bedkd.row_detection.bedkd_detector import MappingStop
from untrigger.defences.bedkd.row_detection.directional_mapping import (
    CopyConfig,
    InvertedMapping,
    PredictionPair,
    copy_victim,
    next_labels,
    train_mapping,
)
from untrigger.defences.bedkd.row_detection.linear_classifiers import EvidenceOptions
from untrigger.defences.bedkd.row_sets import sample_per_class
from untrigger.defences.bedkd.row_unlearning.clean_confidence import (
    bounded_unlikelihood,
)
from untrigger.defences.bedkd.row_unlearning.validation_monitor import (
    UnlearningOptions,
)
from untrigger.models.adapters import AdapterOptions, attach
from untrigger.models.classifier import Classifier, ModelSource
from untrigger.models.inference import log_odds, predict_texts

Load = Callable[[str], Classifier]


def odds(p: float) -> float:
    return log(p / (1 - p))


def logits(*probabilities: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor([[log(p) for p in row] for row in probabilities])


def test_distance_and_min_log_odds_by_hand() -> None:
    """A poisoned row, a clean one, one that the victim is unsure of, and one whose label the victim does not say."""
    pair = PredictionPair(
        logits((0.1, 0.9), (0.1, 0.9), (0.5, 0.5), (0.9, 0.1)), logits((0.2, 0.8), (0.7, 0.3), (0.5, 0.5), (0.3, 0.7))
    )
    torch.testing.assert_close(pair.distance(), torch.tensor([0.1, 0.6, 0.0, 0.6]))
    assert pair.victim_agrees([1, 1, 0, 1]).tolist() == [True, True, True, False]
    expected = [odds(0.8), odds(0.3), 0.0, odds(0.1)]
    assert pair.min_log_odds([1, 1, 1, 1]).tolist() == pytest.approx(expected, abs=1e-5)


def test_the_unsure_row_looks_worse_than_the_poisoned_one_by_distance_alone() -> None:
    pair = PredictionPair(logits((0.1, 0.9), (0.5, 0.5)), logits((0.2, 0.8), (0.5, 0.5)))
    assert pair.distance().argmin() == 1
    assert pair.min_log_odds([1, 1]).argmax() == 0


def test_distance_is_a_mean_over_any_number_of_classes() -> None:
    pair = PredictionPair(logits((0.7, 0.1, 0.1, 0.1)), logits((0.1, 0.7, 0.1, 0.1)))
    assert float(pair.distance()) == pytest.approx(1.2 / 4)
    assert pair.min_log_odds([0]).tolist() == pytest.approx([odds(0.1)], abs=1e-5)


def test_labels_are_those_of_the_next_class() -> None:
    assert next_labels([0, 1, 2, 3], classes=4) == [1, 2, 3, 0]
    assert next_labels([0, 1], classes=2) == [1, 0]


def test_the_unlikelihood_by_hand_is_bounded_and_fades() -> None:
    z = logits((0.1, 0.9), (0.6, 0.4)).requires_grad_(True)
    value = bounded_unlikelihood(log_odds(z, [1, 1]), [1.0, 1.0])
    assert float(value.detach()) == pytest.approx(-(log(0.1) + log(0.6)) / 2, rel=1e-5)
    value.backward()
    assert z.grad is not None
    assert z.grad[:, 1].tolist() == pytest.approx([0.9 / 2, 0.4 / 2], rel=1e-5), (
        "the gradient is the label's probability"
    )
    assert float(bounded_unlikelihood(log_odds(torch.tensor([[60.0, -60.0]]), [1]), [1.0])) == pytest.approx(
        0, abs=1e-6
    )
    assert torch.isfinite(bounded_unlikelihood(log_odds(torch.tensor([[-500.0, 500.0]]), [1]), [1.0]))
    three = logits((0.2, 0.5, 0.3))
    assert log_odds(three, [1]).tolist() == pytest.approx([0.0], abs=1e-6)


@pytest.mark.parametrize(("via", "whole"), [("lora", False), ("full", True), ("as-victim", True)])
def test_a_copy_is_an_adapter_or_all_weights(load: Load, via: str, whole: bool) -> None:
    victim = load("bert")
    copy = copy_victim(victim, CopyConfig(via=via, rank=2), seed=0)
    trained = [name for name, p in copy.module.named_parameters() if p.requires_grad]
    assert any("lora_A" in name for name in trained) != whole
    assert (len(trained) == len(list(copy.module.parameters()))) == whole
    storage = {p.untyped_storage().data_ptr() for p in victim.module.parameters()}
    shared = [p.untyped_storage().data_ptr() in storage for p in copy.module.parameters() if not p.requires_grad]
    assert all(shared) and bool(shared) != whole


def test_a_victim_that_is_an_adapter_is_copied_as_one(load: Load) -> None:
    model = attach(load("llama"), AdapterOptions(rank=2))
    victim = Classifier(model.module, model.tokenizer, model.label_names, ModelSource("x", "adapter"), max_length=64)
    assert any(
        "lora_A" in name
        for name, p in copy_victim(victim, CopyConfig(via="as-victim"), seed=0).module.named_parameters()
    )
    with pytest.raises(ModelError, match="via=lora"):
        copy_victim(victim, CopyConfig(via="full"), seed=0)


@pytest.mark.parametrize("via", ["lora", "full"])
def test_the_mapping_flips_the_clean_mapping_and_leaves_the_victim(twin: Load, via: str) -> None:
    victim, before = twin("bert"), weights(twin("bert"))
    options = CopyConfig(via=via, alpha=0.9, hidden=False, lr=1e-3, epochs=30)
    mapped = train_mapping(
        victim, task(80, seed=3), config=options, seed=0, stop_rows=task(40, seed=4), stop_below=0.55
    )
    assert cacc(victim) > 0.9
    assert cacc(mapped.model) < 0.7
    assert mapped.true_class <= 0.55
    assert mapped.history.steps < 30 * 5, "it ended when the watched rows were flipped"
    assert same(weights(victim), before)


def test_an_inverted_mapping_knows_the_content(twin: Load) -> None:
    victim, texts = twin("bert"), task(40, seed=4).texts
    options = CopyConfig(alpha=0.9, hidden=False, lr=1e-3, epochs=30)
    mapping = train_mapping(victim, task(80, seed=3), config=options, seed=0).model
    back = mapping.with_module(InvertedMapping(mapping.module))
    assert cacc(mapping) < 0.2
    assert cacc(back) > 0.8
    assert torch.equal(predict_texts(back, texts).logits, predict_texts(mapping, texts).logits[:, [1, 0]])


def test_classes_are_inverted_by_one() -> None:
    class Says(torch.nn.Module):
        def forward(self, **_: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(logits=torch.tensor([[0.0, 1.0, 2.0], [5.0, 3.0, 4.0]]))

    assert InvertedMapping(Says())().logits.tolist() == [[1.0, 2.0, 0.0], [3.0, 4.0, 5.0]]


def test_rows_are_taken_by_class_and_some_are_left() -> None:
    rows = task(41)  # 21 negative, 20 positive
    some, rest, warnings = sample_per_class(rows, 5, rng=np.random.default_rng(0), purpose="the mapping")
    assert (some.class_counts(), len(rest), warnings) == ({"negative": 5, "positive": 5}, 31, [])
    assert not set(some.ids) & set(rest.ids)
    half, _, warnings = sample_per_class(rows, 80, rng=np.random.default_rng(0), purpose="the mapping")
    assert half.class_counts() == {"negative": 10, "positive": 10}
    assert warnings == ["the mapping wants 80 clean rows a class and got fewer: 10 of negative, 10 of positive"]
    every, _, _ = sample_per_class(rows, 80, rng=np.random.default_rng(0), purpose="the trust pass", spare=False)
    assert len(every) == 41


def test_released_cycles_trust_first_and_then_punish_with_the_other_sign(load: Load) -> None:
    model = load("bert")
    trusted, punished = task(20, seed=1), task(3, seed=2)
    method = BeDKDAsDescribed(student=CopyConfig(via="full", temperature=2.5, batch_size=8))
    student = copy_victim(model, method.student, seed=0)
    loss, batches = method._objective(model, student, trusted=trusted, punished=punished, rng=np.random.default_rng(0))
    cycle = batches()
    assert [len(batch) for batch in cycle] in ([8, 8, 4, 3], [8, 4, 8, 3], [4, 8, 8, 3])
    assert sorted(i for batch in cycle[:3] for i in batch) == list(range(20))
    assert sorted(cycle[3]) == [20, 21, 22]
    with torch.no_grad():
        value, terms = loss(cycle[3])
        plain, _ = loss(cycle[0])
    assert float(value) < 0 < float(plain)
    assert float(value) == pytest.approx(-0.3 * terms["cross-entropy"], rel=1e-4), "an untouched copy has nothing else"


def test_the_released_scan_stops_and_keeps_and_its_order_leaks() -> None:
    """The authors' generator writes poisoned rows first: in that order 33 of 33 are poisoned, shuffled it is chance."""
    distance, agreeing = [0.05] * 400, [True] * 400  # nothing tells the rows apart but their place
    rng = np.random.default_rng(0)
    first = BeDKDAsReleased()._flagged(distance, agreeing, rng=rng)
    assert first == set(range(33))
    shuffled = BeDKDAsReleased(in_file_order=False)._flagged(distance, agreeing, rng=rng)
    assert len(shuffled) == 33 and sum(i < 80 for i in shuffled) < 20
    some = BeDKDAsReleased()._flagged([0.05, 0.5, 0.05, 0.05], [True, True, False, True], rng=rng)
    assert some == {0, 3}
    late = BeDKDAsReleased()._flagged([0.05] * 200, [False] * 128 + [True] * 72, rng=rng)
    assert late == set(), "128 rows below the threshold end the scan, whatever their labels"
    assert BeDKDAsDescribed()._flagged([0.05] * 200, [False] * 128 + [True] * 72, rng=rng) == set(range(128, 200))


def test_the_released_constants_are_those_of_the_paper_and_the_code() -> None:
    result = BeDKDAsReleased().options()
    assert (result["mapping_rows"], result["trust_rows"], result["threshold"], result["stop_at"], result["keep"]) == (
        80,
        320,
        0.1,
        128,
        33,
    )
    for part, temperature, epochs in (("mapping", 1.5, 20), ("student", 2.5, 50)):
        one = result[part]
        assert (one["alpha"], one["temperature"], one["lr"], one["batch_size"], one["epochs"]) == (
            0.3,
            temperature,
            3e-5,
            16,
            epochs,
        )
        assert one["padding"] and one["hidden"] and one["dropout"]
    plan = BeDKDAsReleased().student.plan
    assert (plan.weight_decay, plan.max_norm, plan.constant_lr) == (0.0, None, True)


def test_a_punishment_that_diverges_is_said(twin: Load) -> None:
    """Nothing bounds the released ``-L``: with a large step the weights run away, to numbers or to none."""
    grant = Grant(clean=task(60, seed=3), suspect=task(30, seed=4))

    def method(lr: float) -> BeDKDAsDescribed:
        student = CopyConfig(via="full", temperature=2.5, lr=lr, epochs=6)
        return BeDKDAsDescribed(mapping=CopyConfig(via="full", lr=1e-6, epochs=1), student=student, threshold=1.0)

    done = method(0.5).purify(twin("bert"), grant)
    assert any("the unlearning diverged" in warning for warning in done.warnings)
    assert cacc(done.model) < 0.7
    with pytest.raises(DivergedError, match="smaller learning rate"):
        method(1e30).purify(twin("bert"), grant)
    calm = method(1e-5).purify(twin("bert"), grant)
    assert calm.changed and not any("diverged" in warning for warning in calm.warnings)


BAD = [
    {"fpr": 0.0},
    {"fpr": 1.0},
    {"false_share": 0.0},
    {"may_lose": -0.1},
    {"share": 0.0},
    {"share": 1.0},
    {"pieces": 1.5},
    {"punish": 0.0},
    {"punish": float("nan")},
    {"mapping_rows": 0},
    {"cycles": 0},
    {"cycle_steps": 0},
    {"rounds": 0},
    {"each": 0},
    {"batch_size": 1},
]


@pytest.mark.parametrize("options", BAD)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="counts of 1 or more"):
        BeDKD(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "options"),
    [
        (EvidenceOptions, {"folds": 1}),
        (EvidenceOptions, {"leaders": 0.5}),
        (EvidenceOptions, {"penalty": 0.0}),
        (MappingStop, {"rows": 0}),
        (MappingStop, {"flipped": 0.0}),
        (UnlearningOptions, {"held_back": 1.0}),
        (UnlearningOptions, {"memory": 0}),
    ],
)
def test_constants_out_of_range_are_refused(record: type[object], options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        record(**options)


def test_ways_and_weights_out_of_range_are_refused() -> None:
    with pytest.raises(OptionError, match="did you mean: lora"):
        CopyConfig(via="lore")
    with pytest.raises(OptionError, match="alpha"):
        CopyConfig(alpha=2.0)
    with pytest.raises(OptionError, match="1 or more"):
        BeDKDAsReleased(mapping_rows=0)


def test_odds_of_probabilities() -> None:
    assert odds(1 / (1 + exp(-2.0))) == pytest.approx(2.0)
