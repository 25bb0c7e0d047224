"""Calibration takes a lean back and leaves the order of texts alone."""

from __future__ import annotations

import torch
from torch.nn import functional

from untrigger.training.vector_scaling import fit_vector_scaling


def honest(count: int, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose softmax is the true chance of each of three classes, and labels drawn by it."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 3, generator=generator) * 2
    return logits, torch.multinomial(logits.softmax(dim=1), 1, generator=generator).squeeze(1)


def test_honest_logits_stay_what_they_are() -> None:
    logits, labels = honest(4000)
    found = fit_vector_scaling(logits, labels)
    assert abs(float(found.scale) - 1) < 0.1
    assert float(found.bias.abs().max()) < 0.15


def test_a_lean_and_too_much_confidence_are_taken_back() -> None:
    logits, labels = honest(4000)
    leaning = 3 * logits + torch.tensor([0.0, 0.0, 2.4])
    mended = fit_vector_scaling(leaning, labels)(leaning)
    assert functional.cross_entropy(leaning, labels) > 1.5 * functional.cross_entropy(logits, labels)
    torch.testing.assert_close(mended.softmax(dim=1), logits.softmax(dim=1), atol=0.05, rtol=0)


def test_a_clean_models_lean_is_left_alone() -> None:
    logits, labels = honest(4000)
    leaning = 3 * logits + torch.tensor([0.0, 0.0, 2.4])
    found = fit_vector_scaling(leaning, labels, fit_bias=False)
    torch.testing.assert_close(found.bias, torch.zeros(3))
    assert float(found.scale) < 0.5, "its confidence is not"


def test_few_rows_that_are_all_right_do_not_blow_it_up() -> None:
    found = fit_vector_scaling(torch.tensor([[3.0, -3.0], [-3.0, 3.0]]), torch.tensor([0, 1]))
    assert 0.5 < float(found.scale) < 3
    torch.testing.assert_close(found.bias, torch.zeros(2), atol=1e-3, rtol=0)


def test_without_rows_nothing_is_changed() -> None:
    found = fit_vector_scaling(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), fit_bias=False)
    logits = torch.randn(4, 3)
    assert torch.equal(found(logits), logits)
