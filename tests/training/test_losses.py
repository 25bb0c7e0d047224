"""Distillation losses against values worked out by hand, and batches that hold each row once."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from untrigger.runtime.batching import packed, shuffled_batches
from untrigger.training.losses import feature_alignment, kd_loss, released_alignment


def softmax(*z: float) -> list[float]:
    top = [exp(x) for x in z]
    return [x / sum(top) for x in top]


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_kd_loss_by_hand(temperature: float) -> None:
    teacher, student = [[2.0, -1.0], [0.0, 4.0]], [[0.5, 0.5], [1.0, -3.0]]
    total = 0.0
    for z_t, z_s in zip(teacher, student, strict=True):
        p, q = (softmax(*(x / temperature for x in z)) for z in (z_t, z_s))
        total += sum(a * log(a / b) for a, b in zip(p, q, strict=True))
    said = kd_loss(torch.tensor(teacher), torch.tensor(student), temperature=temperature)
    assert float(said) == pytest.approx(temperature**2 * total / 2, rel=1e-5)


def test_kd_loss_of_equals_is_nothing_and_shifts_do_not_count() -> None:
    z = torch.tensor([[3.0, -2.0, 0.5]])
    assert float(kd_loss(z, z + 7, temperature=2.0)) == pytest.approx(0, abs=1e-6)


def test_the_teacher_gets_no_say_in_its_own_gradient_unless_asked() -> None:
    teacher, student = torch.zeros(1, 2), torch.ones(1, 2, requires_grad=True)
    (kd_loss(teacher, student, temperature=2.0) + feature_alignment(teacher, student)).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_alignment_is_a_sum_over_the_width_and_a_mean_over_the_batch() -> None:
    teacher = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    student = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert float(feature_alignment(teacher, student)) == pytest.approx((5 + 25) / 2)


def test_released_alignment_pulls_all_positions_towards_the_last_teacher_row() -> None:
    """As released: the first teacher row has no say, and padding counts."""
    teacher = torch.tensor([[100.0, 100.0], [1.0, 0.0]])
    student = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [0.0, 0.0]], [[1.0, 2.0], [1.0, 0.0], [9.0, 0.0]]])
    by_hand = (0 + 1 + 1 + 4 + 0 + 64) / 6
    assert float(released_alignment(teacher, student)) == pytest.approx(by_hand)
    assert float(released_alignment(teacher * torch.tensor([[7.0], [1.0]]), student)) == pytest.approx(by_hand)
    assert float(released_alignment(teacher, student[:, 0])) == pytest.approx((0 + 4) / 2)


LENGTHS = st.lists(st.integers(1, 200), max_size=300)


@given(lengths=LENGTHS, size=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_every_row_is_in_exactly_one_training_batch(lengths: list[int], size: int, seed: int) -> None:
    batches = shuffled_batches(lengths, size=size, rng=np.random.default_rng(seed))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // size)
    assert all(0 < len(batch) <= size for batch in batches)
    assert batches == shuffled_batches(lengths, size=size, rng=np.random.default_rng(seed))


@given(lengths=LENGTHS, tokens=st.integers(1, 4096))
def test_every_row_is_read_once_within_the_bound(lengths: list[int], tokens: int) -> None:
    batches = list(packed(lengths, tokens=tokens))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= tokens


def test_packing_by_length_saves_most_of_the_padding() -> None:
    rng = np.random.default_rng(0)
    lengths = [int(n) for n in rng.integers(5, 60, size=512)]

    def padded(batches: list[list[int]]) -> int:
        return sum(len(b) * max(lengths[i] for i in b) for b in batches)

    plain = [list(range(i, i + 32)) for i in range(0, 512, 32)]
    assert padded(shuffled_batches(lengths, size=32, rng=rng)) < 0.7 * padded(plain)
    assert padded(list(packed(lengths, tokens=2048))) < 1.2 * sum(lengths)
