"""Training on answers learns the answer and its end, and nothing of the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.models.language_kit import PROMPTS, load_speaker
from tests.tiny import write_language_model
from untrigger.core.prompts import Prompts
from untrigger.models.adapters import AdapterOptions
from untrigger.models.answer_scoring import AnswerBatch, answer_logits, collate_answers, token_kl
from untrigger.models.chat import render_prompts
from untrigger.models.generation import GenerationOptions, generate_answers
from untrigger.models.language_adapters import attach_to_language_model
from untrigger.models.language_model import LanguageModel
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
