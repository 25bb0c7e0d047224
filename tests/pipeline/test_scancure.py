"""``purify --scan`` from files to files: a cure, a model that comes back as it was, and what is still found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.pipeline.kit import TRIGGER, Shop, config_of, digest, plain, table
from tests.requests import request
from tests.tiny import task
from untrigger.cli.main import main
from untrigger.core.errors import OptionError
from untrigger.core.report import Report, Verdict
from untrigger.data import write_rows
from untrigger.inversion.search import SearchOptions
from untrigger.pipeline.purify import purify
from untrigger.pipeline.requests import PurifyRequest
from untrigger.reporting.model_cards import escape_text
from untrigger.scanners.confirm import ConfirmationOptions
from untrigger.scanners.insertion_scanner import InsertionScanner
from untrigger.training.teacher_training import TeacherOptions

pytestmark = pytest.mark.slow
SCANNER = InsertionScanner(
    rows=48,
    confirmation=ConfirmationOptions(candidates=6, content_words=1),
    search=SearchOptions(probe=12, gradient_rows=12, first=48, sweeps=1),
    teacher=TeacherOptions(lr=1e-3, epochs=4, batch_size=16),
)
OPTIONS: dict[str, Any] = {"lr": 5e-3, "round_steps": 72, "more_steps": 36, "noise": 0.1, "scanner": SCANNER}


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(task(400, seed=21, length=4), tmp_path_factory.mktemp("rows") / "rows.csv")


def spec(
    shop: Shop, rows: Path, out: Path, *, kind: str = "bert", tuning: str = "full", **changes: Any
) -> PurifyRequest:
    """The teacher is an encoder that knows the task: a random one learns too little in seconds."""
    usual: dict[str, Any] = {
        "model": str(shop.victim(kind, tuning).out),
        "clean": str(rows),
        "out": out,
        "teacher": str(shop.base("bert")),
        "scan": True,
        "options": OPTIONS,
        "device": "cpu",
        "offline": True,
    }
    return request(PurifyRequest, **usual | changes)


@pytest.mark.parametrize(("kind", "tuning"), [("bert", "full"), ("bert", "lora")])
def test_the_trigger_is_found_unlearned_and_not_found_again(
    shop: Shop, rows: Path, tmp_path: Path, kind: str, tuning: str
) -> None:
    victim, out = shop.victim(kind, tuning), tmp_path / "out"
    before = digest(victim.out)
    report = purify(spec(shop, rows, out, kind=kind, tuning=tuning, truth=victim.truth))
    assert digest(victim.out) == before
    assert Report.read(out / "report.json") == report
    result = report.method["options"]
    assert report.method["name"] == "scancure" and result["rounds"] >= 1, report.verdict.sentence
    assert result["scan_verdict"] == "clean", result["scan_sentence"]
    assert any(one.text == TRIGGER and one.truth for one in report.findings)
    asr, left, tuned = (report.find(who, "asr") for who in ("victim", "purified", "finetuned"))
    assert asr is not None and left is not None and tuned is not None
    assert (asr.value or 0) > 0.8 > 0.35 > (left.value or 0)
    assert (tuned.value or 0) > (left.value or 0), "the control: as many steps of plain fine-tuning"
    scores = next(one.y for one in report.curves if one.name == "scan score")
    assert scores == result["scan_score_by_round"] and len(scores) == result["rounds"] + 1
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Scan by round" in page or "scan by round" in page
    assert "round 0, as it came" in page and TRIGGER in page
    base = config_of(out)["base_model_name_or_path"]
    assert base == (str(victim.out) if tuning == "full" else config_of(victim.out)["base_model_name_or_path"])
    assert not (out / "model.safetensors").exists(), "one adapter, for full weights and for an adapter"
    texts = [row["text"] for row in table(victim.truth / "test_triggered.csv") if row["label"] == "negative"]
    share = float((plain(out, texts).argmax(dim=1) == 1).float().mean())
    assert share == pytest.approx(left.value, abs=0.03), "plain peft says so too"


def test_a_model_without_a_backdoor_comes_back_as_it_was(shop: Shop, rows: Path, tmp_path: Path) -> None:
    clean, out = shop.victim("bert", "full").truth / "clean-model", tmp_path / "out"
    report = purify(spec(shop, rows, out, model=str(clean)))
    assert report.verdict.status == "unchanged" and "comes back as it was" in report.verdict.sentence, (
        report.verdict.sentence
    )
    assert report.find("finetuned", "cacc") is None and not report.findings
    texts = task(20, seed=3).texts
    assert torch.equal(plain(out, texts), plain(clean, texts))
    assert escape_text(report.verdict.sentence) in (out / "README.md").read_text(encoding="utf-8")


def test_what_is_still_found_is_said_and_what_cannot_be_said_is_too(shop: Shop, rows: Path, tmp_path: Path) -> None:
    one = OPTIONS | {"rounds": 1, "round_steps": 1, "lr": 1e-6}
    report = purify(spec(shop, rows, tmp_path / "left", options=one, control=False))
    assert report.verdict.status == "still found"
    assert "1 round of unlearning" in report.verdict.sentence and f"'{TRIGGER}'" in report.verdict.sentence
    poor = OPTIONS | {"scanner": replace(SCANNER, teacher=TeacherOptions(lr=1e-9, epochs=1))}
    report = purify(spec(shop, rows, tmp_path / "none", options=poor, teacher=str(shop.teacher)))
    assert report.verdict.status == "undecided" and "Nothing was trained" in report.verdict.sentence
    assert not report.findings


def test_the_command_ends_with_one_where_something_is_still_found(
    shop: Shop, rows: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = [
        "--set",
        "rounds=1",
        "--set",
        "round_steps=1",
        "--set",
        "lr=1e-6",
        "--set",
        "scanner.confirmation.candidates=6",
        "--set",
        "scanner.search.first=48",
        "--set",
        "scanner.search.sweeps=1",
        "--set",
        "scanner.rows=48",
        "--set",
        "scanner.confirmation.content_words=1",
        "--set",
        "scanner.teacher.lr=1e-3",
        "--set",
        "scanner.teacher.epochs=4",
        "--set",
        "scanner.teacher.batch_size=16",
        "--no-control",
        "--device",
        "cpu",
        "--offline",
    ]
    words = [
        "purify",
        str(shop.victim("bert", "full").out),
        "--clean",
        str(rows),
        "--out",
        str(tmp_path / "out"),
        "--scan",
    ]
    words += ["--teacher", str(shop.base("bert")), *given]
    assert main(words) == 1
    assert "still found" in capfd.readouterr().out
    assert (tmp_path / "out" / "adapter_config.json").exists(), "what was done is written all the same"
    assert main(words) == 2, "and never written over"


def test_a_scan_is_a_method_and_goes_with_no_other() -> None:
    usual: dict[str, Any] = {"model": "m", "clean": "c", "out": Path("o")}
    assert request(PurifyRequest, **usual).method == "w2sdefense"
    assert (
        request(PurifyRequest, **usual, scan=True).method
        == "scancure"
        == request(PurifyRequest, **usual, scan=True, method="scancure").method
    )
    assert request(PurifyRequest, **usual, method="scancure,finetune").method == "scancure,finetune"
    with pytest.raises(OptionError, match="--scan together with the method 'bedkd'"):
        request(PurifyRequest, **usual, scan=True, method="bedkd")


@pytest.mark.parametrize(
    ("status", "code"), [("purified", 0), ("unchanged", 0), ("still found", 1), ("undecided", 3), ("not verified", 3)]
)
def test_exit_codes(status: str, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from untrigger.pipeline import purify as pipeline

    asked: list[PurifyRequest] = []

    def run(spec: PurifyRequest, *, progress: Any) -> Report:
        asked.append(spec)
        return Report(kind="purification", title="t", verdict=Verdict(status, "a sentence"))

    monkeypatch.setattr(pipeline, "purify", run)
    policy = tmp_path / "policy.toml"
    policy.write_text('[[allow]]\ntext = "3d"\nreason = "a word of the trade"\n', encoding="utf-8")
    words = [
        "purify",
        "m",
        "--clean",
        "c",
        "--out",
        str(tmp_path / "o"),
        "--scan",
        "--set",
        "rounds=4",
        "--policy",
        str(policy),
    ]
    assert main([*words, "--quiet"]) == code
    assert (asked[0].method, asked[0].scan, asked[0].options["rounds"]) == ("scancure", True, 4)
    assert [one.text for one in asked[0].options["policy"].allow] == ["3d"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--scan", "--method", "w2sdefense"], "leave out one of the two"),
        (["--scan", "--method", "scancure,finetune"], "--scan together with the method"),
        (["--scan", "--variant", "as_released"], "variant"),
        (["--scan", "--set", "reset=false"], "no option 'reset'"),
        (["--policy", "p.toml"], "does not scan"),
        (["--scan", "--policy", "absent.toml"], "cannot read the policy"),
        (["--scan", "--policy", "p.toml", "--set", "policy.suspicious=0.4"], "one of the two"),
        (["--scan", "--set", "rounds=0"], "1 or more"),
    ],
)
def test_words_that_make_no_sense_end_with_two(
    more: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["purify", "nowhere", "--clean", "c.csv", "--out", str(tmp_path / "o"), "--offline", *more]
    assert main(words) == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
