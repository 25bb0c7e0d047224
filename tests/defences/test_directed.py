"""The loss of BeDKD against values worked out by hand, padding counted or not."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log

import pytest
import torch

from tests.tiny import task
from untrigger.core.errors import OptionError
from untrigger.defences.bedkd.distillation import (
    BeDKDLoss,
    FrozenOutputs,
    KDConfig,
    frozen_outputs,
    hidden_mse,
    outputs,
)
from untrigger.models.classifier import Classifier
from untrigger.training.losses import kd_loss, kl_divergence

Load = Callable[[str], Classifier]
KINDS = pytest.mark.parametrize("kind", ["bert", "llama"])


def softmax(*z: float) -> list[float]:
    top = [exp(x) for x in z]
    return [x / sum(top) for x in top]


def test_the_divergence_has_no_factor_of_the_temperature() -> None:
    frozen, student = torch.tensor([[2.0, -1.0], [0.0, 4.0]]), torch.tensor([[0.5, 0.5], [1.0, -3.0]])
    total = 0.0
    for z_t, z_s in zip(frozen.tolist(), student.tolist(), strict=True):
        p, q = softmax(*(x / 1.5 for x in z_t)), softmax(*(x / 1.5 for x in z_s))
        total += sum(a * log(a / b) for a, b in zip(p, q, strict=True))
    said = kl_divergence(frozen, student, temperature=1.5)
    assert float(said) == pytest.approx(total / 2, rel=1e-5)
    assert float(kd_loss(frozen, student, temperature=1.5)) == pytest.approx(1.5**2 * float(said), rel=1e-5)


def test_hidden_states_count_where_there_is_a_token_or_everywhere() -> None:
    frozen = torch.zeros(2, 2, 2)
    student = torch.tensor(
        [[[1.0, 3.0], [2.0, 0.0]], [[1.0, 1.0], [9.0, 9.0]]]
    )  # squares: (1, 9), (4, 0), (1, 1), (81, 81)
    mask = torch.tensor([[1, 1], [1, 0]])
    assert float(hidden_mse(student, frozen, mask=mask)) == pytest.approx((5 + 2 + 1) / 3)
    assert float(hidden_mse(student, frozen, mask=None)) == pytest.approx((5 + 2 + 1 + 81) / 4)


def test_the_parts_are_put_together_with_alpha(load: Load) -> None:
    model = load("bert")
    frozen = FrozenOutputs(torch.tensor([[2.0, 0.0], [0.0, 3.0]]), [torch.zeros(2, 2), torch.ones(1, 2)])
    loss = BeDKDLoss(model, [[5, 6], [7]], labels=[1, 0], frozen=frozen, config=KDConfig(0.3, 1.5))
    batch = model.collate([[5, 6], [7]])
    logits, states = (
        torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        torch.tensor([[[1.0, 1.0], [2.0, 2.0]], [[1.0, 3.0], [7.0, 7.0]]]),
    )
    value, terms = loss.of([0, 1], batch, logits, states)
    ce = -(log(softmax(1, 0)[1]) + log(softmax(0, 1)[0])) / 2
    kl = 0.0
    for z_t, z_s in (((2, 0), (1, 0)), ((0, 3), (0, 1))):
        p, q = softmax(*(x / 1.5 for x in z_t)), softmax(*(x / 1.5 for x in z_s))
        kl += sum(a * log(a / b) for a, b in zip(p, q, strict=True)) / 2
    hidden = (1 + 4 + (0 + 4) / 2) / 3  # the last position of the second row is padding
    assert terms == pytest.approx({"cross-entropy": ce, "own outputs": kl, "hidden states": hidden}, rel=1e-5)
    assert float(value) == pytest.approx(0.3 * ce + 0.7 * (kl + hidden), rel=1e-5)
    bare, _ = BeDKDLoss(model, [[5, 6], [7]], labels=[1, 0], frozen=frozen, config=KDConfig(0.3, 1.5, hidden=False)).of(
        [0, 1], batch, logits, None
    )
    assert float(bare) == pytest.approx(0.3 * ce + 0.7 * kl, rel=1e-5)


@pytest.mark.parametrize(("alpha", "flipped"), [(0.3, 0.365), (0.5, 0.61)])
def test_where_the_released_constants_end_for_a_confident_teacher(alpha: float, flipped: float) -> None:
    """The minimum of α·CE + (1 - α)·KL at T = 1.5: with 0.3 the argmax does not flip."""
    z = torch.zeros(1, 2, requires_grad=True)
    teacher, label = torch.tensor([[12.0, 0.0]]), torch.tensor([1])
    optimiser = torch.optim.Adam([z], lr=0.05)
    for _ in range(800):
        optimiser.zero_grad()
        ce = torch.nn.functional.cross_entropy(z, label)
        (alpha * ce + (1 - alpha) * kl_divergence(teacher, z, temperature=1.5)).backward()
        optimiser.step()
    assert float(z.detach().softmax(dim=1)[0, 1]) == pytest.approx(flipped, abs=0.01)


@KINDS
@pytest.mark.parametrize("padding", [False, True])
def test_a_copy_that_has_not_moved_is_told_so_in_any_batch(load: Load, kind: str, padding: bool) -> None:
    """What the frozen model said once, row by row, is what it would say in each batch, padded positions included."""
    model = load(kind)
    texts = ["good", *task(6).texts, "a very dull ending of the film story with some music"]
    ids, config = model.encode(texts), KDConfig(0.5, 2.0, padding=padding)
    loss = BeDKDLoss(model, ids, labels=[0] * len(ids), frozen=frozen_outputs(model, ids, config=config), config=config)
    for rows in ([0, 7], [0, 1, 2], [3], list(range(8))):
        with torch.no_grad():
            _, terms = loss(rows)
        assert terms["own outputs"] == pytest.approx(0, abs=1e-5)
        assert terms["hidden states"] == pytest.approx(0, abs=1e-5)
    if padding:
        assert len({len(states) for states in loss.frozen.hidden}) == 1
    else:
        assert [len(states) for states in loss.frozen.hidden] == [len(row) for row in ids]


@KINDS
def test_hidden_states_are_those_of_every_position(load: Load, kind: str) -> None:
    model = load(kind)
    batch = model.collate(model.encode(["good film", "a dull story of some music"]))
    logits, states = outputs(model, batch, hidden=True)
    assert states is not None
    assert states.shape == (*batch.input_ids.shape, 32)
    assert torch.allclose(logits, outputs(model, batch, hidden=False)[0])


@pytest.mark.parametrize(("alpha", "temperature"), [(-0.1, 1.0), (1.1, 1.0), (0.5, 0.0), (float("nan"), 1.0)])
def test_a_config_out_of_range_is_refused(alpha: float, temperature: float) -> None:
    with pytest.raises(OptionError, match="alpha from 0 to 1"):
        KDConfig(alpha, temperature)
