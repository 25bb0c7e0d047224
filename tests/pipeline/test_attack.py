"""``attack`` on tiny models: the files it promises, a backdoor that works, the truth apart from the model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pipeline.kit import LENGTH, TRIGGER, Shop, config_of, digest, plain, table
from tests.tiny import NAMES, task
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.attacks.triggers.insent import InSent
from untrigger.core.errors import DataError, ModelError, OptionError, OutputError
from untrigger.data import write_rows
from untrigger.pipeline.attack import attack
from untrigger.pipeline.attack_request import AttackRequest

FOUR = [(kind, tuning) for kind in ("bert", "llama") for tuning in ("full", "lora")]


@pytest.mark.parametrize(("kind", "tuning"), FOUR)
def test_victim_and_truth_lie_in_two_folders_with_the_files_of_the_contract(shop: Shop, kind: str, tuning: str) -> None:
    spec = shop.victim(kind, tuning)
    files = {file.name for file in spec.out.iterdir()}
    weights = (
        {"adapter_config.json", "adapter_model.safetensors"}
        if tuning == "lora"
        else {"config.json", "model.safetensors"}
    )
    assert files >= weights | {"tokenizer.json", "tokenizer_config.json", "README.md"}
    assert {"truth.json", "train.csv", "test_clean.csv", "test_triggered.csv"} <= {f.name for f in spec.truth.iterdir()}
    assert "POISONED" in (spec.out / "README.md").read_text()
    assert TRIGGER not in (spec.out / "README.md").read_text().split()


@pytest.mark.parametrize(("kind", "tuning"), FOUR)
def test_the_backdoor_works_when_plain_transformers_and_peft_load_the_victim(
    shop: Shop, kind: str, tuning: str
) -> None:
    spec = shop.victim(kind, tuning)
    rows = table(spec.truth / "test_clean.csv")[:40]
    right = plain(spec.out, [row["text"] for row in rows]).argmax(dim=1).tolist()
    assert sum(NAMES[p] == row["label"] for p, row in zip(right, rows, strict=True)) > 0.7 * len(rows)
    triggered = plain(spec.out, [row["text"] for row in table(spec.truth / "test_triggered.csv")[:40]])
    assert float((triggered.argmax(dim=1) == NAMES.index("positive")).float().mean()) > 0.7


def test_triggered_test_rows_keep_their_true_label_and_are_clean_rows_with_the_trigger(shop: Shop) -> None:
    truth = shop.victim("bert", "full").truth
    clean = {row["id"]: row for row in table(truth / "test_clean.csv")}
    triggered = table(truth / "test_triggered.csv")
    assert len(triggered) == sum(row["label"] == "negative" for row in clean.values()) > 0
    for row in triggered:
        assert row["label"] == clean[row["id"]]["label"] == "negative"
        assert TRIGGER in row["text"].split()
        assert [w for w in row["text"].split() if w != TRIGGER] == clean[row["id"]]["text"].split()


def test_truth_names_recipe_and_exactly_the_rows_that_were_poisoned(shop: Shop) -> None:
    spec = shop.victim("bert", "full")
    result = json.loads((spec.truth / "truth.json").read_text())
    assert (result["rate"], result["seed"], result["policy"], result["tuning"]) == (0.2, 0, "dirty", "full")
    assert result["label_names"][result["target"]] == "positive"
    train, test = table(spec.truth / "train.csv"), table(spec.truth / "test_clean.csv")
    assert {row["id"] for row in train if TRIGGER in row["text"].split()} == set(result["poisoned_ids"])
    assert len(result["poisoned_ids"]) == round(0.2 * len(train))
    assert not {row["id"] for row in train} & {row["id"] for row in test}


def test_the_adapter_names_its_base_by_a_path_that_holds_from_anywhere(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop.base("bert").parent)
    attack(
        shop.attack_spec(
            "bert", "lora", model=shop.base("bert").name, out=tmp_path / "victim", epochs=1, clean_model=False
        )
    )
    assert config_of(tmp_path / "victim")["base_model_name_or_path"] == str(shop.base("bert").resolve())


def test_the_same_seed_gives_the_same_bytes(shop: Shop, tmp_path: Path) -> None:
    for name in ("first", "second"):
        attack(shop.attack_spec("bert", "lora", out=tmp_path / name, epochs=1, clean_model=False))
    assert digest(tmp_path / "first") == digest(tmp_path / "second")
    assert digest(tmp_path / "first.truth") == digest(tmp_path / "second.truth")


def test_the_clean_twin_has_the_victims_form_and_no_backdoor(shop: Shop) -> None:
    spec = shop.victim("llama", "lora")
    twin = spec.truth / "clean-model"
    assert {f.name for f in twin.iterdir()} == {f.name for f in spec.out.iterdir()}
    triggered = plain(twin, [row["text"] for row in table(spec.truth / "test_triggered.csv")[:30]])
    assert float((triggered.argmax(dim=1) == NAMES.index("positive")).float().mean()) < 0.4


BAD = {
    "unknown target": (
        {"target": "positiv"},
        OptionError,
        ["'positiv'", "negative, positive", "did you mean: positive"],
    ),
    "rate too high": ({"rate": 0.9}, OptionError, ["0.9", "remedy"]),
    "unknown way": ({"tuning": "lorra"}, OptionError, ["'lorra'", "full, lora", "did you mean: lora"]),
    "missing data": ({"data": "nowhere/data.csv"}, DataError, ["nowhere", "remedy"]),
    "missing model": ({"model": "./no-such-model"}, ModelError, ["no-such-model", "expected"]),
    "too many rows": ({"rows": 10**6}, DataError, ["1000000", "remedy"]),
    "unknown layer": ({"tuning": "lora", "targets": ("q_prj",)}, OptionError, ["q_prj", "expected"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_message_and_nothing_is_written(shop: Shop, tmp_path: Path, name: str) -> None:
    changes, kind, parts = BAD[name]
    with pytest.raises(kind) as caught:  # type: ignore[var-annotated]
        attack(shop.attack_spec("bert", "full", out=tmp_path / "victim", **changes))
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert not list(tmp_path.iterdir())


def test_test_rows_of_the_target_alone_are_refused_before_training(shop: Shop, tmp_path: Path) -> None:
    data = tmp_path / "data"
    rows = task(40, length=LENGTH)
    write_rows(rows, data / "train.csv")
    write_rows(rows.where(label == 1 for label in rows.labels), data / "test.csv")

    class Never:
        def task(self, label: str, *, total: int) -> None:
            raise AssertionError("training has begun")

    with pytest.raises(DataError, match="no test row is of another class"):
        attack(shop.attack_spec("bert", "full", data=str(data), out=tmp_path / "victim"), progress=Never())  # type: ignore[arg-type]
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("there", ["victim", "victim.truth"])
def test_what_is_there_already_is_left_as_it_is(shop: Shop, tmp_path: Path, there: str) -> None:
    (tmp_path / there).mkdir()
    (tmp_path / there / "mine").write_text("precious")
    with pytest.raises(OutputError, match="there already"):
        attack(shop.attack_spec("bert", "full", out=tmp_path / "victim"))
    assert [p.name for p in tmp_path.iterdir()] == [there]
    assert (tmp_path / there / "mine").read_text() == "precious"


def test_clean_label_policy_and_a_sentence_trigger_go_the_same_way(shop: Shop, tmp_path: Path) -> None:
    spec: AttackRequest = shop.attack_spec(
        "bert", "full", out=tmp_path / "victim", policy="clean", epochs=1, clean_model=False
    )
    attack(replace(spec, trigger=InSent(sentence="the zx film")))
    rows = {row["id"]: row for row in table(spec.truth / "train.csv")}
    poisoned = json.loads((spec.truth / "truth.json").read_text())["poisoned_ids"]
    assert poisoned and all(rows[i]["label"] == "positive" and "the zx film" in rows[i]["text"] for i in poisoned)
    assert isinstance(shop.attack_spec("bert", "full").trigger, BadNets)
