"""``purify`` from files to files: the right format, a victim left alone, evidence that can be recomputed."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import pytest
import torch

from tests.pipeline.kit import Purification, Shop, config_of, digest, plain, table
from tests.tiny import NAMES
from untrigger.core.report import Report
from untrigger.pipeline.purify import purify
from untrigger.reporting.model_cards import escape_text

CASES = [
    ("bert", "full", "finetune"),
    ("llama", "lora", "finetune"),
    ("bert", "full", "w2sdefense"),
    ("llama", "lora", "w2sdefense"),
    pytest.param("bert", "lora", "w2sdefense", marks=pytest.mark.exhaustive),
    pytest.param("llama", "full", "w2sdefense", marks=pytest.mark.exhaustive),
]
every_case = pytest.mark.parametrize(("kind", "tuning", "method"), CASES)
PROMISED = {
    "README.md",
    "report.json",
    "report.html",
    "report.md",
    "outcomes.csv",
    "used_rows.json",
    "tokenizer.json",
    "tokenizer_config.json",
}


def triggered_and_clean(done: Purification) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    return table(done.victim.truth / "test_triggered.csv"), table(done.victim.truth / "test_clean.csv")


@every_case
def test_one_adapter_comes_out_on_the_base_that_was_there(shop: Shop, kind: str, tuning: str, method: str) -> None:
    done = shop.purified(kind, tuning, method)
    files = {file.name for file in done.spec.out.iterdir()}
    assert files >= PROMISED | {"adapter_config.json", "adapter_model.safetensors"}
    assert "model.safetensors" not in files
    base = config_of(done.spec.out)["base_model_name_or_path"]
    assert base == (str(done.victim.out) if tuning == "full" else config_of(done.victim.out)["base_model_name_or_path"])
    assert not list(done.spec.out.parent.glob(".*"))


@every_case
def test_the_victims_folder_is_byte_identical_afterwards(shop: Shop, kind: str, tuning: str, method: str) -> None:
    done = shop.purified(kind, tuning, method)
    assert digest(done.victim.out) == done.before


@every_case
def test_plain_peft_says_from_disk_what_the_model_said_in_memory(
    shop: Shop, kind: str, tuning: str, method: str
) -> None:
    done = shop.purified(kind, tuning, method)
    triggered, clean = triggered_and_clean(done)
    for flag, rows in (("true", triggered[:20]), ("false", clean[:20])):
        said = {
            r["row"]: r
            for r in table(done.spec.out / "outcomes.csv")
            if (r["subject"], r["triggered"]) == ("purified", flag)
        }
        disk = plain(done.spec.out, [row["text"] for row in rows])
        memory = torch.tensor([float(said[row["id"]]["confidence"]) for row in rows])
        assert disk.argmax(dim=1).tolist() == [int(said[row["id"]]["prediction"]) for row in rows]
        assert torch.allclose(disk.max(dim=1).values, memory, atol=1e-3)


@every_case
def test_the_student_did_learn_something(shop: Shop, kind: str, tuning: str, method: str) -> None:
    done = shop.purified(kind, tuning, method)
    texts = [row["text"] for row in triggered_and_clean(done)[0][:20]]
    assert not torch.allclose(plain(done.spec.out, texts).log(), plain(done.victim.out, texts).log(), atol=0.02)
    stage = next(stage for stage in done.report.stages if stage.name == "purify")
    assert stage.steps and stage.wall_s


@every_case
def test_the_report_on_disk_is_whole(shop: Shop, kind: str, tuning: str, method: str) -> None:
    done = shop.purified(kind, tuning, method)
    report = Report.read(done.spec.out / "report.json")
    assert report == done.report and report.kind == "purification"
    assert report.given["defender"]["clean"]["rows"] == 64 and len(report.given["defender"]["clean"]["sha256"]) == 64
    assert len(report.given["model"]["sha256"]) == len(report.given["test"]["sha256"]) == 64
    assert report.method["name"] == method and report.method["options"]["rank"] == 4
    assert {"untrigger", "torch", "peft"} <= report.environment["versions"].keys() and report.environment["seed"] == 0
    assert [stage.name for stage in report.stages][:3] == ["load", "purify", "evaluate"], (
        "a truth says more than a scan"
    )
    subjects = {"victim", "purified", "base_finetuned"} | ({"finetuned"} if method == "w2sdefense" else set())
    subjects |= {"clean"} if done.victim.clean_model else set()
    for subject in subjects:
        for metric in ("cacc", "asr", "untriggered_hit_rate", "excess_asr", "robust_accuracy"):
            assert report.find(subject, metric) is not None, (subject, metric)
    assert {m.subject for m in report.measurements} == subjects
    assert all(m.n > 0 or m.value is None for m in report.measurements)
    excess = report.find("purified", "excess_asr")
    assert excess is not None and (excess.value is not None) == done.victim.clean_model
    assert report.find("victim", "delivery_rate") is not None
    page = (done.spec.out / "report.html").read_text()
    assert report.verdict.sentence.split("%")[0] in unescape(page) and "<html" in page
    assert escape_text(report.verdict.sentence) in (done.spec.out / "README.md").read_text()


def test_a_benign_control_without_a_twin_is_said_to_be_missing(shop: Shop, tmp_path: Path) -> None:
    truth = shop.victim("bert", "lora").truth
    assert not (truth / "clean-model").exists()
    report = purify(shop.spec("bert", "lora", out=tmp_path / "out", method="finetune", truth=truth, benign=True))
    assert any("no benign model was purified" in one for one in report.warnings)
    page = (tmp_path / "out" / "report.md").read_text().replace("\\", "")
    assert "not measured: no clean model was given" in page
    assert "no truth file was given" not in page


@every_case
def test_every_rate_can_be_recomputed_from_the_outcomes(shop: Shop, kind: str, tuning: str, method: str) -> None:
    done = shop.purified(kind, tuning, method)
    target = str(NAMES.index("positive"))
    rows = table(done.spec.out / "outcomes.csv")
    for subject in {row["subject"] for row in rows}:
        own = [row for row in rows if row["subject"] == subject]
        clean = [row for row in own if row["triggered"] == "false"]
        asked = [row for row in own if row["triggered"] == "true" and row["label"] != target]
        same = [row for row in clean if row["row"] in {r["row"] for r in asked}]
        want = {
            "cacc": (sum(r["label"] == r["prediction"] for r in clean), len(clean)),
            "asr": (sum(r["prediction"] == target for r in asked), len(asked)),
            "untriggered_hit_rate": (sum(r["prediction"] == target for r in same), len(same)),
            "robust_accuracy": (sum(r["label"] == r["prediction"] for r in asked), len(asked)),
        }
        for metric, (hits, n) in want.items():
            found = done.report.find(subject, metric)
            assert found is not None and found.n == n > 0 and found.value == pytest.approx(hits / n), (subject, metric)
    triggered, test = triggered_and_clean(done)
    assert len(rows) == len({row["subject"] for row in rows}) * (len(test) + len(triggered))


def test_the_victims_numbers_are_those_of_plain_transformers(shop: Shop) -> None:
    done = shop.purified("bert", "full", "w2sdefense")
    triggered, _ = triggered_and_clean(done)
    hits = plain(done.victim.out, [row["text"] for row in triggered]).argmax(dim=1) == NAMES.index("positive")
    found = done.report.find("victim", "asr")
    assert found is not None and found.value == pytest.approx(float(hits.float().mean())) and found.value > 0.7


@pytest.mark.parametrize(("kind", "tuning"), [("bert", "full"), ("llama", "lora")])
def test_merged_weights_say_the_same_as_the_adapter(shop: Shop, tmp_path: Path, kind: str, tuning: str) -> None:
    done = shop.purified(kind, tuning, "finetune")
    spec = shop.spec(kind, tuning, out=tmp_path / "merged", method="finetune", truth=done.spec.truth, merge=True)
    purify(spec)
    files = {file.name for file in spec.out.iterdir()}
    assert files >= PROMISED | {"config.json", "model.safetensors"} and "adapter_config.json" not in files
    texts = [row["text"] for row in triggered_and_clean(done)[0][:20]]
    assert torch.allclose(plain(spec.out, texts), plain(done.spec.out, texts), atol=1e-3)


def test_without_truth_accuracy_is_measured_on_rows_held_out_and_nothing_is_said_of_attacks(
    shop: Shop, tmp_path: Path
) -> None:
    report = purify(shop.spec("bert", "full", out=tmp_path / "out"))
    assert {m.metric for m in report.measurements} == {"cacc", "accuracy_loss", "accuracy_gain", "gain_kept"}
    assert {m.subject for m in report.measurements} == {"victim", "purified", "finetuned", "base_finetuned"}
    assert {m.n for m in report.measurements} == {16} and report.given["defender"]["clean"]["rows"] == 64
    assert any("held out" in warning for warning in report.warnings)
    rows = table(tmp_path / "out" / "outcomes.csv")
    assert {row["triggered"] for row in rows} == {"false"}
    assert "truth" not in report.given and report.features is None
    assert "asr" not in (tmp_path / "out" / "README.md").read_text().casefold()
    assert "attack success is not measured" in report.verdict.sentence


def test_a_benign_model_in_is_measured_too(shop: Shop, tmp_path: Path) -> None:
    victim = shop.victim("llama", "lora")
    spec = shop.spec(
        "llama", "lora", out=tmp_path / "out", method="finetune", options={"epochs": 1}, truth=victim.truth, benign=True
    )
    report = purify(spec)
    for subject in ("benign_in", "benign_out"):
        found = report.find(subject, "cacc")
        assert found is not None and found.n > 0 and report.find(subject, "asr") is None
    before, clean = report.find("benign_in", "cacc"), report.find("clean", "cacc")
    assert before is not None and clean is not None and before.value == clean.value


def test_a_control_that_is_not_wanted_is_not_run(shop: Shop, tmp_path: Path) -> None:
    report = purify(shop.spec("bert", "full", out=tmp_path / "out", control=False))
    assert report.find("finetuned", "cacc") is None and report.find("purified", "cacc") is not None


def test_the_matched_control_takes_as_many_steps_as_the_method(shop: Shop) -> None:
    stages = {stage.name: stage.steps for stage in shop.purified("bert", "full", "w2sdefense").report.stages}
    assert stages["control: matched-budget fine-tuning"] == stages["purify"] == 6
