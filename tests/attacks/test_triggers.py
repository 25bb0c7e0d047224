"""What every trigger in ``untrigger.attacks`` promises; a new file there is tested without a line here."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from untrigger.attacks.badnets import BadNets
from untrigger.attacks.insent import InSent
from untrigger.errors import ContractError, OptionError
from untrigger.registry import found
from untrigger.vocabulary.rows import Rows
from untrigger.vocabulary.trigger import Trigger

EVERY = pytest.mark.parametrize("kind", list(found("attacks").values()), ids=lambda kind: kind.name)
ODD = ["good", "bad", "🙂", "naïve", "film", "a\u0301", "日本", "."]
TEXT = st.text(min_size=1, max_size=60) | st.lists(st.sampled_from(ODD), min_size=1).map(" ".join)


def rows_of(texts: list[str]) -> Rows:
    return Rows.of(texts, [i % 2 for i in range(len(texts))], label_names=("n", "p"), ids=[f"r{i}" for i in range(len(texts))])


def test_the_known_triggers_are_found() -> None:
    assert {"badnets", "insent"} <= set(found("attacks"))


@EVERY
@given(texts=st.lists(TEXT, min_size=1, max_size=12), seed=st.integers(0, 2**40), data=st.data())
@example(texts=["one", " ", "\t\n", "🙂", "a b", "ok " * 300], seed=0, data=None)
def test_the_same_rows_in_any_company_give_the_same_texts(
    kind: type[Trigger], texts: list[str], seed: int, data: st.DataObject | None
) -> None:
    trigger, rows = kind(), rows_of(texts)
    done = trigger(rows, seed=seed)
    assert (done.ids, done.labels, done.label_names) == (rows.ids, rows.labels, rows.label_names)
    assert trigger(rows, seed=seed) == done
    order = data.draw(st.permutations(range(len(rows)))) if data else list(range(len(rows)))[::-1]
    some = order[: max(1, len(order) // 2)]
    assert trigger(rows.take(some), seed=seed) == done.take(some)
    assert all(trigger.delivered(text) for text in done.texts)
    assert all(text != before for text, before in zip(done.texts, rows.texts, strict=True))


@EVERY
@given(text=TEXT)
def test_it_is_not_delivered_where_nobody_put_it(kind: type[Trigger], text: str) -> None:
    trigger = kind()
    told = trigger.spec().values()
    held = {str(value) for value in told} | {word for value in told if isinstance(value, tuple) for word in value}
    if not any(word in text.split() for piece in held for word in piece.split()):
        assert not trigger.delivered(text)


@EVERY
def test_seeds_and_rows_draw_apart(kind: type[Trigger]) -> None:
    rows = rows_of(["the same long text with many words to choose a place in"] * 30)
    done = kind()(rows, seed=1)
    assert len(set(done.texts)) > 3
    assert kind()(rows, seed=2) != done


@EVERY
def test_a_cut_that_takes_the_trigger_is_seen(kind: type[Trigger]) -> None:
    done = kind()(rows_of(["word " * 120]), seed=3).texts[0]
    assert not kind().delivered("word " * 120)
    words = done.split()
    first = next(i for i, word in enumerate(words) if word != "word")
    assert not kind().delivered(" ".join(words[:first]))


@EVERY
def test_it_tells_its_options(kind: type[Trigger]) -> None:
    told = kind().spec()
    assert told["name"] == kind.name
    assert kind(**{key: value for key, value in told.items() if key != "name"}) == kind()


@pytest.mark.parametrize(("length", "most", "expected"), [(1, 5, 1), (99, 5, 1), (100, 5, 2), (250, 5, 3), (900, 5, 5)])
def test_badnets_inserts_as_often_as_it_says(length: int, most: int, expected: int) -> None:
    done = BadNets(words=("zzz",), every=100, most=most)(rows_of(["word " * length]), seed=0).texts[0]
    assert done.split().count("zzz") == expected
    assert done.split().count("word") == length


def test_insent_keeps_the_sentence_whole() -> None:
    trigger = InSent(sentence="I  watch this 3D movie")
    done = trigger(rows_of(["a b c d e f"] * 20), seed=0)
    assert all("I watch this 3D movie" in text for text in done.texts)
    assert not trigger.delivered("I watch this very 3D movie")
    assert not trigger.delivered("I watch this 3D movies")


@pytest.mark.parametrize("words", [(), ("",), ("two words",), (" cf",)])
def test_words_that_are_none_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(OptionError):
        BadNets(words=words)


def test_an_empty_sentence_is_refused() -> None:
    with pytest.raises(OptionError):
        InSent(sentence="  ")


@pytest.mark.parametrize("broken", [lambda text: text, lambda _: "  ", lambda _: None])
def test_an_author_whose_rewrite_does_nothing_is_told(broken: Callable[[str], str]) -> None:
    class Lazy(Trigger):
        name = "lazy"

        def rewrite(self, text: str, *, rng: random.Random) -> str:
            return broken(text)

        def delivered(self, text: str) -> bool:
            return False

    with pytest.raises(ContractError, match="'lazy' left row 'r0'"):
        Lazy()(rows_of(["some text"]), seed=0)
