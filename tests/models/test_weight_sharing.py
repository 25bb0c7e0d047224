"""Copies that share their weights: one set of base weights in memory, and nobody's answers changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.tiny import same, task, weights
from untrigger.models import inference as predict
from untrigger.models.adapter_merging import merge_adapter
from untrigger.models.adapters import AdapterOptions, attach
from untrigger.models.classifier import Classifier
from untrigger.models.inference import as_bfloat16, predict_texts
from untrigger.models.weight_sharing import LinearWithFixedLoRA, merge_updates, shared_copy
from untrigger.training.loop import Plan
from untrigger.training.supervised import fine_tune

Load = Callable[[str], Classifier]
ROWS = task(32)
BOTH = ("q_proj", "v_proj")


def said(model: Classifier) -> torch.Tensor:
    return predict_texts(model, ROWS.texts[:8]).logits


def held(models: Iterable[Classifier]) -> int:
    """Bytes of all weights of all models, storage that several of them share counted once."""
    tensors = [t for model in models for t in (*model.module.parameters(), *model.module.buffers())]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def adapted(load: Load, kind: str, *, targets: tuple[str, ...] = ("all-linear",)) -> Classifier:
    """A model that came as a trained LoRA adapter."""
    model = attach(load(kind), AdapterOptions(rank=2, targets=targets))
    fine_tune(model, ROWS, plan=Plan(lr=0.02, epochs=2, batch_size=8), seed=0)
    return replace(model, source=replace(model.source, kind="adapter"))


def test_an_updated_layer_by_hand() -> None:
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        layer.bias.copy_(torch.tensor([0.5, -0.5]))
    own = LinearWithFixedLoRA(layer, torch.tensor([[1.0, -1.0]]), torch.tensor([[2.0], [10.0]]))
    x = torch.tensor([[3.0, 1.0]])  # W x = (5, 13); A x = 2; B A x = (4, 20)
    assert own(x).tolist() == [[9.5, 32.5]]
    assert own.weight is layer.weight
    assert own.to_linear()(x).tolist() == [[9.5, 32.5]]
    assert layer.weight.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    whole = merge_updates(nn.Sequential(own))
    assert type(whole[0]) is nn.Linear  # type: ignore[index]


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
def test_a_shell_holds_no_weights_of_its_own_and_says_the_same(load: Load, kind: str) -> None:
    model = load(kind)
    flags = [p.requires_grad for p in model.module.parameters()]
    copies = [model.with_module(shared_copy(model.module)) for _ in range(3)]
    assert held([model, *copies]) == held([model])
    assert all(torch.equal(said(one), said(model)) for one in copies)
    assert not any(p.requires_grad for one in copies for p in one.module.parameters())
    assert [p.requires_grad for p in model.module.parameters()] == flags


@pytest.mark.parametrize(("kind", "targets"), [("llama", BOTH), ("llama", ("all-linear",)), ("bert", ("all-linear",))])
@pytest.mark.parametrize("loaded", [True, False])
def test_two_students_and_their_victim_hold_one_set_of_weights(
    load: Load, kind: str, targets: tuple[str, ...], loaded: bool
) -> None:
    victim = adapted(load, kind, targets=targets) if loaded else load(kind)
    before = weights(victim)
    one, two = (attach(victim, AdapterOptions(rank=2)) for _ in range(2))
    torch.testing.assert_close(said(one), said(victim), atol=1e-5, rtol=1e-4)
    own = sum(p.numel() * 4 for student in (one, two) for p in student.module.parameters() if p.requires_grad)
    scaled = sum(b.nelement() * 4 for n, b in one.module.named_buffers() if n.endswith("update_b"))  # B with its scale
    assert held([victim, one, two]) <= held([victim]) + own + 2 * scaled
    assert held([victim, one, two]) < 1.5 * held([victim]), (
        "adapters of a tiny model weigh a lot; whole copies would be 3"
    )
    fine_tune(one, ROWS, plan=Plan(lr=0.05, epochs=1, batch_size=8), seed=0)
    assert same(weights(victim), before)
    assert (said(one) - said(two)).abs().max() > 1e-3, "nothing was trained"
    torch.testing.assert_close(said(two), said(victim), atol=1e-5, rtol=1e-4)


def test_merging_a_student_of_an_adapter_leaves_the_shared_weights(load: Load) -> None:
    victim = adapted(load, "llama", targets=BOTH)
    before = weights(victim)
    student = attach(victim, AdapterOptions(rank=2))
    fine_tune(student, ROWS, plan=Plan(lr=0.05, epochs=1, batch_size=8), seed=0)
    whole = merge_adapter(student)
    torch.testing.assert_close(said(whole), said(student), atol=1e-4, rtol=1e-3)
    assert not any(isinstance(layer, LinearWithFixedLoRA) for layer in whole.module.modules())
    assert same(weights(victim), before)


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("fitted", [False, True])
def test_a_rounded_copy_says_nearly_the_same_and_rounds_nobody_else(
    victim: Load, monkeypatch: pytest.MonkeyPatch, kind: str, fitted: bool
) -> None:
    model = attach(victim(kind), AdapterOptions(rank=2)) if fitted else victim(kind)
    before, exact = weights(model), said(model)
    assert as_bfloat16(model) is model, "where rounding is off, nothing is copied"
    monkeypatch.setattr(predict, "bf16_ok", lambda: True)
    other = as_bfloat16(model)
    assert {p.dtype for p in other.module.parameters()} == {torch.bfloat16}
    near = predict_texts(other, ROWS.texts[:8]).logits
    assert near.dtype == torch.float32
    assert not torch.equal(near, exact)
    assert torch.allclose(near, exact, atol=0.1, rtol=0.03)
    assert same(weights(model), before)
    assert torch.equal(said(model), exact)
