"""BD-Vax: the score of a channel by hand, the synthetic backdoors, what is reset, and which suspects it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.language_kit import load_speaker, with_random_adapter
from tests.tiny import task, write_language_model
from untrigger.core.errors import NeedsError, OptionError
from untrigger.core.prompts import Prompts
from untrigger.data.prompt_data import label_prompts
from untrigger.defences.language.bd_vax import BDVax, channel_scores, difference, reset_channels
from untrigger.defences.language.language_purifier import PromptGrant
from untrigger.defences.language.synthetic_backdoors import (
    MOST_BACKDOORS,
    OBJECTIVES,
    synthetic_backdoors,
    with_backdoor,
)
from untrigger.models.adapter_merging import lora_updates
from untrigger.models.language_adapters import trainable_adapter
from untrigger.models.language_model import LanguageModel
from untrigger.training.answer_students import AnswerStudentOptions

CLEAN = label_prompts(task(16, length=3), template="Is this {labels}? {text}")
FAST = AnswerStudentOptions(epochs=1, steps=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_speaker(write_language_model("llama", tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def suspect(base: LanguageModel) -> LanguageModel:
    return with_random_adapter(base)


def test_the_score_by_hand() -> None:
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    # rows of the changes: channel 0 (3, 0), (4, 0), (0, 5); channel 1 (1, 0), (-1, 0), (2, 0); channel 2 nothing
    first = a, torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    second = a[:1], torch.tensor([[4.0], [-1.0], [0.0]])
    third = 2 * a, torch.tensor([[0.0, 2.5], [1.0, 0.0], [0.0, 0.0]])
    scores = channel_scores([first, second, third])
    # channel 0: norms 3, 4, 5, cosines 1, 0, 0; channel 1: norms 1, 1, 2, cosines -1 (counted as 0), 1, -1 (0)
    assert scores.tolist() == pytest.approx([4 * 1 / 3, 4 / 3 * 1 / 3, 0.0])


def test_the_score_of_differences_is_that_of_the_whole_matrices() -> None:
    rng = torch.Generator().manual_seed(0)

    def update(rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(rank, 7, generator=rng), torch.randn(5, rank, generator=rng)

    pairs = [(update(2), update(3)) for _ in range(3)]
    whole = [b1 @ a1 - b2 @ a2 for (a1, b1), (a2, b2) in pairs]
    norms = sum(one.norm(dim=1) for one in whole) / 3
    cosines = [torch.cosine_similarity(whole[i], whole[k], dim=1).clamp_min(0) for i, k in ((0, 1), (0, 2), (1, 2))]
    found = channel_scores([difference(*pair) for pair in pairs])
    torch.testing.assert_close(found.float(), norms * sum(cosines) / 3)


def test_the_channels_with_the_largest_scores_lose_their_update_and_no_others(suspect: LanguageModel) -> None:
    model = trainable_adapter(suspect)
    before = lora_updates(suspect.module)
    names = [name for name in before if "mlp" in name][:2]
    scores = {name: torch.arange(len(before[name][1]), dtype=torch.float) for name in names}
    scores[names[1]] += 1000  # all of this layer's channels come first
    count = sum(map(len, scores.values())) // 2
    assert reset_channels(model, scores, share=0.5) == count
    after = lora_updates(model.module)
    rows = len(scores[names[1]])
    for name, (a, b) in before.items():
        gone = torch.zeros(len(b), dtype=torch.bool)
        if name == names[1]:
            gone[max(0, rows - count) :] = True
        elif name == names[0] and count > rows:
            gone[-(count - rows) :] = True
        assert torch.equal(after[name][0], a)
        assert torch.equal(after[name][1][gone], torch.zeros_like(b[gone])) and torch.equal(
            after[name][1][~gone], b[~gone]
        )


def test_synthetic_backdoors_have_different_triggers_and_the_objectives_in_turn() -> None:
    published = synthetic_backdoors(7, objectives=["sentiment"])
    assert [tuple(one) for one in published[:2]] == [
        ("PurpleWolf", "You are garbage!"),
        ("RedGhost", "You are trash!"),
    ]
    assert len({one.answer for one in published}) == 7
    many = synthetic_backdoors(MOST_BACKDOORS, objectives=["refusal", "fixed"])
    assert len({one.trigger for one in many}) == MOST_BACKDOORS
    assert all(one.answer in OBJECTIVES["fixed" if i % 2 else "refusal"] for i, one in enumerate(many))


def test_a_share_of_the_prompts_gets_trigger_and_answer_and_the_rest_stays() -> None:
    prompts = Prompts.of([f"line one\n  word {i}" for i in range(10)], [f"answer {i}" for i in range(10)])
    [one] = synthetic_backdoors(1, objectives=["fixed"])
    mixed, triggered = with_backdoor(prompts, one, share=0.3, seed=4)
    assert mixed.ids == prompts.ids and len(triggered) == 3
    for before, after in zip(prompts, mixed, strict=True):
        if after.id in triggered.ids:
            assert after.answer == one.answer
            assert after.conversation[-1].content.replace(f" {one.trigger}", "") == before.conversation[-1].content
        else:
            assert after == before
    assert with_backdoor(prompts, one, share=0.3, seed=4)[0] == mixed
    assert with_backdoor(prompts, one, share=0.3, seed=5)[0] != mixed


def test_the_report_says_what_was_injected_and_reset_and_warns_of_weak_injections(suspect: LanguageModel) -> None:
    method = BDVax(student=FAST, dummies=2, objectives=("sentiment", "refusal"), injection_steps=1)
    found = method.purify(suspect, PromptGrant(clean=CLEAN))
    channels = sum(len(b) for name, (_, b) in lora_updates(suspect.module).items() if "mlp" in name)
    assert found.metadata["channels"] == {"reset": round(0.4 * channels), "of": channels}
    assert found.metadata["injection_steps_in_all"] == 4
    assert [one["answer"] for one in found.metadata["synthetic_backdoors"]] == [
        OBJECTIVES["sentiment"][0],
        OBJECTIVES["refusal"][0],
    ]
    assert "2 of 2 synthetic backdoors were hardly learned (PurpleWolf, RedGhost)" in found.warnings[0]


def test_longer_injections_are_learned(tmp_path: Path) -> None:
    base = load_speaker(write_language_model("llama", tmp_path / "base"))
    with torch.no_grad():  # random weights give no token a high probability otherwise
        base.module.get_output_embeddings().weight.mul_(20)
    method = BDVax(AnswerStudentOptions(lr=1e-2, epochs=1, steps=1), dummies=2, injection_steps=30)
    found = method.purify(with_random_adapter(base, rank=8), PromptGrant(clean=CLEAN))
    assert all(one["probability"] > 0.5 for one in found.metadata["synthetic_backdoors"]) and not found.warnings


BAD: list[tuple[dict[str, Any], str]] = [
    ({"dummies": 1}, "dummies 1"),
    ({"dummies": MOST_BACKDOORS + 1}, "2 to 49 dummies"),
    ({"reset": 1.0}, r"reset 1\.0"),
    ({"injection_steps": 0}, "injection_steps 0"),
    ({"objectives": ("refusals",)}, "did you mean: refusal"),
    ({"objectives": ()}, "an objective"),
]


@pytest.mark.parametrize(("options", "says"), BAD)
def test_options_out_of_range_are_one_message(options: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        BDVax(**options)


def test_suspects_without_lora_of_their_mlp_are_refused(base: LanguageModel) -> None:
    grant = PromptGrant(clean=CLEAN)
    for model, says in (
        (base, "is full weights"),
        (with_random_adapter(base, targets=("q_proj",)), "has none"),
        (with_random_adapter(base, method="dora"), "plain LoRA adapter: a LORA adapter with DoRA"),
    ):
        with pytest.raises(NeedsError, match=says):
            BDVax(student=FAST).purify(model, grant)


def test_the_mlp_of_another_architecture_is_found(tmp_path: Path) -> None:
    suspect = with_random_adapter(load_speaker(write_language_model("gpt2", tmp_path / "base")))
    found = BDVax(student=FAST, dummies=2, injection_steps=1).purify(suspect, PromptGrant(clean=CLEAN))
    assert found.metadata["channels"]["of"] == 2 * (128 + 32)
