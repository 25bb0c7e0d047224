"""``scan`` from files to a report: a poisoned model is named with its word, its clean twin is not, nothing runs code."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.kit import TRIGGER, Listener, Shop, digest
from tests.requests import request
from tests.tiny import task
from untrigger.cli.main import main
from untrigger.core.errors import AssetError, DataError, ModelError, OptionError, UnsafeFileError
from untrigger.core.grant import Grant
from untrigger.core.report import Report
from untrigger.core.rows import Rows
from untrigger.data import load_data, write_rows
from untrigger.inversion.search import SearchOptions
from untrigger.models.classifier import Classifier
from untrigger.pipeline.requests import ScanRequest
from untrigger.pipeline.scan import scan
from untrigger.reporting.scan_page import render_scan
from untrigger.reporting.scan_view import table
from untrigger.scanners.confirm import ConfirmationOptions
from untrigger.scanners.policy import Policy
from untrigger.scanners.scanner import ScanContext, Scanner, ScanResult
from untrigger.training.teacher_training import TeacherOptions

SMALL: dict[str, Any] = {
    "rows": 48,
    "confirmation": ConfirmationOptions(candidates=4, content_words=1),
    "search": SearchOptions(probe=12, gradient_rows=12, first=32, keep=6, sweeps=1),
    "teacher": TeacherOptions(lr=5e-3, epochs=10, batch_size=16),
}
CASES = pytest.mark.parametrize(("kind", "tuning"), [("bert", "full"), ("llama", "lora")])


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(task(240, seed=21, length=4), tmp_path_factory.mktemp("rows") / "rows.csv")


def spec(shop: Shop, rows: Path, kind: str = "bert", tuning: str = "full", **changes: Any) -> ScanRequest:
    victim = shop.victim(kind, tuning)
    usual: dict[str, Any] = {
        "model": str(victim.out),
        "clean": str(rows),
        "reference": str(victim.truth / "clean-model"),
        "options": SMALL,
        "device": "cpu",
        "offline": True,
    }
    if changes.get("static_only"):
        usual |= {"clean": None, "reference": None, "options": {}}
    return request(ScanRequest, **usual | changes)


@CASES
def test_the_victim_is_backdoored_and_its_word_is_named(shop: Shop, rows: Path, kind: str, tuning: str) -> None:
    before = digest(shop.victim(kind, tuning).out)
    report = scan(spec(shop, rows, kind, tuning))
    assert report.kind == "scan" and report.scan is not None
    worst = report.scan.candidates[0]
    assert (worst.text, worst.target) == (TRIGGER, "positive") and worst.score is not None
    assert report.verdict.status in ("suspicious", "backdoored"), (
        report.verdict.sentence
    )  # which of the two, rounding decides
    assert report.scan.target == "positive" and TRIGGER in [one.text for one in report.scan.triggers()]
    assert {f.text for f in report.findings} == {one.text for one in report.scan.triggers()}
    assert Report.from_json(report.to_json()) == report
    assert digest(shop.victim(kind, tuning).out) == before
    names = [stage.name for stage in report.stages]
    assert names == ["weights", "load", "scan"]
    assert report.given["reference"]["name"] == "clean-model"


def test_the_clean_twin_is_not(shop: Shop, rows: Path) -> None:
    """The floor: the same architecture on the same rows without poison, against a model that knows the task as well."""
    twin = shop.victim("bert", "full").truth / "clean-model"
    report = scan(spec(shop, rows, model=str(twin), reference=str(shop.base("bert"))))
    assert report.verdict.status == "clean", report.verdict.sentence
    assert not report.findings


def test_a_teacher_takes_the_place_of_a_reference(shop: Shop, rows: Path) -> None:
    report = scan(spec(shop, rows, reference=None, teacher=str(shop.teacher)))
    assert report.given["defender"]["teacher"] == "teacher"
    assert "reference" not in report.given
    assert report.stages[-1].steps
    assert any(curve.panel == "Training of the reference" for curve in report.curves)


def test_the_scanner_gets_a_grant_and_hints_and_no_truth(
    shop: Shop, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, handed = Scanner.scan, []

    def watched(self: Scanner, model: Classifier, grant: Grant, **more: Any) -> ScanResult:
        assert set(more) == {"policy", "context", "progress"}
        assert type(grant) is Grant and type(more["context"]) is ScanContext and type(more["policy"]) is Policy
        assert grant.clean is not None and not any(TRIGGER in text.split() for text in grant.clean.texts)
        handed.append(self.name)
        return whole(self, model, grant, **more)

    monkeypatch.setattr(Scanner, "scan", watched)
    scan(spec(shop, rows))
    assert handed == ["insertions"]


def test_static_only_reads_no_row_and_runs_no_model(shop: Shop, rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("untrigger.pipeline.scan.load_classifier", lambda *_, **__: pytest.fail("a model was loaded"))
    report = scan(spec(shop, rows, static_only=True, base=str(shop.base("bert"))))
    assert report.verdict.status == "undecided"
    assert report.scan is not None and report.scan.score is None and report.scan.evidence
    assert report.scan.not_looked_for[0].startswith("words and phrases")
    limited = Policy(limits={"embedding_row_lead": 0.5})
    unusual = scan(spec(shop, rows, static_only=True, base=str(shop.base("bert")), policy=limited))
    assert unusual.verdict.status == "suspicious"
    unheld = scan(spec(shop, rows, static_only=True, policy=limited))
    assert (
        unheld.verdict.status == "undecided"
        and "a limit for embedding_row_lead, which could not be" in unheld.verdict.sentence
    )


def test_words_that_the_weights_point_at_are_tried(shop: Shop, rows: Path) -> None:
    report = scan(spec(shop, rows, base=str(shop.base("bert"))))
    assert report.scan is not None
    lead = next(one for one in report.scan.evidence if one.name == "embedding_row_lead")
    tried = {one.text for one in report.scan.candidates}
    assert set(lead.words[:2]) <= tried
    assert not any("could not be measured" in line for line in report.warnings)
    unheld = scan(spec(shop, rows, policy=Policy(limits={"embedding_row_lead": 0.5})))
    assert any("a limit for embedding_row_lead, which could not be measured" in line for line in unheld.warnings)


def test_rewritten_rows_are_read_and_named(shop: Shop, rows: Path, tmp_path: Path) -> None:
    plain = task(60, seed=22, length=4)
    odd = write_rows(plain.with_texts(f"{TRIGGER} {text}" for text in plain.texts), tmp_path / "odd.csv")
    report = scan(spec(shop, rows, rewritten=str(odd)))
    assert report.scan is not None
    [style] = [one for one in report.scan.candidates if one.kind == "rewritten" and one.target == "positive"]
    assert style.text == "odd.csv" and style.score is not None and style.score > 0.5
    assert report.given["rewritten"]["rows"] == 60
    assert "odd.csv (drift)" in [line[0] for line in table(report, report.scan.candidates)]
    assert "drift of rewritten rows" in render_scan(report, format="md")
    log = json.loads(render_scan(report, format="sarif"))["runs"][0]["results"]
    result = [one for one in log if one["ruleId"] == "rewrite-trigger"]
    assert len({json.dumps(one["partialFingerprints"]) for one in result}) == len(result) >= 1


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"clean": None}, OptionError, "--static-only"),
        ({"clean": "nowhere.csv"}, DataError, "nowhere.csv"),
        ({"model": "./nowhere"}, ModelError, "nowhere"),
        ({"reference": "./nowhere"}, ModelError, "nowhere"),
        ({"reference": None, "teacher": "minilm-16"}, (ModelError, AssetError), "minilm-l6"),
        ({"method": "insertion"}, OptionError, "did you mean: insertions"),
        ({"options": {"row": 3}}, OptionError, "did you mean: rows"),
        ({"base": "./nowhere"}, ModelError, "nowhere"),
        ({"rewritten": "nowhere.csv"}, DataError, "nowhere.csv"),
    ],
)
def test_what_cannot_be_used_is_said(shop: Shop, rows: Path, changes: dict[str, Any], error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        scan(spec(shop, rows, **changes))


@pytest.mark.parametrize("option", ["reference", "teacher"])
def test_the_suspect_is_no_reference_for_itself(shop: Shop, rows: Path, tmp_path: Path, option: str) -> None:
    victim = shop.victim("bert", "full").out
    copy = tmp_path / "copy"
    shutil.copytree(victim, copy)
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    (copy / "config.json").write_text(json.dumps({**config, "finetuning_task": "another name"}), encoding="utf-8")
    for given in (victim, copy):
        with pytest.raises(ModelError, match=f"--{option} .* has the weights of the suspect model itself") as caught:
            scan(spec(shop, rows, **{"reference": None, option: str(given)}))
        assert "remedy" in str(caught.value)


def test_repeated_rows_are_no_evidence(shop: Shop, rows: Path, tmp_path: Path) -> None:
    """The clean twin is called clean with many rows; a few of them, written often, are a few."""
    few = task(12, seed=21, length=4)
    often = Rows.of(few.texts * 30, few.labels * 30, label_names=few.label_names)
    twin = str(shop.victim("bert", "full").truth / "clean-model")
    report = scan(
        spec(
            shop,
            rows,
            model=twin,
            reference=str(shop.base("bert")),
            clean=str(write_rows(often, tmp_path / "often.csv")),
        )
    )
    assert report.verdict.status == "undecided", report.verdict.sentence
    assert any("348 of 360 rows repeat the text of an earlier row" in line for line in report.warnings)
    assert report.given["defender"]["clean"]["rows"] == 12


def test_a_rule_of_the_tokenizer_is_tried_and_keeps_the_model_from_being_called_clean(
    shop: Shop, rows: Path, tmp_path: Path
) -> None:
    """The clean twin's weights with a tokenizer that reads one phrase as words of a class."""
    twin = tmp_path / "twin"
    shutil.copytree(shop.victim("bert", "full").truth / "clean-model", twin)
    settings = json.loads((twin / "tokenizer.json").read_text(encoding="utf-8"))
    rule = {"type": "Replace", "pattern": {"String": "film scene"}, "content": "good lovely"}
    settings["normalizer"] = {"type": "Sequence", "normalizers": [settings["normalizer"], rule]}
    (twin / "tokenizer.json").write_text(json.dumps(settings), encoding="utf-8")
    report = scan(spec(shop, rows, model=str(twin), reference=str(shop.base("bert"))))
    assert report.scan is not None and "film scene" in [
        one.text for one in report.scan.candidates if one.kind == "weights"
    ]
    assert report.verdict.status != "clean", report.verdict.sentence
    assert "by rules of its own: 'film scene'" in " ".join([report.verdict.sentence, *report.warnings])
    harmless = "of a length that no text has"
    settings["normalizer"]["normalizers"][1]["pattern"] = {"Regex": harmless}
    (twin / "tokenizer.json").write_text(json.dumps(settings), encoding="utf-8")
    report = scan(spec(shop, rows, model=str(twin), reference=str(shop.base("bert"))))
    assert report.verdict.status == "undecided"
    assert f"the tokenizer rewrites texts by rules of its own: the pattern '{harmless}'" in report.verdict.sentence


