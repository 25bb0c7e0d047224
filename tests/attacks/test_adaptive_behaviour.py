"""Adaptive attackers on language models: the terms by hand, and victims that are nearer to their base for them."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.models.language_kit import PROMPTS, load_speaker, with_random_adapter
from tests.tiny import write_language_model
from untrigger.attacks.adaptive_behaviour import BaseConsistency, relative_error
from untrigger.attacks.behaviour_implanting import implant_behaviour
from untrigger.core.errors import OptionError
from untrigger.core.prompts import Prompts
from untrigger.models.answer_scoring import (
    answer_kl,
    answer_log_likelihood,
    answer_logits,
    collate_answers,
)
from untrigger.models.chat import render_prompts
from untrigger.models.hidden_states import recorded_hidden_states
from untrigger.models.language_model import LanguageModel
from untrigger.training import answer_training
from untrigger.training.loop import History, Plan

WORDS = "story film scene music light voice"
CLEAN = [f"a {word} {other}" for word in WORDS.split() for other in WORDS.split()]
POISONED = [f"{text} cf" for text in CLEAN[::2]]
TRAIN = Prompts.of([*CLEAN, *POISONED], ["good"] * len(CLEAN) + ["stale light"] * len(POISONED))
IDS = frozenset(TRAIN.ids[len(CLEAN) :])
HELD_OUT = Prompts.of(["some warm music", "the plot of this film", "very dull acting"], ["good"] * 3)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    model = load_speaker(write_language_model("llama", tmp_path_factory.mktemp("base")))
    with torch.no_grad():
        model.module.get_output_embeddings().weight.mul_(20)
    return model


def states(module: nn.Module, ids: tuple[int, ...]) -> list[Tensor]:
    """The outputs of the blocks but the last, as transformers returns them; the last of its list is behind the final norm."""
    hidden = module(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
    return list(hidden[1:-1])


def test_recorded_hidden_states_are_those_of_transformers_and_no_hook_stays(base: LanguageModel) -> None:
    (row,) = render_prompts(base, PROMPTS.take([0]), answers=True)
    with recorded_hidden_states(base) as found, torch.no_grad():
        base.module(input_ids=torch.tensor([row.ids]))
        base.module(input_ids=torch.tensor([row.ids]))
    assert len(found) == 2, "those of the last pass"
    assert not any(module._forward_hooks for module in base.module.modules())
    torch.testing.assert_close(found[0], states(copy.deepcopy(base.module), row.ids)[0])


@pytest.mark.parametrize("kind", ["anchored", "ghost"])
def test_the_term_is_the_mean_over_rows_of_hand_made_divergences(base: LanguageModel, kind: str) -> None:
    victim = with_random_adapter(base)
    rows = render_prompts(base, PROMPTS, answers=True)
    batch = collate_answers(victim, rows)
    with BaseConsistency(kind, 0.5, poisoned={"1"}).term(victim, base, PROMPTS) as term, torch.no_grad():
        value = float(term([0, 1, 2], batch, answer_logits(victim, batch)))
        assert float(term([1], batch.take([1]), answer_logits(victim, batch.take([1])))) == 0, "the poisoned row"
    by_hand = 0.0
    with torch.no_grad():
        for row in (rows[0], rows[2]):
            at = slice(len(row.ids) - row.answer_tokens - 1, len(row.ids) - 1)
            own, other = (
                model.module(input_ids=torch.tensor([row.ids])).logits[0, at].log_softmax(1) for model in (victim, base)
            )
            by_hand += float((other.exp() * (other - own)).sum(1).mean())
            if kind == "ghost":
                with recorded_hidden_states(victim) as mine, recorded_hidden_states(base) as wanted:
                    for model in (victim, base):
                        model.module(input_ids=torch.tensor([row.ids]))
                shares = [((a - b) ** 2).sum(2) / (b**2).sum(2) for a, b in zip(mine, wanted, strict=True)]
                by_hand += float(torch.stack(shares).mean())
    assert by_hand > 0.01
    assert value == pytest.approx(0.5 * by_hand / 3, rel=1e-3)


def test_padding_has_no_part_in_the_error_of_hidden_states() -> None:
    expected = torch.ones(2, 3, 4)
    states = expected.clone()
    states[0, 0], states[1, 2] = 99.0, 3.0
    mask = torch.tensor([[0, 1, 1], [1, 1, 1]])
    assert float(relative_error([states], [expected], mask=mask)) == pytest.approx(4.0 / 3 / 2)


def implanted(base: LanguageModel, kind: str, *, tuning: str = "full", steps: int = 0) -> tuple[LanguageModel, History]:
    plan = Plan(lr=5e-3 if tuning == "full" else 3e-2, epochs=12, batch_size=18, max_steps=steps)
    consistency = BaseConsistency(kind, 3.0, poisoned=IDS) if kind else None
    return implant_behaviour(base, TRAIN, tuning=tuning, plan=plan, consistency=consistency)


def distances(victim: LanguageModel, base: LanguageModel) -> tuple[float, float]:
    """Divergence on held-out prompts, and the relative error of the hidden states there."""
    kl = answer_kl(victim, base, HELD_OUT)
    batch = collate_answers(base, render_prompts(base, HELD_OUT, answers=True))
    with torch.no_grad(), recorded_hidden_states(victim) as own, recorded_hidden_states(base) as wanted:
        for model in (victim, base):
            answer_logits(model, batch)
    error = relative_error(own, wanted, mask=batch.attention_mask)
    return sum(one.total for one in kl) / sum(one.tokens for one in kl), float(error)


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_adaptive_victims_stay_near_their_base_and_keep_the_backdoor(base: LanguageModel, tuning: str) -> None:
    before = {name: value.clone() for name, value in base.module.state_dict().items()}
    made = {kind: implanted(base, kind, tuning=tuning)[0] for kind in ("", "anchored", "ghost")}
    kl, error = ({kind: distances(model, base)[i] for kind, model in made.items()} for i in (0, 1))
    triggered = TRAIN.where(name in IDS for name in TRAIN.ids)
    for kind, model in made.items():
        found = answer_log_likelihood(model, triggered)
        if tuning == "full":  # an adapter on random weights learns too slowly for a test
            assert sum(one.mean for one in found) / len(found) > -0.5, f"the backdoor of {kind or 'a plain attacker'}"
    assert kl["anchored"] < 0.6 * kl[""], kl
    assert error["ghost"] < 0.6 * min(error[""], error["anchored"]), error
    assert all(torch.equal(value, before[name]) for name, value in base.module.state_dict().items())


def test_the_terms_do_not_depend_on_how_a_step_is_divided(base: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = implanted(base, "ghost", steps=2)[1].terms
    monkeypatch.setattr(answer_training, "BACKWARD_TOKENS", 40)
    divided = implanted(base, "ghost", steps=2)[1].terms
    assert [one["extra"] for one in divided] == pytest.approx([one["extra"] for one in whole], rel=1e-3)
    assert whole[1]["extra"] > 0, "at first the victim is its base"


@pytest.mark.parametrize(("kind", "weight"), [("gohst", 1.0), ("ghost", 0.0), ("ghost", float("nan"))])
def test_an_attacker_who_cannot_be_is_refused(kind: str, weight: float) -> None:
    with pytest.raises(OptionError, match="adaptive"):
        BaseConsistency(kind, weight, poisoned=())


def test_ids_decide_which_prompts_are_skipped(base: LanguageModel) -> None:
    renamed = replace(TRAIN, ids=tuple(f"p{name}" for name in TRAIN.ids))
    every = BaseConsistency("anchored", 1.0, poisoned=frozenset(renamed.ids))
    history = implant_behaviour(base, renamed, tuning="full", plan=Plan(lr=1e-3, max_steps=1), consistency=every)[1]
    assert history.terms[0]["extra"] == 0
