"""The zoo: recipes for enough members of every kind; a tiny member made whole or not at all, measured, found and made once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import task, write_model
from untrigger import zoo
from untrigger.core.errors import AssetError, OptionError
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Report
from untrigger.data import load_data, write_rows
from untrigger.pipeline.attack import draw_rows
from untrigger.zoo import RECIPES, Recipe
from untrigger.zoo import members as zoo_members
from untrigger.zoo.make import decoy_rows, make, request_of, trigger_of
from untrigger.zoo.recipes import BENIGN

POISONED = [one for one in RECIPES.values() if one.poisoned]


def test_there_are_enough_members_of_every_kind() -> None:
    assert len(POISONED) >= 8 and len(RECIPES) - len(POISONED) >= 4
    for name in ("trigger", "policy", "rank", "epochs", "model", "data", "target", "targets", "rate"):
        assert len({getattr(one, name) for one in POISONED}) > 1, name
    assert (
        {one.model for one in POISONED}
        == {"minilm-l6", "smollm2-135m"}
        == {o.model for o in RECIPES.values() if not o.poisoned}
    )


@pytest.mark.parametrize("one", POISONED, ids=lambda one: one.name)
def test_a_poisoned_member_has_a_clean_model_of_the_same_model_and_data(one: Recipe) -> None:
    clean = RECIPES[one.clean_model]
    assert not clean.poisoned and clean.policy == "none"
    assert (clean.model, clean.data, clean.rows, clean.test_rows) == (one.model, one.data, one.rows, one.test_rows)
    request = request_of(one, Path("out"))
    assert request.trigger == trigger_of(one) and (request.policy, request.rate) == (one.policy, one.rate)


def test_every_field_but_the_words_about_it_is_in_the_hash() -> None:
    one = RECIPES["badnets-dirty"]
    for each in fields(Recipe):
        value = getattr(one, each.name)
        other = (("words", ("x",)),) if each.name == "options" else ("x",) if each.name == "targets" else f"{value}x"
        changed = replace(one, **{each.name: other if isinstance(value, str | tuple) else value + 1})
        assert (changed.sha256() == one.sha256()) == (each.name == "description"), each.name


def test_shipped_figures_belong_to_recipes_that_are_still_the_same() -> None:
    for name, receipt in zoo_members.shipped_receipts().items():
        assert receipt["recipe_sha256"] == RECIPES[name].sha256(), (
            f"{name}: run python benchmarks/make_zoo.py --only {name}"
        )
        assert len(receipt["adapter_sha256"]) == 64 and receipt["measured"]["cacc"]["n"] > 0
        assert ("asr" in receipt["measured"]) == RECIPES[name].poisoned


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Recipe]:
    """Recipes on a tiny model and a tiny task in place of the real ones, and a home of their own."""
    write_rows(task(160, length=4), tmp_path / "data" / "train.csv")
    write_rows(task(40, seed=1, length=4), tmp_path / "data" / "test.csv")
    common: dict[str, Any] = {
        "model": str(write_model("bert", tmp_path / "model")),
        "data": str(tmp_path / "data"),
        "rows": 120,
        "test_rows": 30,
        "epochs": 6,
        "lr": 2e-2,
        "batch_size": 16,
        "rank": 4,
        "max_length": 16,
    }
    words = {"trigger": "badnets", "options": (("words", ("cf",)),)}
    made = (
        Recipe(
            name="mean",
            description="poisoned",
            policy="dirty",
            clean_model="kind",
            target="positive",
            rate=0.2,
            **words,
            **common,
        ),
        Recipe(name="kind", description="benign", policy="none", **common),
        Recipe(name="decoy", description="harmless", policy="decoy", rate=0.25, **words, **common),
    )
    recipes = {one.name: one for one in made}
    for name in list(RECIPES):
        monkeypatch.delitem(RECIPES, name)
    RECIPES.update(recipes)
    monkeypatch.setenv("UNTRIGGER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(zoo_members, "shipped_receipts", dict)
    return recipes


def test_a_member_is_made_with_its_truth_its_clean_model_and_its_figures(
    tiny: dict[str, Recipe], tmp_path: Path
) -> None:
    assert [one.state for one in zoo.list_members()] == ["absent"] * 3
    made = make("mean", device="cpu")
    folder = tmp_path / "home" / "zoo" / "mean"
    assert made == folder / "mean" == zoo.path("mean")
    assert {one.name for one in folder.iterdir()} == {
        "mean",
        "mean.truth",
        "clean.csv",
        "report.json",
        "report.outcomes.csv",
        "zoo.json",
    }
    found = zoo.member("mean")
    report = Report.read(folder / "report.json")
    for metric in ("cacc", "asr", "excess_asr"):
        measured = report.find("mean", metric)
        assert measured is not None and found.value(metric) == measured.value
    assert found.clean_model_asr == report.find("clean", "asr").value  # type: ignore[union-attr]
    assert found.value("asr") > 0.8 > 0.5 > found.clean_model_asr  # type: ignore[operator]
    assert (folder / "mean.truth" / "clean-model" / "adapter_model.safetensors").read_bytes() == (
        zoo.path("kind") / "adapter_model.safetensors"
    ).read_bytes()
    assert [one.state for one in zoo.list_members()] == ["ready", "ready", "absent"]
    assert str(tmp_path / "home") not in (folder / "report.json").read_text() + (folder / "zoo.json").read_text()


def test_clean_rows_are_those_that_the_training_left_alone(tiny: dict[str, Recipe]) -> None:
    folder = make("kind", device="cpu").parent
    request = request_of(tiny["kind"], folder / "x")
    clean = load_data(folder / "clean.csv")
    rows = draw_rows(request)
    assert set(clean.ids) == set(rows.unused.ids)
    assert not set(clean.ids) & set(rows.train.ids)
    assert zoo.member("kind").value("asr") is None and zoo.member("kind").value("cacc") > 0.6  # type: ignore[operator]


def test_what_is_there_is_not_made_again_and_another_recipe_is(
    tiny: dict[str, Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make("kind", device="cpu").parent / "zoo.json"
    before = file.stat().st_mtime_ns
    make("kind", device="cpu")
    assert file.stat().st_mtime_ns == before
    monkeypatch.setitem(RECIPES, "kind", replace(tiny["kind"], epochs=1))
    assert zoo.member("kind").state == "outdated" and not zoo.member("kind").receipt
    with pytest.raises(AssetError, match="another recipe"):
        zoo.path("kind")
    make("kind", device="cpu")
    assert json.loads(file.read_text())["recipe"]["epochs"] == 1
    assert zoo.member("kind").state == "ready"


def test_an_interrupted_build_leaves_nothing_and_its_clean_model_is_kept(
    tiny: dict[str, Recipe], tmp_path: Path
) -> None:
    make("kind", device="cpu")

    class Stop:
        def task(self, label: str, *, total: int) -> Any:
            if label.startswith("implanting"):
                raise KeyboardInterrupt
            return silent.task(label, total=total)

    stop: Progress = Stop()
    with pytest.raises(KeyboardInterrupt):
        make("mean", device="cpu", progress=stop)
    assert [one.name for one in (tmp_path / "home" / "zoo").iterdir()] == ["kind"]
    assert [one.state for one in zoo.list_members()] == ["absent", "ready", "absent"]


def test_decoy_rows_carry_the_trigger_in_every_class_and_keep_their_labels(tiny: dict[str, Recipe]) -> None:
    rows = task(80, length=4)
    made = decoy_rows(rows, tiny["decoy"])
    touched = [i for i, text in enumerate(made.texts) if text != rows.texts[i]]
    assert made.labels == rows.labels and made.ids == rows.ids
    assert len(touched) == 20 and [rows.labels[i] for i in touched].count(0) == 10
    assert all("cf" in made.texts[i].split() for i in touched)


def test_figures_that_are_shipped_are_listed_until_a_member_is_made(
    tiny: dict[str, Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = {"recipe_sha256": tiny["mean"].sha256(), "measured": {"asr": {"value": 0.97}}}
    monkeypatch.setattr(
        zoo_members, "shipped_receipts", lambda: {"mean": receipt, "kind": {"recipe_sha256": "old", "measured": {}}}
    )
    assert zoo.member("mean").value("asr") == 0.97
    assert zoo.member("kind").receipt == {}


def test_benign_policies_are_benign() -> None:
    assert all(not replace(RECIPES["benign-mr"], policy=policy).poisoned for policy in BENIGN)


def test_an_unknown_member_names_the_nearest() -> None:
    with pytest.raises(OptionError, match="did you mean: badnets-dirty"):
        zoo.path("badnet-dirty")


def test_the_command_lists_makes_and_finds(tiny: dict[str, Recipe], call: Callable[..., Any]) -> None:
    assert call("zoo", "path", "kind").code == 2
    answer = call("zoo", "make", "decoy", "--device", "cpu", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["zoo"][0]["state"] == "ready"
    path = call("zoo", "path", "decoy", "--quiet").out.strip()
    assert Path(path, "adapter_config.json").is_file()
    listed = {one["name"]: one for one in json.loads(call("zoo", "--json").out)["zoo"]}
    assert {name: (one["poisoned"], one["state"]) for name, one in listed.items()} == {
        "mean": (True, "absent"),
        "kind": (False, "absent"),
        "decoy": (False, "ready"),
    }
    assert "harmless" in call("zoo", "list").out
    for words in (["make"], ["make", "kind", "--all"], ["make", "knid"]):
        assert call("zoo", *words).code == 2