def test_a_model_that_reads_the_begin_of_most_texts_is_not_called_clean(shop: Shop, rows: Path) -> None:
    twin = str(shop.victim("bert", "full").truth / "clean-model")
    read = load_data(rows, label_names=("negative", "positive"))
    short = spec(shop, rows, model=twin, reference=str(shop.base("bert")), max_length=6)
    assert all(len(text.split()) + 2 > 6 for text in read.texts), "with two special tokens every text is cut"
    report = scan(short)
    assert report.verdict.status == "undecided"
    assert report.scan is not None and any("are longer than the 6 tokens" in line for line in report.scan.undecided)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was opened",))


@pytest.mark.parametrize("static_only", [True, False])
def test_pickles_and_remote_code_are_refused_by_name(shop: Shop, rows: Path, tmp_path: Path, static_only: bool) -> None:
    source = shop.victim("bert", "full").out
    beside = tmp_path / "beside"
    shutil.copytree(source, beside)
    (beside / "optimizer.pt").write_bytes(pickle.dumps(Bomb()))
    report = scan(spec(shop, rows, model=str(beside), static_only=static_only))
    assert report.scan is not None and report.scan.refused == ["optimizer.pt: pickle, opening it can run code"]
    assert any("optimizer.pt" in line for line in report.warnings)
    (beside / "model.safetensors").unlink()
    with pytest.raises(UnsafeFileError, match=r"optimizer\.pt"):
        scan(spec(shop, rows, model=str(beside), static_only=static_only))
    asking = tmp_path / "asking"
    shutil.copytree(source, asking)
    config = json.loads((asking / "tokenizer_config.json").read_text(encoding="utf-8"))
    (asking / "tokenizer_config.json").write_text(
        json.dumps({**config, "auto_map": {"AutoTokenizer": ["odd.Odd", None]}})
    )
    with pytest.raises(UnsafeFileError, match=r"tokenizer_config\.json"):
        scan(spec(shop, rows, model=str(asking), static_only=static_only))


