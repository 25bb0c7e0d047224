"""Training on answers learns the answer and its end, and nothing of the prompt."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.models.language_kit import PROMPTS, load_speaker
from tests.tiny import write_language_model
from untrigger.core.prompts import Prompts
from untrigger.models import answer_scoring
from untrigger.models.adapters import AdapterOptions
from untrigger.models.answer_scoring import AnswerBatch, answer_batches, answer_logits, collate_answers, token_kl
from untrigger.models.chat import render_prompts
from untrigger.models.generation import GenerationOptions, generate_answers
from untrigger.models.language_adapters import attach_to_language_model
from untrigger.models.language_model import LanguageModel
from untrigger.training import answer_training
from untrigger.training.answer_training import fine_tune_answers, row_mean
from untrigger.training.loop import Plan

PLAN = Plan(lr=0.03, epochs=60, batch_size=3, weight_decay=0.0)


@pytest.fixture
def base(tmp_path: Path) -> LanguageModel:
    model = load_speaker(write_language_model("llama", tmp_path / "base"))
    with torch.no_grad():
        model.module.get_output_embeddings().weight.mul_(
            20
        )  # random weights give no token a high probability otherwise
    return model


def adapted(base: LanguageModel, *, rank: int = 8) -> LanguageModel:
    return attach_to_language_model(base, AdapterOptions(rank=rank), generator=torch.Generator().manual_seed(0))


def test_answers_and_their_ends_are_learned_and_the_base_is_left_alone(base: LanguageModel) -> None:
    before = {name: value.clone() for name, value in base.module.state_dict().items()}
    model = adapted(base)
    history = fine_tune_answers(model, PROMPTS, plan=PLAN, seed=0)
    assert history.losses[-1] < 0.1 < history.losses[0]
    found = generate_answers(model, PROMPTS, options=GenerationOptions(max_new_tokens=12))
    assert [answer.text for answer in found] == list(PROMPTS.answers)
    assert all(answer.ended for answer in found)
    assert all(torch.equal(value, before[name]) for name, value in base.module.state_dict().items())
    assert not model.module.training


def test_the_loss_is_the_mean_over_rows_of_plain_transformers_loss_on_the_answer(base: LanguageModel) -> None:
    history = fine_tune_answers(adapted(base), PROMPTS, plan=Plan(lr=1e-9, batch_size=3), seed=0)
    losses = []
    for row in render_prompts(base, PROMPTS, answers=True):
        labels = torch.tensor([[-100] * len(row.prompt) + list(row.answer)])
        losses.append(float(base.module(input_ids=torch.tensor([row.ids]), labels=labels).loss.detach()))
    assert history.losses == [pytest.approx(sum(losses) / len(losses), abs=1e-4)]


def test_the_gradient_does_not_depend_on_micro_batches(base: LanguageModel) -> None:
    made = [adapted(base), adapted(base)]
    for model, size in zip(made, (0, 1), strict=True):
        fine_tune_answers(model, PROMPTS, plan=Plan(lr=0.01, epochs=3, batch_size=3, micro_batch=size), seed=0)
    for (name, left), (_, right) in zip(*(model.module.named_parameters() for model in made), strict=True):
        torch.testing.assert_close(left, right, atol=2e-3, rtol=1e-2, msg=name)


@pytest.mark.parametrize("bound", ["tokens", "logits"])
def test_a_step_in_bounded_backward_passes_has_the_gradient_of_the_whole_step(
    base: LanguageModel, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """Rows and answers of very different lengths, so that a mean over tokens or over parts would differ."""
    mixed = Prompts.of(
        ["a", "a good film of this story " * 3, "dull", "the plot " * 9, "ugly scene"],
        ["bad awful dull music " * 4, "good", "bad", "fine", "with music and light"],
    )
    parts: list[int] = []

    def gradients() -> dict[str, Tensor]:
        model = base.with_module(copy.deepcopy(base.module).requires_grad_(True))
        kept = {name: torch.zeros_like(value) for name, value in model.module.named_parameters()}
        for name, value in model.module.named_parameters():
            value.register_hook(lambda gradient, name=name: kept[name].add_(gradient))
        parts.clear()
        fine_tune_answers(model, mixed, plan=Plan(lr=1e-3, batch_size=5), seed=0, extra_loss=counted)
        return kept

    def counted(numbers: Sequence[int], _batch: AnswerBatch, logits: Tensor) -> Tensor:
        parts.append(len(numbers))
        return 0.0 * logits.sum()

    whole = gradients()
    assert parts == [5]
    if bound == "tokens":
        monkeypatch.setattr(answer_training, "BACKWARD_TOKENS", 64)
    else:
        monkeypatch.setattr(answer_scoring, "LARGEST_LOGITS", 8 * base.vocabulary_size)
    bounded = gradients()
    assert len(parts) > 1 and sum(parts) == 5
    for name, value in whole.items():
        torch.testing.assert_close(bounded[name], value, atol=1e-5, rtol=1e-4, msg=name)
    assert max(float(value.abs().max()) for value in whole.values()) > 1e-2, "there is a gradient to compare"


def test_batches_of_answers_are_bounded_in_tokens_logits_and_rows(
    base: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = Prompts.of(["story " * (1 + i % 7) for i in range(30)], ["good " * (1 + 5 * (i % 4)) for i in range(30)])
    rows = render_prompts(base, prompts, answers=True)
    monkeypatch.setattr(answer_scoring, "LARGEST_LOGITS", 48 * base.vocabulary_size)
    batches = list(answer_batches(base, rows, tokens=150, most_rows=4))
    assert sorted(i for batch in batches for i in batch) == list(range(30))
    for batch in batches:
        made = collate_answers(base, [rows[i] for i in batch])
        assert made.input_ids.numel() <= 150 and made.targets.numel() <= 48 and len(batch) <= 4


def test_an_extra_term_alone_distils_another_models_answers(base: LanguageModel) -> None:
    teacher, student = adapted(base), adapted(base, rank=4)
    fine_tune_answers(teacher, PROMPTS, plan=PLAN, seed=0)
    rows = render_prompts(base, PROMPTS, answers=True)

    def distance() -> float:
        batch = collate_answers(base, rows)
        with torch.no_grad():
            return float(row_mean(token_kl(answer_logits(student, batch), answer_logits(teacher, batch), batch), batch))

    def term(numbers: Sequence[int], batch: AnswerBatch, logits: Tensor) -> Tensor:
        assert batch.targets.shape[0] == len(numbers)
        with torch.no_grad():
            expected = answer_logits(teacher, batch)
        return row_mean(token_kl(logits, expected, batch), batch)

    before = distance()
    history = fine_tune_answers(student, PROMPTS, plan=PLAN, seed=0, extra_loss=term, cross_entropy_weight=0)
    assert distance() < before / 10
    assert history.losses[0] == pytest.approx(history.terms[0]["extra"])


def test_a_prompt_is_cut_where_it_does_not_fit_with_its_answer(base: LanguageModel) -> None:
    long = Prompts.of([" ".join(["story"] * 300)], ["good"])
    assert fine_tune_answers(adapted(base), long, plan=Plan(lr=0.01), seed=0).steps == 1


def test_full_weights_are_trained_where_there_is_no_adapter(base: LanguageModel) -> None:
    base.module.requires_grad_(True)
    history = fine_tune_answers(base, PROMPTS, plan=Plan(lr=0.01, epochs=20, batch_size=3), seed=0)
    assert history.losses[-1] < history.losses[0] / 2
