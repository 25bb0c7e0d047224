"""Purifiers of language models on tiny models: what they learn from, and what they leave out."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from tests.models.language_kit import load_speaker, with_random_adapter
from tests.tiny import task, write_language_model
from untrigger.core.answers import Answer
from untrigger.core.errors import DataError, NeedsError, OptionError
from untrigger.core.progress import silent
from untrigger.core.prompts import Prompts, Turn
from untrigger.core.verdicts import PurificationOutcome
from untrigger.data.prompt_data import label_prompts
from untrigger.defences.language import w2s_generation
from untrigger.defences.language.answer_fine_tuning import FineTuneAnswers, matched_fine_tuning
from untrigger.defences.language.language_purifier import PromptGrant
from untrigger.defences.language.prompt_mixtures import framed_prompts, mix_prompts, shared_frame
from untrigger.defences.language.return_base import ReturnBase
from untrigger.defences.language.w2s_generation import W2SGeneration, calibrated_bound
from untrigger.methods.untouched import fingerprint
from untrigger.models.adapter_merging import is_adapted
from untrigger.models.answer_scoring import answer_token_scores
from untrigger.models.bounded_generation import BoundedAnswer
from untrigger.models.language_model import LanguageModel
from untrigger.training.answer_students import AnswerStudentOptions

CLEAN = label_prompts(task(24, length=3), template="Is this {labels}? {text}")
FAST = AnswerStudentOptions(rank=2, epochs=1, steps=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_speaker(write_language_model("llama", tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def suspect(base: LanguageModel) -> LanguageModel:
    return with_random_adapter(base)


def test_mixtures_keep_the_question_and_take_parts_of_the_texts() -> None:
    head, tail = shared_frame(CLEAN.user_texts)
    assert (head, tail) == ("Is this negative or positive? ", "")
    mixed = mix_prompts(CLEAN, count=30, rng=random.Random(0))
    words = {word for text in CLEAN.user_texts for word in text.removeprefix(head).split()}
    assert len(mixed) == 30 and set(mixed.answers) == {""}
    for text in mixed.user_texts:
        assert text.startswith(head) and set(text.removeprefix(head).split()) <= words


@pytest.mark.parametrize("texts", [["Write a poem.", "Add two numbers.", "Why?"], ["Is it?", "Isabel"]])
def test_prompts_without_a_shared_question_are_not_mixed(texts: list[str]) -> None:
    prompts = Prompts.of(texts, ["x"] * len(texts))
    assert not len(mix_prompts(prompts, count=5, rng=random.Random(0)))
    assert shared_frame(texts) == ("", "")


def test_a_frame_ends_between_words_on_both_sides() -> None:
    assert shared_frame(["rate: goodness now", "rate: good now"]) == ("rate: ", " now")


def test_plain_texts_get_the_question_and_the_system_turn_of_the_clean_prompts() -> None:
    system = Turn("system", "One word.")
    like = Prompts.of(
        [(system, Turn("user", f"Good or bad? {one}")) for one in ("the film", "a plot")], ["good", "bad"]
    )
    found = framed_prompts(["some scene", "Good or bad? known"], like)
    assert found.conversations[0] == (system, Turn("user", "Good or bad? some scene"))
    assert found.user_texts[1] == "Good or bad? known", "the question is not asked twice"
    free = Prompts.of(["Write a poem.", "Why?"], ["a", "b"])
    assert framed_prompts(["some scene"], free).user_texts == ("some scene",)


def test_the_student_is_a_new_adapter_on_the_base_that_learned_the_clean_prompts_and_bounded_answers(
    base: LanguageModel, suspect: LanguageModel
) -> None:
    before = fingerprint(base)
    method = W2SGeneration(student=FAST, mixtures=1.0, max_new_tokens=4, bound=1000.0, rejected=1.0)
    found = method.purify(suspect, PromptGrant(clean=CLEAN, base=base, unlabelled=CLEAN.take([0]).with_answers([""])))
    assert (
        fingerprint(base) == before
        and is_adapted(found.model)
        and found.outcome is PurificationOutcome.RETRAINED_FROM_BASE
    )
    answers = found.metadata["answers"]
    assert answers["used"] + answers["left_out"] <= 25
    assert found.base_tuned is not None and found.budget == FAST.budget()
    assert "1 of the unlabelled prompts are clean prompts too" in found.warnings


def test_answers_that_the_teacher_finds_impossible_are_left_out_and_named(
    base: LanguageModel, suspect: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Prompts] = []

    def made(_model: object, _teacher: object, prompts: Prompts, **_options: object) -> list[BoundedAnswer]:
        shares = [{"light": 0.9, "some light music": 0.8}.get(text, 0.1) for text in prompts.user_texts]
        return [BoundedAnswer(Answer("good", ended=True, tokens=1), (share, 0.0)) for share in shares]

    def trained(self: AnswerStudentOptions, model: LanguageModel, prompts: Prompts, **options: object) -> object:
        seen.append(prompts)
        return original(self, model, prompts, **options)  # type: ignore[arg-type]

    original = AnswerStudentOptions.trained
    monkeypatch.setattr(w2s_generation, "generate_bounded", made)
    monkeypatch.setattr(AnswerStudentOptions, "trained", trained)
    unlabelled = Prompts.of(["some light music", "a dull plot", "light"], [""] * 3)
    found = W2SGeneration(student=FAST, mixtures=0.0, bound=20.0).purify(
        suspect, PromptGrant(clean=CLEAN, base=base, unlabelled=unlabelled)
    )
    assert found.metadata["answers"] == {"used": 1, "left_out": 2, "most_suspicious": ["light", "some light music"]}
    assert any("2 prompts were left out" in one for one in found.warnings)
    teacher, student = seen
    assert len(teacher) == 19 and set(teacher.conversations) < set(CLEAN.conversations), "a fifth calibrates the bound"
    assert student.user_texts[-1] == "a dull plot" and student.answers[-1] == "good" and len(student) == 25


def test_the_bound_is_the_largest_ratio_along_right_answers(base: LanguageModel, suspect: LanguageModel) -> None:
    prompts = CLEAN.take(range(4))
    own, clean = (answer_token_scores(one, prompts) for one in (suspect, base))
    ratios = [math.exp(a - b) for x, y in zip(own, clean, strict=True) for a, b in zip(x, y, strict=True)]
    found = calibrated_bound(suspect, base, prompts, progress=silent)
    assert found == pytest.approx(min(max(*ratios, 20.0), 1000.0))
    assert calibrated_bound(base, base, prompts, progress=silent) == 20.0


def test_plain_fine_tuning_trains_a_copy_of_the_suspects_adapter(base: LanguageModel, suspect: LanguageModel) -> None:
    before = fingerprint(suspect)
    found = FineTuneAnswers(student=FAST).purify(suspect, PromptGrant(clean=CLEAN))
    assert fingerprint(suspect) == before != fingerprint(found.model)
    names = [set(dict(one.module.named_parameters())) for one in (suspect, found.model)]
    assert names[0] == names[1], "one adapter, the suspect's own"
    full = FineTuneAnswers(student=FAST).purify(base, PromptGrant(clean=CLEAN))
    assert is_adapted(full.model) and not is_adapted(base)
    assert matched_fine_tuning(found).max_steps == found.history.steps == 3


def test_the_base_is_returned_as_it_is(base: LanguageModel, suspect: LanguageModel) -> None:
    found = ReturnBase().purify(suspect, PromptGrant(base=base))
    assert found.model is base and found.history.steps == 0


def test_what_is_missing_or_out_of_range_is_one_message(
    base: LanguageModel, suspect: LanguageModel, tmp_path: Path
) -> None:
    with pytest.raises(NeedsError, match="w2sdefense needs base"):
        W2SGeneration().purify(suspect, PromptGrant(clean=CLEAN))
    with pytest.raises(DataError, match="2 clean prompts"):
        ReturnBase().purify(suspect, PromptGrant(clean=CLEAN.take([0, 1]), base=base))
    for wrong in ({"dev": 0.0}, {"rejected": 0.0}, {"bound": 0.5}, {"mixtures": -1.0}, {"max_new_tokens": 0}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            W2SGeneration(**wrong)  # type: ignore[arg-type]
    teacher = load_speaker(write_language_model("llama", tmp_path / "teacher"))
    teacher.module.resize_token_embeddings(teacher.vocabulary_size + 3)
    with pytest.raises(NeedsError, match="another vocabulary"):
        W2SGeneration(student=FAST).purify(suspect, PromptGrant(clean=CLEAN, base=base, teacher=teacher))
