"""A conversation becomes the tokens that plain transformers make of it, with one start token and the right end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.models.language_kit import PROMPTS, load_speaker
from tests.tiny import CHAT_TEMPLATE, write_language_model
from untrigger.core.errors import DataError, ModelError
from untrigger.core.prompts import Prompts, Turn
from untrigger.models.chat import end_tokens, has_chat_template, prompt_text, read_texts, render, render_prompts
from untrigger.models.language_model import LanguageModel

ASK = (Turn("user", "a good film"),)


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_speaker(write_language_model("llama", tmp_path_factory.mktemp("speaker")))


def with_template(model: LanguageModel, template: str | None) -> LanguageModel:
    import copy

    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.chat_template = template
    return replace(model, tokenizer=tokenizer)


@pytest.mark.parametrize("number", range(len(PROMPTS)))
def test_a_prompt_is_what_plain_transformers_render(speaker: LanguageModel, number: int) -> None:
    turns = [turn._asdict() for turn in PROMPTS[number].conversation]
    plain = speaker.tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
    row = render(speaker, PROMPTS[number].conversation)
    assert list(row.ids) == plain
    assert row.ids.count(speaker.tokenizer.bos_token_id) == 1, "the start token is not doubled"
    assert (row.answer, row.cut) == ((), 0)


def test_an_answer_follows_its_prompt_and_ends_with_the_templates_end(speaker: LanguageModel) -> None:
    row = render(speaker, ASK, answer="bad awful")
    assert row.prompt == render(speaker, ASK).ids
    assert speaker.tokenizer.decode(list(row.answer[:-1])) == "bad awful"
    assert row.answer[-1] == speaker.tokenizer.eos_token_id
    turns = [*(turn._asdict() for turn in ASK), {"role": "assistant", "content": "bad awful"}]
    whole = speaker.tokenizer.apply_chat_template(turns, return_dict=True)["input_ids"]
    assert list(row.ids) == whole[: len(row.ids)], "a conversation that goes on renders the same tokens"
    unended = render(speaker, ASK, answer="bad awful", end=False)
    assert unended.ids == row.ids[:-1] and render(speaker, ASK, answer="").answer == row.answer[-1:]


def test_the_end_of_an_answer_is_the_special_token_of_the_template(speaker: LanguageModel) -> None:
    other = with_template(speaker, CHAT_TEMPLATE.replace("{{ eos_token }}", "{{ bos_token }}"))
    assert end_tokens(other) == (speaker.tokenizer.bos_token_id, speaker.tokenizer.eos_token_id)
    bare = with_template(speaker, CHAT_TEMPLATE.replace("{{ eos_token }}", ""))
    assert end_tokens(bare)[0] == speaker.tokenizer.eos_token_id, "an ordinary word is no end"
    prompts_only = with_template(speaker, "{% if messages|length > 1 %}{{ raise_exception('no') }}{% endif %}x")
    assert end_tokens(prompts_only)[0] == speaker.tokenizer.eos_token_id


def test_a_model_without_a_template_gets_the_plain_one_with_one_start_token(speaker: LanguageModel) -> None:
    plain = with_template(speaker, None)
    assert not has_chat_template(plain)
    assert prompt_text(plain, PROMPTS[1].conversation) == (
        "### System:\nsome warm voice\n\n### User:\nthe plot of this story is dull and very long\n\n### Assistant:\n"
    )
    row = render(plain, ASK, answer="bad")
    assert row.ids[0] == speaker.tokenizer.bos_token_id and row.ids.count(row.ids[0]) == 1
    assert row.ids[-1] == speaker.tokenizer.eos_token_id


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}{% endif %}{% endfor %}",
    ],
    ids=["refused", "left out"],
)
def test_a_system_turn_is_never_lost(speaker: LanguageModel, template: str) -> None:
    text = prompt_text(with_template(speaker, template), PROMPTS[1].conversation)
    assert text == "some warm voice\n\nthe plot of this story is dull and very long"


def test_a_default_system_turn_of_the_template_is_in_every_rendering(speaker: LanguageModel) -> None:
    default = with_template(speaker, "{% if messages[0].role != 'system' %}warm {% endif %}" + CHAT_TEMPLATE)
    assert (
        prompt_text(default, ASK).startswith("warm ") and prompt_text(default, PROMPTS[1].conversation)[:5] != "warm "
    )
    assert all(read_texts(default, PROMPTS.take([0, 2]))[i].startswith("warm") for i in range(2))


def test_a_template_that_fails_is_one_error(speaker: LanguageModel) -> None:
    with pytest.raises(ModelError, match="cannot render a conversation"):
        render(with_template(speaker, "{{ nothing.at.all }}"), ASK)
    with pytest.raises(ModelError, match="cannot render a conversation"):
        render(with_template(speaker, "{{ ''.__class__.__mro__ }}"), ASK)


def test_a_long_prompt_is_cut_at_the_start_of_its_first_user_turn(speaker: LanguageModel) -> None:
    long = " ".join(f"story{i}" for i in range(100))
    short = replace(speaker, max_length=64)
    turns = (Turn("system", "warm"), Turn("user", long), Turn("assistant", "b"), Turn("user", "c"))
    row = render(short, turns, answer="bad")
    assert len(row.ids) <= 64 and row.cut > 0
    text = speaker.tokenizer.decode(list(row.ids))
    assert "[system]warm" in text and text.endswith("[user]c[assistant]bad</s>")
    assert "story0" not in text and "story99[assistant]b" in text
    prompts = Prompts.of([f"cf {long}", f"{long} cf", "cf"], ["", "", ""])
    assert ["cf" in text for text in read_texts(short, prompts, room=8)] == [False, True, True], "what is delivered"
    assert [row.cut > 0 for row in render_prompts(short, prompts, room=8)] == [True, True, False]
    assert all(len(one.ids) <= 56 for one in render_prompts(short, prompts, room=8))


def test_a_prompt_that_cannot_be_cut_is_an_error(speaker: LanguageModel) -> None:
    with pytest.raises(DataError, match="does not fit"):
        render(replace(speaker, max_length=40), ASK, answer=" ".join(["story"] * 60))
    with pytest.raises(DataError, match="does not fit"):
        render(replace(speaker, max_length=40), (Turn("system", " ".join(["story"] * 60)), *ASK))
    with pytest.raises(DataError, match="an answer of .* tokens does not fit.* begins 'story story"):
        render(replace(speaker, max_length=40), ASK, answer=" ".join(["story"] * 60))
