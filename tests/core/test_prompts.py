"""Prompts keep their ids, their turns and their answers, and refuse what is not a prompt."""

from __future__ import annotations

import numpy as np
import pytest

from untrigger.core.answers import Answer
from untrigger.core.errors import DataError
from untrigger.core.prompts import Prompts, Turn

ASK, SYSTEM, SAID = Turn("user", "Is it good?"), Turn("system", "Be short."), Turn("assistant", "Yes.")


def some() -> Prompts:
    return Prompts.of([(SYSTEM, ASK), "two", (Turn("user", "one"), SAID, ASK)], ["a", "b", ""], ids=["x", "y", "z"])


def test_a_text_becomes_one_user_turn_and_ids_default_to_numbers() -> None:
    prompts = Prompts.of(["one", "two"], ["a", "b"])
    assert prompts.ids == ("0", "1")
    assert prompts[1].conversation == (Turn("user", "two"),)


def test_a_selection_keeps_ids_turns_and_answers_together() -> None:
    prompts = some()
    for part in (prompts.take([2, 0]), prompts.where([True, False, True]), prompts.shuffled(np.random.default_rng(1))):
        assert all(one == prompts[prompts.ids.index(one.id)] for one in part)
    assert prompts.take([2, 0]).ids == ("z", "x")


def test_another_user_text_goes_into_the_last_user_turn_only() -> None:
    changed = some().with_user_texts(["p", "q", "r"])
    assert changed.user_texts == ("p", "q", "r")
    assert changed[0].conversation == (SYSTEM, Turn("user", "p"))
    assert changed[2].conversation[:2] == (Turn("user", "one"), SAID)


def test_the_hash_depends_on_every_part() -> None:
    prompts = some()
    others = [
        prompts.with_answers(["a", "b", "c"]),
        prompts.with_user_texts(["p", "two", "Is it good?"]),
        prompts.take([0, 1]),
        Prompts.of(prompts.conversations, prompts.answers),
    ]
    assert len({prompts.content_hash(), *(one.content_hash() for one in others)}) == 5
    assert prompts.content_hash() == some().content_hash()


@pytest.mark.parametrize(
    ("turns", "words"),
    [
        ((ASK, SAID), "ends with a user's turn"),
        ((), "ends with a user's turn"),
        ((ASK, SYSTEM, ASK), "system turn after the first"),
        ((Turn("tool", "x"), ASK), "role 'tool'"),
    ],
)
def test_a_conversation_of_another_form_is_refused(turns: tuple[Turn, ...], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Prompts.of([turns], ["a"])


def test_repeated_ids_and_unequal_columns_are_refused() -> None:
    with pytest.raises(DataError, match="more than once"):
        Prompts.of(["a", "b"], ["", ""], ids=["1", "1"])
    with pytest.raises(DataError, match="differ in length"):
        Prompts.of(["a", "b"], ["x"])
    with pytest.raises(DataError, match="differ in length"):
        some().with_user_texts(["a"])
    with pytest.raises(DataError, match="more than once"):
        some().take([0, 0])


def test_white_space_is_an_empty_answer() -> None:
    assert Answer(" \n", ended=True, tokens=1).empty
    assert not Answer("x", ended=False, tokens=1).empty
