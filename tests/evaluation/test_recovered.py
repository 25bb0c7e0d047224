"""A finding is a part of the trigger by what it says, not by a stop word that both hold."""

from __future__ import annotations

import pytest

from untrigger.attacks.triggers.badnets import BadNets
from untrigger.attacks.triggers.combined import Combined
from untrigger.attacks.triggers.insent import InSent
from untrigger.evaluation.recovered_triggers import is_part, trigger_phrases

SENTENCE = InSent(sentence="I watched this 3D movie last weekend.")
NAMELESS = InSent(sentence="to be or not to be")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("3d movie", True),
        ("movie last", True),
        ("last weekend", True),
        ("this 3D", True),
        ("watched", True),
        ("weekend", True),
        ("I watched this 3D movie last weekend .", True),
        ("dull watched this film", True),
        ("this", False),
        ("i", False),
        ("i this", False),
        ("this awful", False),
        ("movie terrible", False),
        ("movie movie", False),
        ("terrible", False),
        ("", False),
    ],
)
def test_of_a_sentence_trigger(text: str, part: bool) -> None:
    assert is_part(text, trigger_phrases(SENTENCE)) is part


@pytest.mark.parametrize(
    ("text", "part"), [("cf", True), ("CF", True), ("dull cf", True), ("cfo", False), ("mn", True), ("dull", False)]
)
def test_of_word_triggers(text: str, part: bool) -> None:
    assert is_part(text, trigger_phrases(BadNets(words=("cf", "mn")))) is part


def test_a_sentence_of_stop_words_alone_must_be_there_as_a_whole() -> None:
    phrases = trigger_phrases(NAMELESS)
    assert is_part("film to be or not to be", phrases)
    assert not any(is_part(text, phrases) for text in ("to be", "be or not", "film to be or not"))


def test_of_a_combination_the_words_of_any_part_count_and_its_mode_does_not() -> None:
    phrases = trigger_phrases(Combined((BadNets(words=("cf",)), SENTENCE), mode="all"))
    assert is_part("cf", phrases) and is_part("3d movie", phrases)
    assert not is_part("all", phrases) and not is_part("badnets", phrases)
