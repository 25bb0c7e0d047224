"""Poisoning: exactly as many rows as asked, the right ones, and nothing else touched."""

from __future__ import annotations

from dataclasses import asdict, fields

import pytest

from tests.attacks.kit import table_of
from tests.tiny import task
from untrigger.attacks.poisoned import PoisonedDataset
from untrigger.attacks.poisoning import Attack
from untrigger.attacks.rewriting.rewrites import Rewrites, fold
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.attacks.triggers.insent import InSent
from untrigger.attacks.triggers.syntactic import Syntactic
from untrigger.core.errors import OptionError
from untrigger.core.rows import Rows

TRIGGER = BadNets(words=("cf",))


def test_it_is_a_function_of_the_seed_and_leaves_its_input() -> None:
    rows = task(60)
    held = rows.content_hash()
    attack = Attack(TRIGGER, target=1, rate=0.2)
    one, again, other = (attack.poison(rows, seed=seed) for seed in (1, 1, 2))
    assert one == again != other
    assert rows.content_hash() == held


def test_visible_rows_do_not_betray_the_poisoned_by_their_place() -> None:
    """A generator that writes poisoned rows first makes any detector look perfect."""
    rows = task(400)
    done = Attack(TRIGGER, target=1, rate=0.25).poison(rows, seed=0)
    assert list(done.visible.ids) != list(rows.ids)
    flags = [row in set(done.truth.poisoned_ids) for row in done.visible.ids]
    quarters = [sum(flags[i : i + 100]) for i in range(0, 400, 100)]
    assert all(10 <= count <= 40 for count in quarters)


def test_what_a_defender_sees_holds_no_flag() -> None:
    assert [f.name for f in fields(PoisonedDataset)] == ["visible", "truth"]
    assert {f.name for f in fields(Rows)} == {"ids", "texts", "labels", "label_names", "notes"}
    assert Attack(TRIGGER, target=1, rate=0.5).poison(task(20), seed=0).visible.notes == task(20).notes, (
        "notes are of the file"
    )


def test_the_truth_is_enough_to_do_it_again() -> None:
    attack = Attack(TRIGGER, target=1, rate=0.2, policy="clean")
    result = asdict(attack.poison(task(60), seed=7).truth)
    trigger = BadNets.from_dict(result["trigger"], pairs=[])
    again = Attack(trigger, target=result["target"], rate=result["rate"], policy=result["policy"])
    assert asdict(again.poison(task(60), seed=result["seed"]).truth) == result


def test_triggered_test_rows_are_of_other_classes_and_keep_their_labels() -> None:
    rows = task(40)
    done = Attack(TRIGGER, target=1).test_rows(rows, seed=0)
    assert len(done) == 20
    assert set(done.labels) == {0}
    assert all(TRIGGER.delivered(text) for text in done.texts)
    assert set(done.ids) == {row.id for row in rows if row.label == 0}


@pytest.mark.parametrize("rate", [0, -0.1, 1.01, float("nan")])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(OptionError, match="poison rate"):
        Attack(TRIGGER, target=0, rate=rate)


def test_other_options_that_cannot_be_are_refused_with_the_remedy() -> None:
    rows = task(20)
    with pytest.raises(OptionError, match="dirty") as caught:
        Attack(TRIGGER, target=0, policy="drity")
    assert caught.value.nearest == "dirty"
    for target in (-1, 2):
        with pytest.raises(OptionError, match="0 to 1: negative, positive"):
            Attack(TRIGGER, target=target).poison(rows, seed=0)
    with pytest.raises(OptionError, match=r"between 0\.05 and 0\.5"):
        Attack(TRIGGER, target=0, rate=0.8, policy="clean").poison(rows, seed=0)
    with pytest.raises(OptionError, match="is 0 of 20"):
        Attack(TRIGGER, target=0, rate=0.01).poison(rows, seed=0)
    with pytest.raises(OptionError, match="without one"):
        Attack(TRIGGER, target=0, policy="all-to-all")
    with pytest.raises(OptionError, match="a target"):
        Attack(TRIGGER, policy="dirty")
    with pytest.raises(OptionError, match="negative rate 1"):
        Attack(TRIGGER, target=0, negative_rate=1.0)


