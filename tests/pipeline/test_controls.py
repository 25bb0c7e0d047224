"""The control that counts stands in every purification: the base fine-tuned on the same rows, and the gain that was kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.kit import FINETUNE, Shop, table
from untrigger.cli.main import main
from untrigger.core.errors import DivergedError
from untrigger.core.grant import Grant
from untrigger.core.report import Report
from untrigger.defences.base_fine_tuning import PURPOSE, BaseFineTuning
from untrigger.models.classifier import Classifier
from untrigger.pipeline import purify_controls
from untrigger.pipeline.purify import purify
from untrigger.pipeline.purify_controls import NO_GAIN

RATES = ("cacc", "asr", "untriggered_hit_rate", "excess_asr", "robust_accuracy")


def given(report: Report) -> dict[str, Any]:
    result: dict[str, Any] = report.given["base_finetuned"]
    return result


@pytest.mark.parametrize(("kind", "tuning", "how"), [("bert", "full", "teacher"), ("llama", "lora", "lora")])
def test_with_a_truth_the_control_has_every_rate(shop: Shop, kind: str, tuning: str, how: str) -> None:
    report = shop.purified(kind, tuning, "w2sdefense").report
    for metric in RATES:
        found = report.find("base_finetuned", metric)
        assert found is not None and found.value is not None and found.n > 0, metric
    assert given(report)["tuning"] == how and given(report)["rows"] + given(report)["held_out"] == 64
    stages = {stage.name: stage.steps for stage in report.stages}
    assert stages[PURPOSE] == given(report)["steps"] == 4
    warned = [one for one in report.warnings if "the base of the suspect is not known" in one]
    assert len(warned) == (how == "teacher") and all(shop.teacher.name in one for one in warned)


def test_the_gain_kept_follows_from_the_outcomes(shop: Shop) -> None:
    done = shop.purified("bert", "full", "w2sdefense")
    clean = [row for row in table(done.spec.out / "outcomes.csv") if row["triggered"] == "false"]
    right = {
        name: sum(row["label"] == row["prediction"] for row in clean if row["subject"] == name)
        for name in ("victim", "purified", "finetuned", "clean", "base_finetuned")
    }
    gain = right["victim"] - right["base_finetuned"]
    assert gain > 10, "four steps teach a random encoder little"
    for subject in ("purified", "finetuned", "clean"):
        kept = done.report.find(subject, "gain_kept")
        assert kept is not None and kept.n == 100 and kept.low is not None and kept.high is not None
        assert kept.value == pytest.approx((right[subject] - right["base_finetuned"]) / gain)
        assert kept.low <= kept.value <= kept.high
    above = done.report.find("victim", "accuracy_gain")
    assert above is not None and above.value == pytest.approx(gain / 100) and (above.low or 0) > 0


def test_pages_card_and_console_show_the_control(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    done = shop.purified("bert", "full", "w2sdefense")
    for name in ("report.html", "report.md"):
        page = (done.spec.out / name).read_text()
        assert "Base, fine-tuned on the clean rows" in page and "Gain kept over the fine-tuned base" in page
    card = (done.spec.out / "README.md").read_text().replace("\\", "")
    assert "| base_finetuned: cacc |" in card and "| purified: gain_kept |" in card
    folder = str(done.spec.out)
    assert main(["report", folder, folder, "--format", "latex"]) == 0
    assert "Gain kept" in capsys.readouterr().out


def test_plain_fine_tuning_as_the_method_has_the_control_too(shop: Shop) -> None:
    report = shop.purified("llama", "lora", "finetune").report
    assert report.find("base_finetuned", "asr") is not None and report.find("purified", "gain_kept") is not None
    assert report.find("finetuned", "cacc") is None


def test_without_a_truth_clean_accuracy_is_measured_on_rows_held_out(shop: Shop, tmp_path: Path) -> None:
    spec = shop.spec("bert", "full", out=tmp_path / "out", base=str(shop.base("bert")), verify=False, **FINETUNE)
    report = purify(spec)
    assert (given(report)["tuning"], given(report)["base"]) == ("full", shop.base("bert").name)
    assert "base" not in report.given["defender"], "the method does not use it"
    own = {m.metric: m for m in report.measurements if m.subject == "base_finetuned"}
    assert set(own) == {"cacc"} and own["cacc"].n == 16


def test_a_victim_that_knows_no_more_than_the_control_is_said_to_have_no_gain(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_train = BaseFineTuning.train

    def as_good(self: BaseFineTuning, model: Classifier, grant: Grant, **more: Any) -> Any:
        made = true_train(self, model, grant, **more)
        return type(made)(**{**vars(made), "model": model})

    monkeypatch.setattr(BaseFineTuning, "train", as_good)
    report = purify(shop.spec("bert", "full", out=tmp_path / "out", verify=False, **FINETUNE))
    kept = report.find("purified", "gain_kept")
    assert kept is not None and (kept.value, kept.low, kept.high, kept.n) == (None, None, None, 16)
    assert any(NO_GAIN in one for one in report.warnings)
    assert "not measured: no gain to keep" in (tmp_path / "out" / "report.md").read_text()


def test_without_anything_trusted_the_control_is_not_measured_and_the_model_is_written(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purify_controls, "DEFAULT_TEACHER", str(tmp_path / "no-such-encoder"))
    report = purify(shop.spec("bert", "full", out=tmp_path / "out", verify=False, teacher=None, **FINETUNE))
    assert (tmp_path / "out" / "adapter_model.safetensors").exists()
    found = report.find("base_finetuned", "cacc")
    assert found is not None and (found.value, found.n) == (None, 0)
    warned = next(one for one in report.warnings if "is not measured" in one)
    assert warned.startswith("the control base fine-tuned on the clean rows is not measured: ")
    assert "no-such-encoder" in warned


def test_an_error_of_the_control_does_not_lose_the_purified_model(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: object, **__: object) -> None:
        raise DivergedError("the loss became nan at step 1")

    monkeypatch.setattr(BaseFineTuning, "train", diverge)
    report = purify(shop.spec("bert", "full", out=tmp_path / "out", verify=False, **FINETUNE))
    assert (tmp_path / "out" / "adapter_model.safetensors").exists()
    for subject, metric in (("base_finetuned", "cacc"), ("purified", "gain_kept")):
        found = report.find(subject, metric)
        assert found is not None and (found.value, found.n) == (None, 0)
    assert given(report) == {"not_measured": "the loss became nan at step 1"}
    assert any("is not measured: the loss became nan at step 1" in one for one in report.warnings)


def test_a_control_that_is_not_wanted_is_nowhere(shop: Shop, tmp_path: Path) -> None:
    purify(shop.spec("bert", "full", out=tmp_path / "out", verify=False, control=False, **FINETUNE))
    text = (tmp_path / "out" / "report.json").read_text()
    assert "base_finetuned" not in text and "gain_kept" not in text and json.loads(text)["measurements"]
    assert PURPOSE not in (tmp_path / "out" / "report.md").read_text()


def test_the_truth_does_not_reach_the_control(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handed, victim = [], shop.victim("bert", "full")
    true_train = BaseFineTuning.train

    def watched(self: BaseFineTuning, model: Classifier, grant: Grant, **more: Any) -> Any:
        assert set(more) == {"progress"} and type(grant) is Grant
        assert str(victim.truth) not in repr((self, model.source, grant.base, grant.teacher))
        made = true_train(self, model, grant, **more)
        handed.append((grant.clean, {k: v.clone() for k, v in made.model.module.state_dict().items()}))
        return made

    monkeypatch.setattr(BaseFineTuning, "train", watched)
    for name, truth in (("with", victim.truth), ("other", shop.victim("bert", "lora").truth), ("without", None)):
        purify(shop.spec("bert", "full", out=tmp_path / name, verify=False, truth=truth, **FINETUNE))
    (rows, weights), *others = handed
    assert len(others) == 2
    for other_rows, other in others:
        assert other_rows == rows and all(bool((other[key] == weights[key]).all()) for key in weights)
