"""Bounded decoding: the arithmetic by hand, and what it does where both models agree and where they do not."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.models.language_kit import PROMPTS, load_speaker, with_random_adapter
from tests.tiny import write_language_model
from untrigger.core.errors import ModelError, OptionError
from untrigger.models.bounded_generation import generate_bounded
from untrigger.models.chat import render_prompts
from untrigger.models.generation import GenerationOptions, generate_answers
from untrigger.models.language_model import LanguageModel

OPTIONS = GenerationOptions(max_new_tokens=8)


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def speaker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_speaker(write_language_model(request.param, tmp_path_factory.mktemp("speaker"), seed=2))


def test_a_model_bounded_by_itself_answers_as_it_does_alone(speaker: LanguageModel) -> None:
    found = generate_bounded(speaker, speaker, PROMPTS, bound=1.0, options=OPTIONS)
    assert [one.answer for one in found] == generate_answers(speaker, PROMPTS, options=OPTIONS)
    assert all(abs(share) < 1e-5 for one in found for share in one.rejected)
    assert all(len(one.rejected) == one.answer.tokens + one.answer.ended for one in found)


def test_each_token_is_the_most_likely_one_under_the_smaller_of_both(speaker: LanguageModel) -> None:
    other = with_random_adapter(speaker, seed=3)
    found = generate_bounded(other, speaker, PROMPTS, bound=1.5, options=OPTIONS)
    for row, one in zip(render_prompts(speaker, PROMPTS, room=8), found, strict=True):
        ids, texts = list(row.ids), list[int]()
        for share in one.rejected:
            with torch.inference_mode():
                own, clean = (
                    m.module(input_ids=torch.tensor([ids])).logits[0, -1].softmax(0) for m in (other, speaker)
                )
            allowed = torch.minimum(own, 1.5 * clean)
            assert share == pytest.approx(1 - float(allowed.sum()), abs=1e-4)
            ids.append(int(allowed.argmax()))
            texts.append(ids[-1])
        assert speaker.tokenizer.decode(texts, skip_special_tokens=True) == one.answer.text


@pytest.mark.parametrize(("bound", "temperature"), [(0.5, 0.0), (math.nan, 0.0), (20.0, 0.7)])
def test_a_bound_below_one_and_a_temperature_are_refused(
    speaker: LanguageModel, bound: float, temperature: float
) -> None:
    with pytest.raises(OptionError, match="expected: a bound of at least 1"):
        generate_bounded(speaker, speaker, PROMPTS, bound=bound, options=GenerationOptions(temperature=temperature))


def test_models_with_different_vocabularies_are_refused(speaker: LanguageModel, tmp_path: Path) -> None:
    other = load_speaker(write_language_model("llama", tmp_path / "other"))
    other.module.resize_token_embeddings(other.vocabulary_size + 3)
    with pytest.raises(ModelError, match="two models with one tokenizer"):
        generate_bounded(speaker, other, PROMPTS, bound=20.0, options=OPTIONS)
