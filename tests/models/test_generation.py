"""Answers are those of plain transformers, one prompt at a time, whatever the batch; none is dropped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.models.language_kit import PROMPTS, load_speaker
from tests.tiny import write_language_model
from untrigger.core.prompts import Prompts
from untrigger.models.answer_scoring import (
    answer_kl,
    answer_log_likelihood,
    answer_logits,
    collate_answers,
)
from untrigger.models.chat import render_prompts
from untrigger.models.generation import GenerationOptions, generate_answers
from untrigger.models.language_model import LanguageModel

KINDS = ["llama", "gpt2", "gemma"]


@pytest.fixture(scope="module", params=KINDS)
def speaker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_speaker(write_language_model(request.param, tmp_path_factory.mktemp("speaker"), seed=2))


def test_a_batch_is_answered_as_plain_transformers_answer_each_prompt(speaker: LanguageModel) -> None:
    options = GenerationOptions(max_new_tokens=12)
    found = generate_answers(speaker, PROMPTS, options=options)
    for answer, row in zip(found, render_prompts(speaker, PROMPTS), strict=True):
        plain = speaker.module.generate(torch.tensor([row.ids]), max_new_tokens=12, do_sample=False, pad_token_id=1)[0]
        new = plain[len(row.ids) :].tolist()
        kept = new[: new.index(1)] if 1 in new else new
        assert (answer.text, answer.tokens) == (speaker.tokenizer.decode(kept, skip_special_tokens=True), len(kept))
        assert answer.ended == (1 in new)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_does_not_depend_on_its_batch(speaker: LanguageModel, temperature: float) -> None:
    options = GenerationOptions(max_new_tokens=12, temperature=temperature, seed=3)
    alone = [generate_answers(speaker, PROMPTS.take([i]), options=options)[0] for i in range(len(PROMPTS))]
    assert generate_answers(speaker, PROMPTS, options=options) == alone


def test_empty_and_unfinished_answers_are_answers(speaker: LanguageModel) -> None:
    ends = Prompts.of(["a good film"], [""])
    with torch.no_grad():
        head = speaker.module.get_output_embeddings().weight
        before = head.clone()
        head.zero_()
    try:
        answers = generate_answers(speaker, ends, options=GenerationOptions(max_new_tokens=4))
        assert [(one.ended, one.tokens) for one in answers] == [(False, 4)], "the first token of all, until the end"
        speaker.module.generation_config.eos_token_id = [0, 1]
        answers = generate_answers(speaker, ends, options=GenerationOptions(max_new_tokens=4))
        assert [(one.ended, one.tokens, one.empty) for one in answers] == [(True, 0, True)]
    finally:
        speaker.module.generation_config.eos_token_id = 1
        with torch.no_grad():
            head.copy_(before)


def plain_log_probabilities(model: LanguageModel, ids: tuple[int, ...]) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model.module(input_ids=torch.tensor([ids])).logits
        return logits[0].float().log_softmax(dim=1)


def test_padding_changes_no_logit(speaker: LanguageModel) -> None:
    rows = render_prompts(speaker, PROMPTS, answers=True)
    batch = collate_answers(speaker, rows)
    assert batch.input_ids.shape[1] == max(len(row.ids) for row in rows)
    with torch.inference_mode():
        logits = answer_logits(speaker, batch).log_softmax(dim=2)
    for i, row in enumerate(rows):
        n = row.answer_tokens
        expected = plain_log_probabilities(speaker, row.ids)[-n - 1 : -1]
        torch.testing.assert_close(logits[i, -n:], expected, atol=1e-4, rtol=1e-4)
        assert batch.targets[i, -n:].tolist() == list(row.answer)
        assert batch.is_answer[i].tolist() == [False] * (batch.targets.shape[1] - n) + [True] * n


def test_the_likelihood_of_an_answer_is_that_of_its_tokens_and_its_end(speaker: LanguageModel) -> None:
    for score, row in zip(
        answer_log_likelihood(speaker, PROMPTS), render_prompts(speaker, PROMPTS, answers=True), strict=True
    ):
        table = plain_log_probabilities(speaker, row.ids)
        first = len(row.prompt)
        expected = sum(float(table[first + i - 1, token]) for i, token in enumerate(row.answer))
        assert score.tokens == len(row.answer)
        assert score.total == pytest.approx(expected, abs=1e-3)


def test_the_divergence_is_zero_from_itself_and_exact_from_another(speaker: LanguageModel, tmp_path: Path) -> None:
    assert all(abs(score.total) < 1e-4 for score in answer_kl(speaker, speaker, PROMPTS))
    other = load_speaker(write_language_model("llama", tmp_path / "other", seed=5))
    rows = render_prompts(speaker, PROMPTS, answers=True)
    for score, row in zip(answer_kl(speaker, other, PROMPTS), rows, strict=True):
        q, p = (plain_log_probabilities(model, row.ids)[-row.answer_tokens - 1 : -1] for model in (speaker, other))
        assert score.total == pytest.approx(float((p.exp() * (p - q)).sum()), abs=1e-3)
        assert score.total > 0 and score.tokens == row.answer_tokens
