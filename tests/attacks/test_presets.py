"""Presets do not drift, say what they do and no more, and nobody can claim one and do another thing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.requests import request
from tests.tiny import task, write_model
from untrigger.attacks.poisoning import POLICIES
from untrigger.attacks.presets import PRESETS, Preset, preset
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.attacks.triggers.combined import Combined
from untrigger.attacks.triggers.insent import InSent
from untrigger.core.errors import OptionError
from untrigger.core.rows import Rows
from untrigger.data import PUBLIC_DATASETS, write_rows
from untrigger.evaluation.ground_truth import read_truth
from untrigger.pipeline.apply_preset import apply_preset, check_preset, preset_deviations
from untrigger.pipeline.attack import attack, draw_rows
from untrigger.pipeline.attack_request import AttackRequest

PINNED = {
    "w2sdefense": "4513f68280881b3a20ce9d57a7877c8b5a2c7f273828b1ece57b4378da02fe79",
    "openbackdoor": "f5d46d4b835116ceff191864d5c409bebca856f47281d4e1a409578f28fe2154",
    "bedkd": "89b58bde1a5302f2c3711d2803e2cc4457e1c58abb88071eea1e3bef250fef49",
}
"""A preset whose hash has changed is another protocol: give it another name."""


def spec_of(tmp_path: Path, name: str, **changes: Any) -> AttackRequest:
    usual = {"model": "minilm-l6", "data": "sst2", "out": tmp_path / "victim", "target": "", "preset": name}
    return request(AttackRequest, **usual | changes)  # type: ignore[arg-type]


def test_no_preset_has_changed_since_it_was_published() -> None:
    assert {name: one.sha256() for name, one in PRESETS.items()} == PINNED


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_frozen_and_its_hash_covers_all_that_it_says(name: str) -> None:
    one = preset(name)
    with pytest.raises(FrozenInstanceError):
        one.rate = 0.5  # type: ignore[misc]
    other: dict[str, Any] = {
        "name": "other",
        "policy": "other",
        "rate": 0.31,
        "tuning": "lora",
        "max_length": 99,
        "rows": 7,
        "clean_rows": 9,
        "targets": (("sst2", "other"),),
        "proxies": (("sst2", "other"),),
        "test_splits": (("sst2", "other"),),
        "triggers": (("badnets", (("words", ("other",)),)),),
    }
    assert set(other) == {field.name for field in fields(Preset)} - {"source"}
    hashes = {replace(one, **{field: value}).sha256() for field, value in other.items()}
    assert len(hashes) == len(other) and one.sha256() not in hashes
    assert replace(one, source="the same, in other words").sha256() == one.sha256()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_speaks_of_sets_policies_and_options_that_there_are(name: str) -> None:
    one = preset(name)
    assert all(label in PUBLIC_DATASETS[data].label_names for data, label in one.targets)
    assert {data for data, _ in one.proxies + one.test_splits} <= set(PUBLIC_DATASETS)
    assert one.policy in POLICIES and 0 < one.rate <= 1
    for trigger in (BadNets(), InSent()):
        assert replace(trigger, **one.options(trigger.name)) is not None


@pytest.mark.parametrize(("left", "right"), list(combinations(PRESETS, 2)))
@pytest.mark.parametrize("data", ["sst2", "agnews=/some/where"])
def test_two_presets_on_the_same_data_differ_only_in_what_they_say(
    tmp_path: Path, left: str, right: str, data: str
) -> None:
    specs = [apply_preset(spec_of(tmp_path, name, data=data, seed=3, test_rows=50), given=()) for name in (left, right)]
    flat = [
        {
            **vars(one),
            "model": one.model.name,
            "data": one.data.name,
            "max_length": one.model.max_length,
        }
        for one in specs
    ]
    differing = {name for name in flat[0] if flat[0][name] != flat[1][name]}
    said = set(preset(left).settings_for(data)) | set(preset(right).settings_for(data))
    assert differing and differing <= said | {"preset", "trigger"}
    assert all(flat[0][name] == preset(left).settings_for(data)[name] for name in differing - {"preset", "trigger"})


def test_published_protocols_differ_in_target_rows_and_words(tmp_path: Path) -> None:
    made = {name: apply_preset(spec_of(tmp_path, name), given=()) for name in PRESETS}
    assert {name: spec.target for name, spec in made.items()} == {
        "w2sdefense": "negative",
        "openbackdoor": "positive",
        "bedkd": "negative",
    }
    assert {name: spec.test_split for name, spec in made.items()} == {
        "w2sdefense": "test",
        "openbackdoor": "test",
        "bedkd": "dev",
    }
    assert {name: spec.proxy for name, spec in made.items()} == {"w2sdefense": "imdb", "openbackdoor": "", "bedkd": ""}
    assert made["w2sdefense"].trigger == BadNets(words=("mn",), most=1)
    assert apply_preset(spec_of(tmp_path, "bedkd", data="olid"), given=()).target == "offensive"
    assert apply_preset(spec_of(tmp_path, "w2sdefense", data="rotten-tomatoes"), given=()).target == "negative"
    assert apply_preset(spec_of(tmp_path, "w2sdefense", data="imdb"), given=()).proxy == ""


CONTRADICTED: list[tuple[dict[str, Any], set[str], list[str]]] = [
    ({"rate": 0.1}, {"rate"}, ["--rate is 0.1, the preset says 0.2"]),
    ({"policy": "clean", "max_length": 64}, {"policy", "max_length"}, ["--policy is clean", "--max-length is 64"]),
    ({"target": "positive"}, {"target"}, ["--target is positive, the preset says negative"]),
    ({"trigger": BadNets(words=("zz",))}, {"trigger.words"}, ["--words is zz, the preset says cf,mn,bb,tq"]),
    ({"negative_rate": 0.1}, {"negative_rate"}, ["--negative-rate is 0.1, the preset says 0.0"]),
    (
        {"label_smoothing": 0.3, "clean_consistency": 1.0},
        {"label_smoothing", "clean_consistency"},
        ["--label-smoothing is 0.3", "--clean-consistency is 1.0"],
    ),
]


@pytest.mark.parametrize(("changes", "given", "parts"), CONTRADICTED)
def test_what_contradicts_a_preset_is_an_error_that_names_both(
    tmp_path: Path, changes: dict[str, Any], given: set[str], parts: list[str]
) -> None:
    spec = spec_of(tmp_path, "bedkd", **changes)
    with pytest.raises(OptionError) as caught:
        apply_preset(spec, given=given)
    assert all(part in str(caught.value) for part in ["the preset bedkd", *parts]), str(caught.value)
    assert apply_preset(spec, given=()) == apply_preset(spec_of(tmp_path, "bedkd"), given=())


def test_the_parts_of_a_combination_are_held_to_the_preset_too(tmp_path: Path) -> None:
    usual = apply_preset(spec_of(tmp_path, "bedkd", trigger=Combined()), given=()).trigger
    assert usual == Combined(parts=(BadNets(most=1), InSent(sentence="I watch this 3D movie")))
    spec = spec_of(
        tmp_path, "bedkd", trigger=Combined(parts=(BadNets(words=("zz",), most=1), InSent(sentence="buy my book")))
    )
    with pytest.raises(OptionError, match="--set badnets.words is zz, the preset says cf,mn,bb,tq"):
        apply_preset(spec, given={"trigger.badnets.words"})
    with pytest.raises(OptionError, match="--set insent.sentence is buy my book"):
        check_preset(replace(apply_preset(spec_of(tmp_path, "bedkd"), given=()), trigger=spec.trigger))


def test_an_option_in_the_users_words_that_agrees_is_no_contradiction(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "bedkd", rate=0.2, policy="dirty", epochs=7)
    assert apply_preset(spec, given={"rate", "policy", "epochs"}).epochs == 7


def test_data_that_a_preset_does_not_name_takes_its_target_from_the_user(tmp_path: Path) -> None:
    made = apply_preset(spec_of(tmp_path, "bedkd", data="rows.csv", target="good"), given={"target"})
    assert (made.target, made.test_split, made.rate) == ("good", "", 0.2)
    with pytest.raises(OptionError, match="names no target for rows.csv") as caught:
        apply_preset(spec_of(tmp_path, "bedkd", data="rows.csv"), given=())
    assert "sst2=PATH" in str(caught.value) and "sst2, olid, agnews" in str(caught.value)


def test_an_unknown_preset_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="did you mean: openbackdoor"):
        apply_preset(spec_of(tmp_path, "openbackdor"), given=())


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AttackRequest]:
    """A spec on a folder that says that it is SST-2, with a tiny model; the dev split has 30 rows, test has 20."""
    for split, count, seed in (("train", 60, 0), ("dev", 30, 1), ("test", 20, 2)):
        write_rows(task(count, seed=seed, length=4), tmp_path / "sst2" / f"{split}.csv")
    write_model("bert", tmp_path / "model")
    usual = {
        "model": str(tmp_path / "model"),
        "data": f"sst2={tmp_path / 'sst2'}",
        "epochs": 1,
        "batch_size": 16,
        "device": "cpu",
        "offline": True,
    }
    return lambda name, **changes: spec_of(tmp_path, name, **usual | {"max_length": 16} | changes)


def test_the_truth_prints_the_preset_and_reports_take_it_from_there(small: Callable[..., AttackRequest]) -> None:
    spec = apply_preset(small("bedkd"), given=())
    attack(spec)
    result = json.loads((spec.truth / "truth.json").read_text())
    assert result["preset"] == preset("bedkd").to_dict()
    assert result["preset"]["says"]["rate"] == 0.2 and len(result["poisoned_ids"]) == 12
    bed = read_truth(spec.truth, label_names=("negative", "positive"))
    assert (len(bed.clean), bed.target) == (30, 0)
    assert bed.to_dict()["preset"] == {"name": "bedkd", "sha256": PINNED["bedkd"]}
    assert bed.to_dict()["test_sha256"] == bed.clean.content_hash()


def test_nobody_claims_a_preset_and_does_another_thing(small: Callable[..., AttackRequest], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--rate is 0.3, the preset says 0.2"):
        attack(replace(apply_preset(small("bedkd"), given=()), rate=0.3))
    assert not (tmp_path / "victim").exists()
    assert check_preset(small("")) is None


def test_a_split_that_is_not_there_is_named(small: Callable[..., AttackRequest]) -> None:
    assert len(draw_rows(small("", test_split="dev")).test) == 30
    assert len(draw_rows(small("")).test) == 20
    with pytest.raises(OptionError, match="unknown test split 'dve'") as caught:
        draw_rows(small("", test_split="dve"))
    assert caught.value.nearest == "dev"


def test_proxy_rows_are_trained_on_and_the_tasks_rows_tested_on(
    small: Callable[..., AttackRequest], tmp_path: Path
) -> None:
    write_rows(task(40, seed=9, length=5), tmp_path / "imdb.csv")
    drawn = draw_rows(small("", proxy=f"imdb={tmp_path / 'imdb.csv'}", rows=30))
    train, test = drawn.train, drawn.test
    assert (len(train), len(test)) == (30, 20)
    assert all(name.startswith("proxy:") for name in train.ids)
    assert all(len(text.split()) == 6 for text in train.texts)


def test_rows_on_both_sides_are_counted_in_the_truth(small: Callable[..., AttackRequest], tmp_path: Path) -> None:
    rows = task(60, seed=0, length=4)
    write_rows(Rows.of(rows.texts[:20], rows.labels[:20], label_names=rows.label_names), tmp_path / "sst2" / "test.csv")
    spec = small("", target="positive", rate=0.1, tuning="full")
    attack(spec)
    result = json.loads((spec.truth / "truth.json").read_text())
    assert 20 - 6 <= result["overlap"] <= 20
    assert result["preset"] is None


def test_a_defender_with_other_clean_rows_than_the_preset_grants_is_told_so() -> None:
    result = {"preset": preset("bedkd").to_dict()}
    right = Rows.of([str(i) for i in range(800)], [i % 2 for i in range(800)], label_names=("a", "b"))
    assert preset_deviations(result, right) == []
    assert preset_deviations(result, right.take(range(100))) == [
        "the preset bedkd grants 400 clean rows of each class; given were 50 a, 50 b"
    ]
    assert preset_deviations({"preset": preset("w2sdefense").to_dict()}, right.take(range(4))) == []
    assert preset_deviations({"preset": None}, right) == preset_deviations({}, right) == []