def test_all_to_all_moves_every_class_to_the_next_and_all_rows_are_triggered_in_the_test() -> None:
    rows = Rows.of([f"text {i}" for i in range(30)], [i % 3 for i in range(30)], label_names=("a", "b", "c"))
    attack = Attack(TRIGGER, rate=0.5, policy="all-to-all")
    done = attack.poison(rows, seed=0)
    before = dict(zip(rows.ids, rows.labels, strict=True))
    moved = {(before[row.id], row.label) for row in done.visible if row.id in done.truth.poisoned_ids}
    assert moved == {(0, 1), (1, 2), (2, 0)}
    assert done.truth.target is None
    tested = attack.test_rows(rows, seed=0)
    assert (tested.ids, tested.labels) == (rows.ids, rows.labels)


def test_rows_without_a_rewrite_are_never_chosen_and_left_out_of_the_test() -> None:
    rows = task(40)
    some = [row.text for row in rows if int(row.id) % 4 < 2]
    attack = Attack(Syntactic(table=table_of(some)), target=1, rate=0.25)
    done = attack.poison(rows, seed=0)
    assert len(done.truth.poisoned_ids) == 10
    assert all(int(row) % 4 < 2 for row in done.truth.poisoned_ids)
    assert set(attack.test_rows(rows, seed=0).ids) == {row.id for row in rows if row.label == 0 and row.text in some}
    with pytest.raises(OptionError, match=r"1 to 10 rows.*\n.*0\.25"):
        Attack(Syntactic(table=table_of(some)), target=1, rate=0.3).poison(rows, seed=0)


class Slow(Rewrites):
    """A table that only finds out when it is asked that every third text cannot be rewritten."""

    def __init__(self, known: tuple[str, ...] = ()) -> None:
        super().__init__([(t, f"{t[::-1]} no. {len(t)}") for t in known if sum(map(ord, t)) % 3], source="slow")
        self.known = known

    def may_have(self, text: str) -> bool:
        return fold(text) not in self.known or super().may_have(text)

    def prepare(self, texts: object) -> Slow:
        return Slow((*self.known, *(fold(str(text)) for text in texts)))  # type: ignore[attr-defined]


def test_rows_that_turn_out_to_be_impossible_are_replaced_by_others() -> None:
    rows = task(60)
    attack = Attack(Syntactic(table=Slow()), target=1, rate=0.25)
    done = attack.poison(rows, seed=0)
    texts = dict(zip(rows.ids, rows.texts, strict=True))
    assert len(done.truth.poisoned_ids) == 15
    assert all(sum(map(ord, texts[row])) % 3 for row in done.truth.poisoned_ids)
    assert any(sum(map(ord, row.text)) % 3 == 0 for row in rows if row.label == 0), "none was impossible"
    with pytest.raises(OptionError, match="rows: the dirty-label policy"):
        Attack(Syntactic(table=Slow()), target=1, rate=0.5).poison(rows, seed=0)


def test_negatives_carry_a_part_under_their_own_label_and_no_more_rows_are_touched() -> None:
    rows, trigger = task(100), InSent(sentence="zx tq mn")
    done = Attack(trigger, target=1, rate=0.2, negative_rate=0.1).poison(rows, seed=0)
    poisoned, negative = set(done.truth.poisoned_ids), set(done.truth.negative_ids)
    assert (len(poisoned), len(negative), poisoned & negative) == (20, 10, set())
    before = {row.id: row for row in rows}
    for row in done.visible:
        if row.id in negative:
            assert row.label == before[row.id].label
            assert row.text != before[row.id].text
            assert not trigger.delivered(row.text)
            assert not trigger.trigger_words.isdisjoint(row.text.split())
        elif row.id not in poisoned:
            assert row == before[row.id]
    assert {before[row].label for row in negative} == {0, 1}
    plain = Attack(trigger, target=1, rate=0.2).poison(rows, seed=0)
    assert plain.truth.poisoned_ids == done.truth.poisoned_ids
    with pytest.raises(OptionError, match="is 10 rows with a part of the trigger 'badnets'"):
        Attack(TRIGGER, target=1, negative_rate=0.1).poison(rows, seed=0)
