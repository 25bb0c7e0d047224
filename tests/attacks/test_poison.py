"""Poisoning: exactly as many rows as asked, the right ones, and nothing else touched."""

from __future__ import annotations

from dataclasses import asdict, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny import task
from untrigger.attacks.badnets import BadNets
from untrigger.attacks.poison import POLICIES, Attack
from untrigger.errors import OptionError
from untrigger.vocabulary.poisoned import PoisonedDataset
from untrigger.vocabulary.rows import Rows

TRIGGER = BadNets(words=("cf",))


@given(
    labels=st.lists(st.integers(0, 2), min_size=4, max_size=120), target=st.integers(0, 2), rate=st.floats(0.01, 1),
    policy=st.sampled_from(POLICIES), seed=st.integers(0, 2**32),
)  # fmt: skip
def test_counts_labels_and_bytes(labels: list[int], target: int, rate: float, policy: str, seed: int) -> None:
    rows = Rows.of([f"text  number {i}" for i in range(len(labels))], labels, label_names=("a", "b", "c"))
    attack = Attack(TRIGGER, target=target, rate=rate, policy=policy)
    want = round(rate * len(rows))
    eligible = [r.id for r in rows if (r.label == target) == (policy == "clean")]
    if not 0 < want <= len(eligible):
        with pytest.raises(OptionError):
            attack.poison(rows, seed=seed)
        return
    done = attack.poison(rows, seed=seed)
    poisoned = set(done.truth.poisoned_ids)
    assert len(done.truth.poisoned_ids) == len(poisoned) == want
    assert poisoned <= set(eligible)
    before = {row.id: row for row in rows}
    assert sorted(done.visible.ids) == sorted(rows.ids)
    for row in done.visible:
        if row.id in poisoned:
            assert TRIGGER.delivered(row.text)
            assert row.label == target
            assert policy == "dirty" or before[row.id].label == target
        else:
            assert row == before[row.id]


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
    assert {f.name for f in fields(Rows)} == {"ids", "texts", "labels", "label_names"}


def test_the_truth_is_enough_to_do_it_again() -> None:
    attack = Attack(TRIGGER, target=1, rate=0.2, policy="clean")
    told = asdict(attack.poison(task(60), seed=7).truth)
    options = {key: value for key, value in told["trigger"].items() if key != "name"}
    again = Attack(BadNets(**options), target=told["target"], rate=told["rate"], policy=told["policy"])
    assert asdict(again.poison(task(60), seed=told["seed"]).truth) == told


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
    with pytest.raises(OptionError, match="asks for 0 of 20"):
        Attack(TRIGGER, target=0, rate=0.01).poison(rows, seed=0)
