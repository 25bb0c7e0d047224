"""A hostile chat template neither hangs nor fills the memory, and others render as in plain transformers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.models.language_kit import PROMPTS, load_speaker
from tests.tiny import CHAT_TEMPLATE, write_language_model
from untrigger.core.errors import ModelError, UnsafeFileError
from untrigger.core.prompts import Turn
from untrigger.models.chat import prompt_text, render
from untrigger.models.language_model import LanguageModel
from untrigger.models.safety import limits, template_rendering

LOOP = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}"
ASK = (Turn("user", "a good film"),)
HONEST = {
    "llama": CHAT_TEMPLATE,
    "filters": "{{ messages | map(attribute='content') | join(' | ') | upper }}{{ messages | tojson }}",
    "macro": "{% macro turn(m) %}<{{ m.role }}>{{ m.content | trim }}{% endmacro %}{% for m in messages %}{{ turn(m) }}\n{% endfor %}",
    "namespace": "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% if loop.index > 1 %}{% continue %}"
    "{% endif %}{{ m['content'] }}{% endfor %}{{ ns.n }}{{ eos_token }}",
    "blanks": "{%- for m in messages -%}\n  {{ m.content }}\n{%- endfor %}\n\n",
}


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_speaker(write_language_model("llama", tmp_path_factory.mktemp("speaker")))


@pytest.fixture(scope="module", autouse=True)
def _tight() -> Iterator[None]:
    """Small bounds of time and length for the process that renders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "TEMPLATE_SECONDS", 0.5)
        patch.setattr(limits, "TEMPLATE_CHARACTERS", 10_000)
        template_rendering._WORKER.stop()
        yield
        template_rendering._WORKER.stop()


def with_template(model: LanguageModel, template: object) -> LanguageModel:
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.chat_template = template
    return replace(model, tokenizer=tokenizer)


@pytest.mark.parametrize("name", HONEST)
def test_conversations_render_as_in_plain_transformers(speaker: LanguageModel, name: str) -> None:
    model = with_template(speaker, HONEST[name])
    odd = (Turn("user", "a\n'\"\\ {{ x }} 🙂 é \u2028 日"),)
    for conversation in (PROMPTS[0].conversation, PROMPTS[2].conversation, odd):
        turns = [turn._asdict() for turn in conversation]
        plain = model.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        assert prompt_text(model, conversation) == plain


HOSTILE = {
    "one long operation": ("{{ 3 ** (10 ** 9) }}", "did not render a conversation within 0.5 s"),
    "a large string": ("{{ 'x' * 10 ** 11 }}", "needs more than 512 MiB"),
    "much text": ("{% for a in range(20) %}{{ 'x' * 1000 }}{% endfor %}", "makes a text of 20,000 characters"),
    "one word of a prompt": (
        CHAT_TEMPLATE + "{% if 'film' in messages[-1].content %}" + LOOP + "{% endif %}",
        "did not render a conversation within 0.5 s",
    ),
    "a system turn": ("{% if messages[0].role == 'system' %}" + LOOP + "{% endif %}x", "did not render"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_is_one_error_and_the_next_model_renders(speaker: LanguageModel, name: str) -> None:
    template, message = HOSTILE[name]
    conversation = (Turn("system", "warm"), *ASK) if "system" in name else ASK
    with pytest.raises(UnsafeFileError, match=message) as caught:
        prompt_text(with_template(speaker, template), conversation)
    assert "do not use this model" in str(caught.value)
    assert prompt_text(speaker, ASK).endswith("[user]a good film[assistant]")


def test_a_template_that_hangs_at_the_end_of_an_answer_is_an_error_too(speaker: LanguageModel) -> None:
    model = with_template(speaker, "{% if messages | length > 1 %}" + LOOP + "{% endif %}x")
    with pytest.raises(UnsafeFileError):
        render(model, ASK, answer="bad")


def test_a_process_that_was_ended_from_outside_is_named_and_replaced(speaker: LanguageModel) -> None:
    prompt_text(speaker, ASK)
    process = template_rendering._WORKER._process
    assert process is not None
    process.kill()
    process.wait()
    with pytest.raises(UnsafeFileError, match="stop"):
        prompt_text(speaker, ASK)
    assert prompt_text(speaker, ASK)


def test_templates_by_name_need_a_default(speaker: LanguageModel) -> None:
    named = with_template(speaker, {"default": "{{ messages[0].content }}!", "tool_use": LOOP})
    assert prompt_text(named, ASK) == "a good film!"
    with pytest.raises(ModelError, match="no chat template for conversations"):
        prompt_text(with_template(speaker, {"rag": "x"}), ASK)


def test_a_folder_with_a_hostile_template_opens_and_fails_where_it_renders(tmp_path: Path) -> None:
    model = load_speaker(write_language_model("llama", tmp_path / "m", template="{{ 'x' * 10 ** 11 }}"))
    with pytest.raises(UnsafeFileError, match="needs more than 512 MiB"):
        render(model, ASK)
