"""``purify --onto``: the result is another pre-trained model in full weights, and every mistake is one message."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pipeline.kit import FINETUNE, Shop, table
from tests.pipeline.test_purify import PROMISED
from tests.tiny import NAMES, task, write_model
from untrigger.core.errors import ContractError, ModelError, OptionError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.fine_tuning import FineTune
from untrigger.defences.purifier import Purified
from untrigger.models.base_classifier import load_base_classifier
from untrigger.models.classifier import Classifier
from untrigger.models.loading import load_model
from untrigger.models.saved_model_check import check_saved_model
from untrigger.pipeline.purify import purify
from untrigger.training.loop import History

CLEAN = task(40, seed=1)


def _carried(self: FineTune, model: Classifier, grant: Grant, *, progress: Progress) -> Purified:
    """A new head on the other base; nothing is trained."""
    base = grant.onto or model.source.name
    student = load_base_classifier(base, label_names=model.label_names, device="cpu", offline=True, seed=grant.seed)
    outcome = PurificationOutcome.TRAINED_ON_CLEAN_ROWS
    return Purified(student, changed=True, history=History(), outcome=outcome, onto=True)


@pytest.fixture
def carrying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FineTune, "_purify", _carried)
    monkeypatch.setattr(FineTune, "uses", frozenset({"onto"}))


def test_an_adapter_on_one_architecture_becomes_full_weights_of_another(
    shop: Shop, tmp_path: Path, carrying: None
) -> None:
    spec = shop.spec("llama", "lora", out=tmp_path / "out", onto=str(shop.teacher), verify=False, **FINETUNE)
    report = purify(spec)
    files = {file.name for file in spec.out.iterdir()}
    assert files >= PROMISED | {"model.safetensors", "config.json"} and "adapter_config.json" not in files
    config = json.loads((spec.out / "config.json").read_text())
    assert config["model_type"] == "bert" and list(config["id2label"].values()) == list(NAMES)
    again = load_model(spec.out, device="cpu", offline=True)
    assert again.label_names == NAMES
    assert report.given["defender"]["onto"] == shop.teacher.name
    card = (spec.out / "README.md").read_text()
    assert "another pre-trained model than the input" in card and "teacher, bert" in card
    assert {one["subject"] for one in table(spec.out / "outcomes.csv")} == {"victim", "purified", "base_finetuned"}
    assert not [one for one in report.warnings if "was not retrained" in one]


def test_a_base_beside_another_model_is_not_used_and_the_report_says_so(
    shop: Shop, tmp_path: Path, carrying: None
) -> None:
    usual = shop.spec("llama", "lora", out=tmp_path / "out", onto=str(shop.teacher), verify=False, **FINETUNE)
    base = str(
        json.loads((shop.victim("llama", "lora").out / "adapter_config.json").read_text())["base_model_name_or_path"]
    )
    report = purify(replace(usual, model=replace(usual.model, base=base)))
    assert any("was not retrained: --onto names another model" in one for one in report.warnings)


def test_from_python_too(
    carrying: None, load: Callable[[str], Classifier], folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    grant = Grant(clean=CLEAN, onto=folder_of("llama"))
    purified = FineTune().purify(load("bert"), grant)
    check_saved_model(purified.model, purified.save(tmp_path / "out"))
    assert (tmp_path / "out" / "model.safetensors").is_file()
    with pytest.raises(ContractError, match="not granted"):
        FineTune().purify(load("bert"), replace(grant, onto=None))


def test_mistakes(shop: Shop, tmp_path: Path, carrying: None) -> None:
    victim = shop.victim("bert", "full")
    spec = shop.spec("bert", "full", out=tmp_path / "out", onto=str(shop.teacher), **FINETUNE)
    copy, other = tmp_path / "copy", write_model("bert", tmp_path / "three", names=("a", "b", "c"))
    shutil.copytree(victim.out, copy)
    (copy / "config.json").write_text((copy / "config.json").read_text() + "\n")
    for wrong, message in (
        (str(copy), "has the weights of the suspect model itself"),
        (str(other), "a classification head of its own, for another number of classes"),
        (str(victim.out), "has the weights of the suspect model itself"),
        (str(shop.victim("bert", "lora").out), "is an adapter"),
        (str(tmp_path / "nowhere"), "nowhere"),
    ):
        with pytest.raises(ModelError, match=message):
            purify(replace(spec, onto=wrong))
    with pytest.raises(OptionError, match="keeps the suspect's own base") as caught:
        purify(replace(spec, method="w2sdefense-as-described", options={}))
    assert "finetune" in str(caught.value.expected)
    assert not spec.out.exists()
