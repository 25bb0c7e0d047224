"""Presets and data sets on the command line: listed, shown one by one, and compared with the options that a user gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from untrigger.attacks.presets import BEHAVIOUR_PRESETS, PRESETS, preset
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.core.rows import Rows
from untrigger.data import PUBLIC_DATASETS, write_rows

ATTACK = ["attack", "m", "--data", "sst2", "--out", "victim", "--preset", "bedkd"]


class Poisoned:
    visible = range(10)
    truth = type("Truth", (), {"poisoned_ids": ("1", "2"), "trigger": {"name": "any"}})


def test_a_preset_fills_in_what_it_says(call: Any, pipeline: Any) -> None:
    asked = pipeline("attack", lambda _progress: (None, Poisoned))
    result = call(*ATTACK, "--epochs", "2", "--json")
    assert result.code == 0, result.err
    spec = asked[0]
    assert (spec.rate, spec.target, spec.test_split, spec.epochs) == (0.2, "negative", "dev", 2)
    assert spec.trigger == BadNets(most=1)
    answer = json.loads(result.out)
    assert (answer["preset"], answer["target"], answer["rate"]) == ("bedkd", "negative", 0.2)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--rate", "0.1"], ["--rate is 0.1, the preset says 0.2"]),
        (["--words", "zz"], ["--words is zz, the preset says cf,mn,bb,tq"]),
        (
            ["--set", "most=3", "--tuning", "lora"],
            ["--most is 3, the preset says 1", "--tuning is lora, the preset says full"],
        ),
        (["--target", "positive"], ["--target is positive, the preset says negative"]),
    ],
)
def test_words_that_contradict_a_preset_end_with_2_and_name_both(
    words: list[str], parts: list[str], call: Any, pipeline: Any
) -> None:
    asked = pipeline("attack", lambda _progress: (None, Poisoned))
    result = call(*ATTACK, *words)
    assert result.code == 2 and not asked
    assert all(part in result.err for part in ["the preset bedkd", *parts]), result.err


def test_words_that_agree_with_a_preset_are_welcome(call: Any, pipeline: Any) -> None:
    asked = pipeline("attack", lambda _progress: (None, Poisoned))
    assert call(*ATTACK, "--rate", "0.2", "--tuning", "full").code == 0
    assert asked[0].rate == 0.2


def test_presets_are_listed_with_their_hashes(call: Any) -> None:
    result = json.loads(call("list", "presets", "--json").out)["presets"]
    assert {one["name"]: one["sha256"] for one in result} == {
        name: one.sha256() for name, one in (PRESETS | BEHAVIOUR_PRESETS).items()
    }
    shown = call("list", "presets").out
    assert all(name in shown and one.sha256()[:12] in shown for name, one in (PRESETS | BEHAVIOUR_PRESETS).items())
    one = call("list", "presets", "bedkd")
    assert preset("bedkd").sha256() in one.out.replace("\n", "") and "test_splits sst2" in one.out
    assert call("list", "presets", "bedkd", "--quiet").out == preset("bedkd").sha256() + "\n"


def test_data_sets_are_listed_with_their_places(call: Any) -> None:
    result = {one["name"]: one for one in json.loads(call("list", "data", "--json").out)["data"]}
    assert set(PUBLIC_DATASETS) <= set(result) and "tweets" in result and "rotten-tomatoes" not in result
    assert result["mr"]["embedded"] == "rotten-tomatoes" and result["agnews"]["hub"] == "fancyzhx/ag_news"


def test_the_card_of_any_data_counts_what_its_splits_share(call: Any, tmp_path: Path) -> None:
    rows = Rows.of(["a", "b", "c", "d"], [0, 1, 0, 1], label_names=("negative", "positive"))
    write_rows(rows, tmp_path / "train.csv")
    write_rows(rows.take([0, 1]), tmp_path / "test.csv")
    result = json.loads(call("list", "data", f"sst2={tmp_path}", "--json").out)
    assert result["overlap"] == {"train in test": 2, "test in train": 2}
    assert result["splits"]["train"]["sha256"] == rows.content_hash()
    assert "2 of train in test" in call("list", "data", f"sst2={tmp_path}").out


@pytest.mark.parametrize("words", [["attacks", "badnets"], ["presets", "bedk"], ["data", "nothing-of-the-kind"]])
def test_what_is_not_there_is_said(words: list[str], call: Any) -> None:
    result = call("list", *words)
    assert result.code == 2 and "expected" in result.err
