"""What every trigger in ``untrigger.attacks`` promises; a new file there is tested without a line here."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.attacks.kit import TARGET, rows_of, usable
from tests.tiny import GOOD, PLAIN
from untrigger.attacks.poisoned import target_labels
from untrigger.attacks.poisoning import POLICIES, Attack
from untrigger.attacks.trigger import Trigger
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.attacks.triggers.combined import Combined
from untrigger.attacks.triggers.insent import InSent
from untrigger.attacks.triggers.syntactic import Syntactic
from untrigger.core.errors import ContractError, OptionError
from untrigger.core.registry import methods_of
from untrigger.core.rows import Rows

EVERY = pytest.mark.parametrize("kind", list(methods_of("attacks").values()), ids=lambda kind: kind.name)
ODD = ["🙂", "naïve", "a\u0301", "日本", ".", "Film!", *GOOD[:3], *PLAIN[:6]]
TEXT = st.text(min_size=1, max_size=60) | st.lists(st.sampled_from(ODD), min_size=1).map(" ".join)
LONG = "the film story scene actor music plot of and with some this that very camera ending voice light cut good"


def unmarked(trigger: Trigger) -> str:
    """Words of the task that the trigger does not bring: some triggers are made of words that clean texts use too."""
    return " ".join(word for word in LONG.split() if word not in trigger.trigger_words)


class Counting(random.Random):
    """A random stream that knows whether anything was drawn from it."""

    drawn = 0

    def random(self) -> float:
        self.drawn += 1
        return super().random()

    def getrandbits(self, k: int) -> int:
        self.drawn += 1
        return super().getrandbits(k)


def test_the_known_triggers_are_found() -> None:
    known = {"apex", "badnets", "bite", "combined", "insent", "lws", "paraphrase", "style", "syntactic"}
    assert known <= set(methods_of("attacks"))


@EVERY
@given(texts=st.lists(TEXT, min_size=1, max_size=12), seed=st.integers(0, 2**40), data=st.data())
@example(texts=["one", " ", "\t\n", "🙂", "a b", "ok " * 300, LONG], seed=0, data=None)
def test_the_same_rows_in_any_company_give_the_same_texts(
    kind: type[Trigger], texts: list[str], seed: int, data: st.DataObject | None
) -> None:
    trigger = usable(kind, texts)
    rows = rows_of(texts)
    rows = rows.where(trigger.applies(text) for text in rows.texts)
    done = trigger(rows, seed=seed)
    assert (done.ids, done.labels, done.label_names) == (rows.ids, rows.labels, rows.label_names)
    assert trigger(rows, seed=seed) == done
    order = data.draw(st.permutations(range(len(rows)))) if data else list(range(len(rows)))[::-1]
    some = order[: len(order) // 2 + len(order) % 2]
    assert trigger(rows.take(some), seed=seed) == done.take(some)
    assert all(trigger.delivered(text) for text in done.texts)
    assert all(text != before for text, before in zip(done.texts, rows.texts, strict=True))


@EVERY
def test_it_can_be_set_in_texts_of_the_task_and_in_its_one_word_texts(kind: type[Trigger]) -> None:
    """Else the test above could pass on no rows at all."""
    trigger = usable(kind, [LONG, *PLAIN])
    assert trigger.applies(LONG)
    assert any(trigger.applies(word) for word in PLAIN)


@EVERY
@given(
    labels=st.lists(st.integers(0, 2), min_size=4, max_size=60),
    rate=st.floats(0.01, 1),
    policy=st.sampled_from(POLICIES),
    seed=st.integers(0, 2**32),
)
def test_exactly_the_rows_that_were_asked_for_are_changed_and_labelled_as_the_policy_says(
    kind: type[Trigger], labels: list[int], rate: float, policy: str, seed: int
) -> None:
    texts = [f"{LONG}  {i}" for i in range(len(labels))]
    rows = Rows.of(texts, labels, label_names=("a", "b", "c"))
    target = None if policy == "all-to-all" else TARGET
    attack = Attack(usable(kind, texts), target=target, rate=rate, policy=policy)
    allowed = {"dirty": lambda y: y != TARGET, "clean": lambda y: y == TARGET}.get(policy, lambda _: True)
    eligible = {row.id for row in rows if allowed(row.label)}
    want = round(rate * len(rows))
    if not 0 < want <= len(eligible):
        with pytest.raises(OptionError, match="poison rate"):
            attack.poison(rows, seed=seed)
        return
    done = attack.poison(rows, seed=seed)
    assert attack.poison(rows, seed=seed) == done
    poisoned, before = set(done.truth.poisoned_ids), {row.id: row for row in rows}
    assert len(done.truth.poisoned_ids) == len(poisoned) == want
    assert poisoned <= eligible
    assert sorted(done.visible.ids) == sorted(rows.ids)
    aim = target_labels(target, classes=3)
    for row in done.visible:
        if row.id in poisoned:
            assert attack.trigger.delivered(row.text)
            assert row.text != before[row.id].text
            assert row.label == aim[before[row.id].label]
        else:
            assert row == before[row.id]


@EVERY
@given(text=TEXT)
def test_it_is_not_delivered_where_nobody_put_it(kind: type[Trigger], text: str) -> None:
    trigger = usable(kind, [LONG])
    if trigger.trigger_words.isdisjoint(text.split()) and trigger.trigger_words.isdisjoint(text.casefold().split()):
        assert not trigger.delivered(text)


@EVERY
def test_seeds_and_rows_draw_apart_where_anything_is_drawn(kind: type[Trigger]) -> None:
    rows = rows_of([LONG] * 30)
    trigger: Any = usable(kind, [LONG])
    stream = Counting(0)
    trigger.apply(LONG, rng=stream)
    done = trigger(rows, seed=1)
    if stream.drawn:
        assert len(set(done.texts)) > 3
        assert trigger(rows, seed=2) != done
    else:
        assert len(set(done.texts)) == 1


@EVERY
def test_a_cut_that_takes_the_trigger_is_seen(kind: type[Trigger]) -> None:
    text = unmarked(usable(kind))
    trigger = usable(kind, [text])
    assert trigger.applies(text)
    done, before = trigger(rows_of([text]), seed=3).texts[0].split(), text.split()
    assert not trigger.delivered(text)
    same = next(i for i, word in enumerate(done) if i == len(before) or word != before[i])
    assert not trigger.delivered(" ".join(done[:same]))


@EVERY
def test_an_evaluator_reads_it_back_from_a_small_spec(kind: type[Trigger]) -> None:
    """What goes to the truth file tells no text of the rows, and is enough to say whether the trigger came through."""
    texts = [f"{unmarked(usable(kind))} {i}" for i in range(200)]
    trigger = usable(kind, texts)
    result = json.loads(json.dumps(trigger.to_dict()))
    assert result["name"] == kind.name
    assert len(json.dumps(result)) < 3000
    rows = rows_of(texts)
    done = trigger(rows, seed=0)
    again = kind.from_dict(result, pairs=zip(rows.texts, done.texts, strict=True))
    assert all(again.delivered(text) for text in done.texts)
    assert not any(again.delivered(text) for text in rows.texts)
    for text in done.texts[:20]:
        cut = text.rsplit(" ", 2)[0]
        assert again.delivered(cut) == trigger.delivered(cut)


@EVERY
def test_an_unready_trigger_says_what_it_lacks(kind: type[Trigger]) -> None:
    trigger = kind()
    if trigger.needs:
        with pytest.raises(OptionError, match="cannot be applied yet"):
            Attack(trigger, target=0).poison(rows_of([LONG] * 10), seed=0)
        with pytest.raises(OptionError, match="cannot be applied yet"):
            Attack(trigger, target=0).test_rows(rows_of([LONG] * 10), seed=0)
    else:
        assert not trigger.missing_requirements()


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


def test_one_of_several_is_drawn_by_the_row_and_all_of_them_are_needed_where_all_were_asked_for() -> None:
    rows, parts = rows_of([LONG] * 60), (BadNets(words=("cf",)), InSent(sentence="zx tq"))
    one, both = Combined(parts), Combined(parts, mode="all")
    held = [tuple(part.delivered(text) for part in parts) for text in one(rows, seed=0).texts]
    assert {(True, False), (False, True)} == set(held)
    assert all(part.delivered(text) for text in both(rows, seed=0).texts for part in parts)
    assert not both.delivered("a cf b")
    assert one.delivered("a cf b")
    assert one.trigger_words == both.trigger_words == {"cf", "zx", "tq"}


def test_a_combination_asks_each_part_where_it_can_be_set() -> None:
    one = Combined((usable(Syntactic, [LONG]), BadNets(words=("cf",))))
    assert "cf" in one(rows_of(["nobody has rewritten this"] * 5), seed=0).texts[0]
    assert len(set(one(rows_of([LONG] * 40), seed=0).texts)) > 3
    for result in ({"every": 0}, {"most": 0}, {"most": -3}):
        with pytest.raises(OptionError, match="1 or more"):
            BadNets(**result)
    with pytest.raises(OptionError, match="as one of all"):
        Combined((usable(Syntactic), BadNets()), mode="all")
    with pytest.raises(OptionError, match="two or more"):
        Combined((BadNets(),))
    with pytest.raises(OptionError, match="mode of combination"):
        Combined(mode="both")


@given(
    texts=st.lists(TEXT, min_size=1, max_size=8), seed=st.integers(0, 2**20), mode=st.sampled_from(["insent", "all"])
)
@example(texts=["3D movie", "this 3D movie", "I watch", "movie I watch this 3D"], seed=0, mode="insent")
def test_a_part_of_the_trigger_is_never_the_trigger(texts: list[str], seed: int, mode: str) -> None:
    trigger: Any = (
        InSent() if mode == "insent" else Combined((BadNets(words=("cf",)), InSent(sentence="zx")), mode="all")
    )
    made = trigger.partial_triggers(rows_of(texts), seed=seed)
    assert trigger.partial_triggers(rows_of(texts), seed=seed) == made
    for i, text in enumerate(texts):
        if f"r{i}" in made:
            assert not trigger.delivered(made[f"r{i}"])
            assert len(made[f"r{i}"].split()) > len(text.split())


@pytest.mark.parametrize("words", [(), ("",), ("two words",), (" cf",)])
def test_words_that_are_none_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(OptionError):
        BadNets(words=words)


def test_an_empty_sentence_is_refused() -> None:
    with pytest.raises(OptionError):
        InSent(sentence="  ")


class Lazy(Trigger):
    name = "lazy"
    does: Callable[[str], Any] = staticmethod(lambda text: text)
    whole = False

    def apply(self, text: str, *, rng: random.Random) -> str:
        return type(self).does(text)  # type: ignore[no-any-return]

    def delivered(self, text: str) -> bool:
        return self.whole

    def partial(self, text: str, *, rng: random.Random) -> str | None:
        return f"{text} x"


@pytest.mark.parametrize("broken", [lambda text: text, lambda _: "  ", lambda _: None])
def test_an_author_whose_rewrite_does_nothing_is_told(
    broken: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lazy, "does", staticmethod(broken))
    with pytest.raises(ContractError, match="'lazy' did not change row 'r0'"):
        Lazy()(rows_of(["some text"]), seed=0)


def test_an_author_whose_part_is_the_whole_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Lazy().partial_triggers(rows_of(["some text"]), seed=0) == {"r0": "some text x"}
    monkeypatch.setattr(Lazy, "whole", True)
    with pytest.raises(ContractError, match="is the whole trigger"):
        Lazy().partial_triggers(rows_of(["some text"]), seed=0)
