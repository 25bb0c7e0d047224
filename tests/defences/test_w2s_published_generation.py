"""W2SDefense's published loss on language models: each term by hand, the teachers that it takes and refuses, what it leaves behind."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.models.language_kit import PROMPTS, load_speaker, with_random_adapter
from tests.tiny import task, write_language_model
from untrigger.core.errors import NeedsError, OptionError
from untrigger.data.prompt_data import label_prompts
from untrigger.defences.language.language_purifier import PromptGrant
from untrigger.defences.language.w2s_generation import W2SGeneration
from untrigger.defences.language.w2s_published_generation import (
    W2SPublishedGeneration,
    alignment,
    distillation,
    width_map,
)
from untrigger.methods.untouched import fingerprint
from untrigger.models.adapter_merging import is_adapted
from untrigger.models.answer_scoring import AnswerBatch, answer_kl, answer_logits, collate_answers
from untrigger.models.chat import render_prompts
from untrigger.models.hidden_states import HeadInput
from untrigger.models.language_model import LanguageModel
from untrigger.pipeline.build_method import build_method
from untrigger.training.answer_students import AnswerStudentOptions

CLEAN = label_prompts(task(24, length=3), template="Is this {labels}? {text}")
FAST = AnswerStudentOptions(rank=2, epochs=2, steps=1)
MASK = torch.tensor([[False, True, True], [False, False, True]])
ZERO = torch.zeros(2, 3, dtype=torch.long)
BATCH = AnswerBatch(ZERO, ZERO, ZERO, ZERO, is_answer=MASK)
"""Two answers, of two tokens and of one."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_speaker(write_language_model("llama", tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def suspect(base: LanguageModel) -> LanguageModel:
    return with_random_adapter(base)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """A smaller model with the same tokenizer, its own chat template and half the width."""
    folder = tmp_path_factory.mktemp("narrow")
    return load_speaker(write_language_model("llama", folder, template=None, seed=3, hidden_size=16), max_length=96)


def test_the_distillation_by_hand() -> None:
    logits, teacher = torch.zeros(2, 3, 2), torch.zeros(2, 3, 2)
    teacher[0, 1, 0] = 2 * math.log(3)  # at T = 2 the teacher's distribution is 3/4, 1/4; the student's 1/2, 1/2
    teacher[0, 0, 0] = teacher[1, 0, 0] = 50.0  # no answer tokens
    kl = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    # row 0: (kl + 0) / 2; row 1: 0
    expected = 4 * (kl / 2 + 0) / 2
    assert distillation(logits, teacher, BATCH, temperature=2.0).item() == pytest.approx(expected)
    longer = torch.cat([teacher, torch.full((2, 3, 5), 9.0)], dim=2)
    assert distillation(logits, longer, BATCH, temperature=2.0).item() == pytest.approx(expected), "rows of no token"


def test_the_alignment_by_hand() -> None:
    features, teacher = torch.zeros(2, 3, 2), torch.zeros(2, 3, 2)
    teacher[0, 1] = torch.tensor([1.0, 2.0])  # squared distance 5
    teacher[1, 2] = torch.tensor([3.0, 0.0])  # squared distance 9
    teacher[:, 0] = 100.0  # no answer tokens
    assert alignment(features, teacher, BATCH).item() == pytest.approx((5 / 2 + 9) / 2)


def test_the_features_are_what_the_head_turns_into_the_logits_of_the_answer(base: LanguageModel) -> None:
    batch = collate_answers(base, render_prompts(base, PROMPTS, answers=True))
    with torch.no_grad(), HeadInput(base) as head:
        logits = answer_logits(base, batch)
        again = base.module.get_output_embeddings()(head.answer_features(batch))
    torch.testing.assert_close(again, logits)


def test_the_loss_is_the_weighted_sum_of_its_terms(suspect: LanguageModel, base: LanguageModel) -> None:
    rows = [render_prompts(suspect, PROMPTS, answers=True)[0]]
    batch = collate_answers(suspect, rows)
    with torch.no_grad(), HeadInput(base) as taught, HeadInput(suspect) as own:
        logits, expected = answer_logits(suspect, batch), answer_logits(base, batch)
        kl = distillation(logits, expected, batch, temperature=3.0)
        apart = alignment(own.answer_features(batch), taught.answer_features(batch), batch)
        term = W2SPublishedGeneration(temperature=3.0, b=0.5, c=0.25)._term(base, taught, own, None)
        assert term([0], batch, logits).item() == pytest.approx((0.5 * kl + 0.25 * apart).item())
        assert kl > 0 and apart > 0


def test_a_narrower_teacher_without_a_base_gives_one_adapter_of_the_suspects_kind(
    suspect: LanguageModel, narrow: LanguageModel
) -> None:
    before, layers = fingerprint(narrow), [name for name, _ in narrow.module.named_modules()]
    found = W2SPublishedGeneration(student=FAST).purify(suspect, PromptGrant(clean=CLEAN, teacher=narrow))
    assert fingerprint(narrow) == before and [name for name, _ in narrow.module.named_modules()] == layers
    names = [set(dict(one.module.named_parameters())) for one in (suspect, found.model)]
    assert names[0] == names[1], "one adapter, and no map of widths"
    assert found.metadata == {"teacher": narrow.name} and found.base_tuned is None
    assert found.model.max_length == suspect.max_length != narrow.max_length
    assert not any(layer._forward_pre_hooks for layer in found.model.module.modules())
    mapped = width_map(narrow, suspect, seed=0)
    assert mapped is not None and mapped.weight.shape == (32, 16) and width_map(suspect, suspect, seed=0) is None


def test_full_weights_get_a_new_adapter_and_the_base_is_the_teacher(base: LanguageModel, narrow: LanguageModel) -> None:
    found = W2SPublishedGeneration(student=FAST).purify(base, PromptGrant(clean=CLEAN, base=base))
    assert is_adapted(found.model) and found.base_tuned is not None


def test_distillation_brings_the_student_to_the_teacher(suspect: LanguageModel, base: LanguageModel) -> None:
    far = []
    for b in (0.0, 5.0):
        method = W2SPublishedGeneration(
            student=AnswerStudentOptions(lr=1e-2, epochs=6, steps=0), a=0.0, b=b, c=0.0 if b else 1e-9
        )
        found = method.purify(suspect, PromptGrant(clean=CLEAN, base=base))
        assert found.base_tuned is not None
        far.append(sum(one.total for one in answer_kl(found.model, found.base_tuned, CLEAN)))
    assert far[1] < 0.5 * far[0]


def test_it_is_the_variant_published_and_what_it_lacks_is_one_message(suspect: LanguageModel, tmp_path: Path) -> None:
    method = build_method("language_defences", "w2sdefense", variant="published", options={"c": 0.5})
    assert method == W2SPublishedGeneration(c=0.5) and W2SGeneration.variants["published"] is W2SPublishedGeneration
    with pytest.raises(NeedsError, match=r"needs a clean teacher or the suspect's base\n.*--teacher"):
        method.purify(suspect, PromptGrant(clean=CLEAN))
    other = load_speaker(write_language_model("llama", tmp_path / "other"))
    other.tokenizer.add_tokens(["unheard"])
    with pytest.raises(NeedsError, match="another tokenizer than the suspect"):
        method.purify(suspect, PromptGrant(clean=CLEAN, teacher=other))
    for wrong in ({"dev": 1.0}, {"temperature": 0.0}, {"b": -1.0}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            W2SPublishedGeneration(**wrong)  # type: ignore[arg-type]
