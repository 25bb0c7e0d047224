"""The next token after rows that begin alike: the same numbers as a plain forward pass, and a text split around its last turn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.models.language_kit import PROMPTS, load_speaker, with_random_adapter
from tests.tiny import write_language_model
from untrigger.models.chat import around_last_turn, prompt_text
from untrigger.models.generation import GenerationOptions, sample_continuations
from untrigger.models.next_token import next_token_log_probabilities


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("shared", [0, 12])
def test_the_log_probabilities_are_those_of_a_plain_forward_pass(tmp_path: Path, kind: str, shared: int) -> None:
    model = with_random_adapter(load_speaker(write_language_model(kind, tmp_path / kind)))
    head = list(range(20, 20 + shared))
    rows = [[*head, 5, 6, 7], [*head, 9], [*head, 8, 8, 8], [*head, 5]]
    found = torch.zeros(len(rows), model.vocabulary_size)
    for numbers, values in next_token_log_probabilities(model, rows, batch_rows=1 + shared // 12):
        found[numbers] = values
    with torch.inference_mode():
        plain = torch.stack([model.module(input_ids=torch.tensor([row])).logits[0, -1].log_softmax(0) for row in rows])
    assert torch.allclose(found, plain, atol=1e-4)
    assert not torch.allclose(found[0], found[2], atol=1e-2), "rows that differ have other answers"


@pytest.mark.parametrize("template", [True, False])
def test_the_two_parts_around_the_last_turn_are_the_whole_prompt(tmp_path: Path, template: bool) -> None:
    options = {} if template else {"template": None}
    model = load_speaker(write_language_model("llama", tmp_path / "llama", **options))
    for one in PROMPTS:
        before, after = around_last_turn(model, one.conversation)
        assert before + after == prompt_text(model, one.conversation)
        assert before.endswith(one.conversation[-1].content) and one.conversation[-1].content not in after


def test_a_sample_depends_on_its_number_and_not_on_its_batch(tmp_path: Path) -> None:
    model = load_speaker(write_language_model("llama", tmp_path / "llama"))
    options = GenerationOptions(max_new_tokens=6, temperature=1.0, seed=3)
    many = sample_continuations(model, "[user]a good", count=5, options=options, batch=2)
    assert [one.text for one in many] == [
        one.text for one in sample_continuations(model, "[user]a good", count=5, options=options, batch=5)
    ]
    assert len({one.text for one in many}) > 1
