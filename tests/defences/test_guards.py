"""Guards of language models: the rule of CleanGen by hand and with its drafts, and what every guard promises."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.models.language_kit import PROMPTS, load_speaker, with_random_adapter
from tests.tiny import write_language_model
from untrigger.core.errors import ModelError, OptionError
from untrigger.core.registry import methods_of
from untrigger.defences.guards.bounded import Bounded
from untrigger.defences.guards.cleangen import CleanGen
from untrigger.methods.untouched import fingerprint
from untrigger.models.bounded_generation import generate_bounded
from untrigger.models.chat import end_tokens, render_prompts
from untrigger.models.generation import GenerationOptions, generate_answers
from untrigger.models.language_model import LanguageModel

OPTIONS = GenerationOptions(max_new_tokens=10)
EVERY = pytest.mark.parametrize("name", sorted(methods_of("guards")))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_speaker(write_language_model("llama", tmp_path_factory.mktemp("base"), seed=2))


@pytest.fixture(scope="module")
def suspect(base: LanguageModel) -> LanguageModel:
    return with_random_adapter(base, seed=3)


@EVERY
def test_a_guard_changes_no_weight_and_lets_a_model_pass_that_agrees_with_its_reference(
    base: LanguageModel, suspect: LanguageModel, name: str
) -> None:
    guard = methods_of("guards")[name]()
    before = fingerprint(base), fingerprint(suspect)
    answers = guard.answers(suspect, PROMPTS, reference=base, options=OPTIONS)
    assert (fingerprint(base), fingerprint(suspect)) == before
    assert answers == guard.answers(suspect, PROMPTS, reference=base, options=OPTIONS)
    alone = [guard.answers(suspect, PROMPTS.take([i]), reference=base, options=OPTIONS)[0] for i in range(len(PROMPTS))]
    assert alone == answers, "an answer does not depend on its batch"
    assert guard.answers(base, PROMPTS, reference=base, options=OPTIONS) == generate_answers(
        base, PROMPTS, options=OPTIONS
    )


@EVERY
def test_another_vocabulary_and_a_temperature_are_refused(suspect: LanguageModel, tmp_path: Path, name: str) -> None:
    guard = methods_of("guards")[name]()
    other = load_speaker(write_language_model("llama", tmp_path / "other"))
    other.module.resize_token_embeddings(other.vocabulary_size + 3)
    with pytest.raises(ModelError, match="one tokenizer"):
        guard.answers(suspect, PROMPTS, reference=other, options=OPTIONS)
    with pytest.raises(OptionError, match="temperature 0"):
        guard.answers(suspect, PROMPTS, reference=suspect, options=GenerationOptions(temperature=1.0))


def test_cleangen_by_hand() -> None:
    own = torch.tensor([[0.60, 0.30, 0.10], [0.60, 0.30, 0.10], [0.20, 0.70, 0.10]]).log()
    reference = torch.tensor([[0.02, 0.90, 0.08], [0.04, 0.06, 0.90], [0.10, 0.20, 0.70]]).log()
    # quotients of the suspect's first token: 30, 15, 3.5
    chosen, rejected = CleanGen(ratio=20.0).choice()(own, reference)
    assert chosen.tolist() == [1, 0, 1] and rejected.tolist() == [1.0, 0.0, 0.0]
    chosen, _ = CleanGen(ratio=14.9).choice()(own, reference)
    assert chosen.tolist() == [1, 2, 1]
    exact = torch.tensor([[0.5, 0.5 - 1e-6]]).log(), torch.tensor([[0.25, 0.75]]).log()
    assert CleanGen(ratio=2.0).choice()(*exact)[0].tolist() == [1], "at the ratio itself a token is replaced"


def next_token(model: LanguageModel, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model.module(input_ids=torch.tensor([ids])).logits[0, -1]
    return logits.float().softmax(dim=0)


def drafted(suspect: LanguageModel, reference: LanguageModel, prompt: list[int], *, ratio: float, k: int) -> list[int]:
    """CleanGen as published: drafts of k tokens, the first suspicious one replaced, the rest of its draft dropped."""
    ids, ends = list(prompt), end_tokens(suspect)
    while len(ids) - len(prompt) < OPTIONS.max_new_tokens:
        draft = list[int]()
        for _ in range(k):
            draft.append(int(next_token(suspect, ids + draft).argmax()))
        for i, token in enumerate(draft):
            own, clean = (next_token(one, ids + draft[:i]) for one in (suspect, reference))
            if own[token] / clean[token] >= ratio:
                draft = [*draft[:i], int(clean.argmax())]
                break
        ids += draft
    new = ids[len(prompt) : len(prompt) + OPTIONS.max_new_tokens]
    return new[: next((i for i, token in enumerate(new) if token in ends), len(new))]


def test_drafts_of_four_tokens_give_the_same_answers(base: LanguageModel, suspect: LanguageModel) -> None:
    ratio = 1.3  # so that tiny models differ by as much at some tokens and not at others
    found = CleanGen(ratio).answers(suspect, PROMPTS, reference=base, options=OPTIONS)
    free = generate_answers(suspect, PROMPTS, options=OPTIONS)
    assert found != free and found != generate_answers(base, PROMPTS, options=OPTIONS)
    for row, answer in zip(render_prompts(suspect, PROMPTS), found, strict=True):
        ids = drafted(suspect, base, list(row.ids), ratio=ratio, k=4)
        assert suspect.tokenizer.decode(ids, skip_special_tokens=True) == answer.text


def test_the_bounded_guard_is_bounded_decoding(base: LanguageModel, suspect: LanguageModel) -> None:
    made = generate_bounded(suspect, base, PROMPTS, bound=1.5, options=OPTIONS)
    assert Bounded(1.5).answers(suspect, PROMPTS, reference=base, options=OPTIONS) == [one.answer for one in made]


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(OptionError, match=r"bound 0\.5"):
        Bounded(0.5)
    for ratio in (0.0, math.nan):
        with pytest.raises(OptionError, match="ratio"):
            CleanGen(ratio)
