"""``evaluate``: several models on the same rows, each class by its name, every subject kept apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.pipeline.kit import LENGTH, Shop, table
from tests.requests import request
from tests.tiny import task, write_model
from untrigger.core.errors import ModelError, OptionError, OutputError, UserError
from untrigger.core.report import Report
from untrigger.data import write_rows
from untrigger.evaluation.observation import write_outcomes
from untrigger.pipeline.evaluate import evaluate
from untrigger.pipeline.purify import purify
from untrigger.pipeline.requests import EvaluateRequest


def turned(folder: Path, new: Path) -> Path:
    """The same classifier with its classes in the other order."""
    shutil.copytree(folder, new)
    weights = load_file(new / "model.safetensors")
    for key in ("classifier.weight", "classifier.bias"):
        weights[key] = weights[key].flip(0).contiguous()
    save_file(weights, new / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((new / "config.json").read_text())
    config |= {"id2label": {"0": "positive", "1": "negative"}, "label2id": {"positive": 0, "negative": 1}}
    (new / "config.json").write_text(json.dumps(config))
    (new / "untrigger.json").unlink(missing_ok=True)
    return new


def value(report: Report, subject: str, metric: str) -> float:
    found = report.find(subject, metric)
    assert found is not None and found.value is not None
    return found.value


def test_victim_and_purified_model_stand_side_by_side_with_the_floor(shop: Shop, tmp_path: Path) -> None:
    done = shop.purified("llama", "lora", "finetune")
    models = (str(done.victim.out), str(done.spec.out))
    report = evaluate(
        request(EvaluateRequest, models=models, truth=done.victim.truth, out=tmp_path / "report.json", device="cpu")
    )
    for metric in ("cacc", "asr", "excess_asr"):
        assert value(report, "llama-lora", metric) == value(done.report, "victim", metric)
        assert value(report, "llama-lora-finetune", metric) == pytest.approx(value(done.report, "purified", metric))
    assert value(report, "clean", "asr") == value(done.report, "clean", "asr")
    assert Report.read(tmp_path / "report.json") == report
    assert {f.name for f in tmp_path.iterdir()} == {"report.json", "report.outcomes.csv"}
    assert len(table(tmp_path / "report.outcomes.csv")) == 3 * report.given["test"]["rows"] + 3 * 50


def test_a_model_that_names_no_classes_is_measured_by_their_number(shop: Shop, tmp_path: Path) -> None:
    """As a classifier comes that was fine-tuned with the defaults of transformers: no names in its files."""
    victim = shop.victim("bert", "full")
    nameless = Path(shutil.copytree(victim.out, tmp_path / "nameless"))
    (nameless / "untrigger.json").unlink()
    config = json.loads((nameless / "config.json").read_text())
    (nameless / "config.json").write_text(
        json.dumps({k: v for k, v in config.items() if k not in ("id2label", "label2id")})
    )
    both = [
        evaluate(
            request(
                EvaluateRequest,
                models=(str(folder),),
                truth=victim.truth,
                out=tmp_path / f"{folder.name}.json",
                device="cpu",
            )
        )
        for folder in (victim.out, nameless)
    ]
    for metric in ("cacc", "asr"):
        assert value(both[0], victim.out.name, metric) == value(both[1], "nameless", metric)
    assert any("by number" in warning for warning in both[1].warnings)


def test_without_truth_only_accuracy_is_measured(shop: Shop, tmp_path: Path) -> None:
    spec = request(
        EvaluateRequest, models=(str(shop.base("bert")),), data=str(shop.clean), out=tmp_path / "r.json", device="cpu"
    )
    report = evaluate(spec)
    assert [(m.metric, m.n) for m in report.measurements] == [("cacc", 80)]
    assert value(report, "bert-base", "cacc") > 0.9


def test_rows_of_one_class_are_warned_of(shop: Shop, tmp_path: Path) -> None:
    model, rows = str(shop.base("bert")), task(20, seed=5)
    one = rows.where(row.label == 1 for row in rows)
    for name, part in (("one", one), ("both", rows)):
        write_rows(part, tmp_path / f"{name}.csv")
        report = evaluate(
            request(
                EvaluateRequest,
                models=(model,),
                out=tmp_path / f"{name}.json",
                data=str(tmp_path / f"{name}.csv"),
                device="cpu",
            )
        )
        found = [line for line in report.warnings if "always answers it" in line]
        assert len(found) == (name == "one")
        assert all(f"all {len(one)} test rows have the label 'positive'" in line for line in found)


def test_classes_are_compared_by_name_where_two_models_have_them_in_different_order(shop: Shop, tmp_path: Path) -> None:
    victim = shop.victim("bert", "full")
    other = turned(victim.out, tmp_path / "turned")
    spec = request(
        EvaluateRequest, models=(str(victim.out), str(other)), truth=victim.truth, out=tmp_path / "r.json", device="cpu"
    )
    report = evaluate(spec)
    for metric in ("cacc", "asr"):
        assert value(report, "turned", metric) == value(report, "bert-full", metric)


def test_purify_maps_data_truth_and_twin_by_name_too(shop: Shop, tmp_path: Path) -> None:
    done = shop.purified("bert", "full", "finetune")
    other = turned(done.victim.out, tmp_path / "turned")
    spec = shop.spec("bert", "full", out=tmp_path / "out", model=str(other), method="finetune", truth=done.victim.truth)
    report = purify(spec)
    assert report.given["labels"] == ["positive", "negative"]
    for subject, metric in (("victim", "cacc"), ("victim", "asr"), ("clean", "cacc"), ("clean", "asr")):
        assert value(report, subject, metric) == value(done.report, subject, metric), (subject, metric)


def test_a_model_folder_called_clean_is_not_taken_for_the_never_poisoned_twin(shop: Shop, tmp_path: Path) -> None:
    victim = shop.victim("bert", "full")
    shutil.copytree(victim.out, tmp_path / "clean")
    spec = request(
        EvaluateRequest, models=(str(tmp_path / "clean"),), truth=victim.truth, out=tmp_path / "r.json", device="cpu"
    )
    report = evaluate(spec)
    assert value(report, "clean (1)", "asr") > 0.7 > 0.4 > value(report, "clean", "asr")


def test_rows_of_other_data_are_not_taken_for_the_triggered_rows_because_of_their_numbers(
    shop: Shop, tmp_path: Path
) -> None:
    victim = shop.victim("bert", "full")
    write_rows(task(500, seed=9, length=LENGTH), tmp_path / "other.csv")
    spec = request(
        EvaluateRequest,
        models=(str(victim.out),),
        data=str(tmp_path / "other.csv"),
        truth=victim.truth,
        out=tmp_path / "r.json",
        device="cpu",
    )
    found = evaluate(spec).find("bert-full", "untriggered_hit_rate")
    assert found is not None and found.value is None and found.n == 0


def test_two_models_of_one_name_are_two_subjects(shop: Shop, tmp_path: Path) -> None:
    model = str(shop.base("bert"))
    report = evaluate(
        request(EvaluateRequest, models=(model, model), data=str(shop.clean), out=tmp_path / "r.json", device="cpu")
    )
    assert [m.subject for m in report.measurements] == ["bert-base (1)", "bert-base (2)"]


def test_what_cannot_be_evaluated_is_said_and_nothing_is_written(shop: Shop, tmp_path: Path) -> None:
    model, out = str(shop.base("bert")), tmp_path / "r.json"
    three = write_model("bert", tmp_path / "three", names=("a", "b", "c"))
    clean = str(shop.clean)
    bad: list[tuple[dict[str, Any], type[UserError], str]] = [
        ({"models": (model,)}, OptionError, "--truth"),
        ({"models": (), "data": clean}, OptionError, "no model"),
        ({"models": (model, "./nowhere"), "data": clean}, ModelError, "nowhere"),
        ({"models": (model, str(three)), "data": clean}, ModelError, "'negative', 'positive'"),
        ({"models": (model,), "truth": tmp_path / "no.truth"}, UserError, "not a truth folder"),
    ]
    for flat, kind, part in bad:
        with pytest.raises(kind, match=part):
            evaluate(request(EvaluateRequest, **flat, out=out))
        assert [p.name for p in tmp_path.iterdir()] == ["three"]


def test_a_report_that_is_there_stays(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("mine")
    with pytest.raises(OutputError, match="there already"):
        evaluate(
            request(EvaluateRequest, models=(str(shop.base("bert")),), data=str(shop.clean), out=tmp_path / "r.json")
        )
    assert (tmp_path / "r.json").read_text() == "mine"


def test_outcomes_that_cannot_be_written_are_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="remedy"):
        write_outcomes([], tmp_path / "file" / "outcomes.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