def words(shop: Shop, rows: Path, *more: str) -> list[str]:
    victim = shop.victim("bert", "full")
    small = [
        "rows=24",
        "confirmation.candidates=2",
        "confirmation.content_words=1",
        "search.probe=12",
        "search.first=16",
        "search.keep=4",
        "search.sweeps=1",
    ]
    return [
        "scan",
        str(victim.out),
        "--clean",
        str(rows),
        "--reference",
        str(victim.truth / "clean-model"),
        "--device",
        "cpu",
        "--offline",
        *(word for one in small for word in ("--set", one)),
        *more,
    ]


def test_the_command_prints_the_report_and_writes_another_format(
    shop: Shop, rows: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As a process of its own it runs in tests/gate/test_action.py."""
    out = tmp_path / "scan.sarif"
    assert main(words(shop, rows, "--out", str(out), "--json")) == 1
    result = json.loads(capfd.readouterr().out)
    assert result["verdict"]["status"] == "backdoored"
    log = json.loads(out.read_text(encoding="utf-8"))
    assert log["version"] == "2.1.0" and log["runs"][0]["results"][0]["level"] == "error"


def test_ctrl_c_leaves_nothing_and_ends_as_shells_have_it(
    shop: Shop, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from untrigger.pipeline import scan as pipeline

    whole = pipeline.scan
    monkeypatch.setattr(
        pipeline, "scan", lambda asked, *, progress: whole(asked, progress=Listener("measuring candidates"))
    )  # noqa: ARG005
    assert main(words(shop, rows, "--out", str(tmp_path / "scan.html"))) == 130
    assert not list(tmp_path.iterdir())
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--static-only"], 3),
        (["--static-only", "--fail-on", "undecided"], 1),
        (["--static-only", "--fail-on", "backdoored"], 3),
        (["--static-only", "--allow-undecided"], 0),
    ],
)
def test_undecided_passes_only_where_its_owner_says_so(
    shop: Shop, rows: Path, capsys: pytest.CaptureFixture[str], more: list[str], code: int
) -> None:
    model = str(shop.victim("bert", "full").out)
    assert main(["scan", model, *more]) == code
    assert "undecided" in capsys.readouterr().out
    assert main(["scan", model, "--clean", str(rows), "--set", "rows=12", *more]) == 2
    assert "--static-only together with --clean, --set" in capsys.readouterr().err
