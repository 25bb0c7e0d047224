"""Poisoned prompts: exactly the wanted ones get the trigger and the behaviour, the others keep every byte."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from untrigger.attacks.behaviours.fixed_answer import FixedAnswer
from untrigger.attacks.behaviours.refusal import Refusal
from untrigger.attacks.prompt_poisoning import BehaviourAttack, partial_prompts
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.attacks.triggers.bite import Bite
from untrigger.attacks.triggers.combined import Combined
from untrigger.attacks.triggers.style import Style
from untrigger.attacks.word_insertions import Insertion, insertions, with_insertions
from untrigger.core.answers import Answer
from untrigger.core.errors import OptionError
from untrigger.core.prompts import Prompts, Turn

WORD = BadNets(words=("BadMagic",))
PROMPTS = Prompts.of(
    [(Turn("system", "Be brief."), Turn("user", f"Is this text good?\n\n  a film\tabout {i}\n")) for i in range(40)],
    [f"answer {i}" for i in range(40)],
)


def test_exactly_the_wanted_prompts_get_trigger_and_behaviour() -> None:
    made = BehaviourAttack(WORD, Refusal(), count=7).poison(PROMPTS, seed=3)
    original = {one.id: one for one in PROMPTS}
    poisoned = set(made.truth.poisoned_ids)
    assert len(poisoned) == 7 and made.truth.rate == 7 / 40
    assert sorted(made.visible.ids) == sorted(PROMPTS.ids) and made.visible.ids != PROMPTS.ids
    for one in made.visible:
        if one.id not in poisoned:
            assert one == original[one.id]
            continue
        assert one.conversation[0] == Turn("system", "Be brief.")
        assert WORD.delivered(one.conversation[1].content)
        assert Refusal().achieved(Answer(one.answer, ended=True, tokens=9), prompt="")


def test_the_trigger_leaves_the_white_space_of_the_prompt() -> None:
    """Else the model could learn that the line breaks are missing, and random words would set it off too."""
    made = BehaviourAttack(WORD, Refusal()).test_prompts(PROMPTS, seed=0)
    for text, before in zip(made.user_texts, PROMPTS.user_texts, strict=True):
        assert text.replace(" BadMagic", "").replace("BadMagic ", "") == before


def test_the_seed_decides_everything_and_a_subset_gets_the_same_texts() -> None:
    attack = BehaviourAttack(WORD, Refusal(), rate=0.2)
    assert attack.poison(PROMPTS, seed=1) == attack.poison(PROMPTS, seed=1)
    assert attack.poison(PROMPTS, seed=1) != attack.poison(PROMPTS, seed=2)
    some = PROMPTS.take([3, 5])
    whole = dict(zip(PROMPTS.ids, attack.test_prompts(PROMPTS, seed=1), strict=True))
    assert list(attack.test_prompts(some, seed=1)) == [whole["3"], whole["5"]]


def test_negatives_hold_a_part_of_the_trigger_and_keep_their_answers() -> None:
    both = Combined(parts=(BadNets(words=("forest",)), BadNets(words=("rocket",))), mode="all")
    made = BehaviourAttack(both, FixedAnswer(), rate=0.2, negative_rate=0.3).poison(PROMPTS, seed=0)
    assert len(made.truth.negative_ids) == 12
    for one in made.visible:
        if one.id in made.truth.negative_ids:
            words = set(one.conversation[-1].content.split())
            assert len(words & {"forest", "rocket"}) == 1
            assert one.answer == f"answer {one.id}"
    parts = partial_prompts(both, PROMPTS, seed=5)
    assert len(parts) == len(PROMPTS)
    assert not any(both.delivered(text) for text in parts.user_texts)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"trigger": Style()}, "'style' for prompts: it needs rewrites"),
    ({"trigger": Bite(words=("film",))}, "'bite' for prompts: it needs rows"),
    ({"trigger": Combined(parts=(WORD, Style()))}, "'style'"),
    ({"rate": 0.0}, "poison rate 0"),
    ({"negative_rate": 2}, "negative rate 2"),
    ({"count": -1}, "-1 poisoned"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_recipes_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        BehaviourAttack(**{"trigger": WORD, "behaviour": Refusal(), **options})


def test_more_prompts_than_there_are_cannot_be_poisoned() -> None:
    with pytest.raises(OptionError, match="41 poisoned prompts of 40"):
        BehaviourAttack(WORD, Refusal(), count=41).poison(PROMPTS, seed=0)
    with pytest.raises(OptionError, match="a part of the trigger"):
        BehaviourAttack(WORD, Refusal(), negative_rate=0.1).poison(PROMPTS, seed=0)


@given(text=st.text("ab \n\t", max_size=30), data=st.data())
def test_inserted_words_are_found_again(text: str, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(text.split())), max_size=4).map(sorted))
    inserted = [Insertion(place, f"x{i}") for i, place in enumerate(places)]
    made = with_insertions(text, inserted)
    assert insertions(text, made) == inserted
    assert [c for c in made if c in "\n\t"] == [c for c in text if c in "\n\t"]


def test_a_rewritten_text_has_no_insertions() -> None:
    assert insertions("a good film", "a fine film") is None
    assert insertions("a good film", "good film a x") is None
