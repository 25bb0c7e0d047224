"""``audit``: what a treatment brings back is seen beside a model that never had it, and what cannot be done is said."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.pipeline.kit import FINETUNE, Shop, digest, table
from tests.pipeline.test_scan import SMALL
from tests.reporting.kit import candidate
from tests.requests import request
from tests.tiny import same, task, weights
from untrigger.core.errors import DataError, OptionError, OutputError
from untrigger.core.progress import silent
from untrigger.core.report import Report
from untrigger.core.statistics import Measurement, paired_difference
from untrigger.data import write_rows
from untrigger.evaluation.ground_truth import read_truth
from untrigger.evaluation.robustness import fine_tuned, quantized_to_int8, repoisoned
from untrigger.models.inference import predict_texts
from untrigger.models.loading import load_model
from untrigger.pipeline.audit import audit, unused
from untrigger.pipeline.load_inputs import load_rows
from untrigger.pipeline.purify import purify
from untrigger.pipeline.requests import AuditRequest, ScanRequest
from untrigger.pipeline.used_rows import read_used_rows
from untrigger.pipeline.verdict_rules import Subject, audit_verdict
from untrigger.scanners.confirm import ConfirmationOptions
from untrigger.scanners.known_triggers import judge_known_candidates
from untrigger.scanners.policy import Allowed, Policy

UNKNOWN = "the model's folder holds no used_rows.json, so that it could not be checked whether the purifier was given these rows"
FAST = SMALL | {"rows": 24, "confirmation": ConfirmationOptions(candidates=3, content_words=0)}


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(task(200, seed=23, length=4), tmp_path_factory.mktemp("rows") / "rows.csv")


def spec(shop: Shop, rows: Path, out: Path, *, model: Path, kind: str = "bert", **changes: Any) -> AuditRequest:
    scan = request(
        ScanRequest,
        model=str(model),
        clean=str(rows),
        reference=str(shop.base(kind)),
        options=FAST,
        device="cpu",
        offline=True,
    )
    return AuditRequest(scan, out, **{"epochs": 1, **changes})


def test_a_backdoor_that_nobody_removed_is_not_clean(shop: Shop, rows: Path, tmp_path: Path) -> None:
    victim = shop.victim("bert", "full")
    before = digest(victim.out)
    report = audit(spec(shop, rows, tmp_path / "audit.json", model=victim.out, truth=victim.truth))
    assert report.verdict.status == "not clean"
    assert Report.read(tmp_path / "audit.json") == report
    assert digest(victim.out) == before
    subjects = [m.subject for m in report.measurements if m.metric == "scan_score"]
    assert subjects == [
        "purified",
        "purified, fine-tuned",
        "purified, in int8",
        "purified, poisoned a little again",
        "clean model",
        "clean model, fine-tuned",
        "clean model, in int8",
        "clean model, poisoned a little again",
    ]
    assert report.warnings == [
        UNKNOWN,
        "not done: purified: full weights have nothing to merge",
        "not done: clean model: full weights have nothing to merge",
    ]
    own, floor = report.find("purified", "asr"), report.find("clean model", "asr")
    assert own is not None and floor is not None and (own.value or 0) > 0.8 > 0.3 > (floor.value or 0)
    small = report.find("purified, in int8", "asr")
    assert small is not None and small.value == pytest.approx(own.value, abs=0.15), "rounding to int8 hides no backdoor"
    excess = report.find("purified, in int8", "excess_asr")
    floor8 = report.find("clean model, in int8", "asr")
    assert excess is not None and floor8 is not None
    assert excess.value == pytest.approx((small.value or 0) - (floor8.value or 0))
    asked = {row["subject"] for row in table(tmp_path / "audit.outcomes.csv")}
    assert asked == set(subjects)
    assert report.environment["device"] == "cpu"


def test_a_model_that_never_had_one_is_held_where_the_rows_suffice(shop: Shop, rows: Path, tmp_path: Path) -> None:
    """The twin in the place of the purified model: the same rows, the same treatments, no excess to speak of.

    Fifty triggered rows without a difference leave room for seven points, two hundred for two.
    """
    victim = shop.victim("bert", "full")
    asked = spec(
        shop,
        rows,
        tmp_path / "a.json",
        model=victim.truth / "clean-model",
        truth=victim.truth,
        treatments=("finetune", "int8"),
    )
    report = audit(asked)
    assert report.verdict.status == "undecided" and "the upper end is 7.1 points" in report.verdict.sentence
    assert all(m.value == 0.0 for m in report.measurements if m.metric == "excess_asr")
    truth = shutil.copytree(victim.truth, tmp_path / "more.truth")
    for name in ("test_clean.csv", "test_triggered.csv"):
        rewritten = table(victim.truth / name)
        more = [row | {"id": f"{row['id']}-{i}"} for i in range(4) for row in rewritten]
        with (truth / name).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rewritten[0]))
            writer.writeheader()
            writer.writerows(more)
    report = audit(replace(asked, truth=truth, out=tmp_path / "b.json"))
    assert report.verdict.status == "held", report.verdict.sentence


def test_an_adapter_is_merged_and_stays_what_it_is(shop: Shop, rows: Path, tmp_path: Path) -> None:
    victim = shop.victim("bert", "lora")
    report = audit(spec(shop, rows, tmp_path / "audit.json", model=victim.out, treatments=("merge",)))
    assert report.warnings == [UNKNOWN]
    one, other = (report.find(name, "cacc") for name in ("purified", "purified, merged"))
    assert one is not None and other is not None and one.value == other.value
    assert report.find("purified", "asr") is None, "without truth nothing is said of attack success"
    assert "attack success is not measured" in report.verdict.sentence
    assert report.verdict.status == "not clean", "the scan alone finds what nobody removed"
    assert report.findings


def test_what_needs_the_truth_is_not_done_without_it(shop: Shop, rows: Path, tmp_path: Path) -> None:
    model = shop.victim("bert", "full").truth / "clean-model"
    report = audit(spec(shop, rows, tmp_path / "audit.json", model=model, treatments=("repoison",)))
    assert any("give the truth folder" in line for line in report.warnings)
    assert [m.subject for m in report.measurements if m.metric == "scan_score"] == ["purified"]


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_int8_changes_every_layer_but_the_head_and_leaves_the_model(shop: Shop, kind: str) -> None:
    model = load_model(shop.victim(kind, "lora").out, device="cpu", offline=True)
    before, texts = weights(model), task(40, seed=3).texts
    small, count = quantized_to_int8(model)
    assert count >= 6
    assert same(weights(model), before)
    rounded, own = (predict_texts(one, texts).logits.softmax(dim=1) for one in (small, model))
    assert not torch.equal(rounded, own), "it is rounded"
    assert float((rounded - own).abs().mean()) < 0.1, "and still the same model"
    assert float((rounded.argmax(dim=1) == own.argmax(dim=1)).float().mean()) > 0.8


def test_a_few_poisoned_rows_poison_and_tuning_on_clean_ones_does_not(shop: Shop) -> None:
    spec = shop.victim("bert", "full")
    twin = load_model(spec.truth / "clean-model", device="cpu", offline=True)
    bed = read_truth(spec.truth, label_names=twin.label_names)
    before, clean = weights(twin), task(120, seed=6, length=4)

    def success(model: Any) -> float:
        said = predict_texts(model, bed.triggered.texts).predictions
        return sum(p == bed.target for p in said) / len(said)

    again = repoisoned(twin, clean, bed, count=30, epochs=8, seed=0, progress=silent, lr=2e-2)
    honest = fine_tuned(twin, clean, epochs=8, seed=0, progress=silent, lr=2e-2)
    assert success(again) > success(honest) + 0.3
    assert same(weights(twin), before)
    assert torch.equal(
        predict_texts(again, clean.texts).logits,
        predict_texts(
            repoisoned(twin, clean, bed, count=30, epochs=8, seed=0, progress=silent, lr=2e-2), clean.texts
        ).logits,
    )


AS_CAME, TUNED, MERGED = Subject(True), Subject(True, "fine-tuned"), Subject(True, "merged")
TWIN = AS_CAME.counterpart


def excess(n: int = 400, **values: float) -> dict[Subject, Measurement]:
    """Excess attack success of the named treatments over ``n`` triggered rows."""
    names, made = {"purified": AS_CAME, "tuned": TUNED}, {}
    for name, value in values.items():
        pairs = [(True, False)] * round(value * n) + [(False, False)] * (n - round(value * n))
        made[names[name]] = paired_difference(pairs, subject=names[name].name, metric="excess_asr")
    return made


@pytest.mark.parametrize(
    ("found", "statuses", "status"),
    [
        (excess(purified=0.01, tuned=0.02), {AS_CAME: "clean"}, "held"),
        (excess(purified=0.01, tuned=0.045), {AS_CAME: "clean"}, "undecided"),
        (excess(40, purified=0.0), {AS_CAME: "clean"}, "undecided"),
        (excess(purified=0.01, tuned=0.4), {AS_CAME: "clean"}, "came back"),
        (excess(purified=0.4, tuned=0.4), {AS_CAME: "clean"}, "not clean"),
        ({}, {AS_CAME: "clean", TUNED: "clean"}, "held"),
        ({}, {AS_CAME: "clean", TUNED: "suspicious"}, "came back"),
        ({}, {AS_CAME: "clean", TUNED: "undecided"}, "undecided"),
        ({}, {AS_CAME: "backdoored"}, "not clean"),
        ({}, {AS_CAME: "undecided"}, "undecided"),
        (excess(purified=0.0), {AS_CAME: "undecided"}, "held"),
        (excess(purified=0.0), {AS_CAME: "suspicious"}, "held"),
        (excess(purified=0.0), {AS_CAME: "backdoored", TWIN: "clean"}, "not clean"),
        (excess(purified=0.0), {AS_CAME: "clean", MERGED: "backdoored"}, "not clean"),
        (excess(purified=0.0), {AS_CAME: "backdoored", TWIN: "backdoored"}, "held"),
        ({}, {AS_CAME: "clean", TWIN: "suspicious"}, "held"),
        ({}, {AS_CAME: "clean", TWIN: "undecided"}, "held"),
    ],
)
def test_attack_success_decides_where_it_is_known(
    found: dict[Subject, Measurement], statuses: dict[Subject, str], status: str
) -> None:
    assert audit_verdict(found, statuses).status == status


def test_an_undecided_audit_names_each_scan_with_its_first_reason() -> None:
    statuses = {AS_CAME: "undecided", TUNED: "undecided", MERGED: "clean", TWIN: "undecided"}
    sentence = audit_verdict({}, statuses, reasons={AS_CAME: "only 3 rows", TUNED: "chance", TWIN: "other"}).sentence
    assert sentence.startswith(
        "The scans could give no verdict on: purified (only 3 rows); purified, fine-tuned (chance). "
    )


def test_a_label_or_a_treatment_with_the_word_purified_is_no_other_subject() -> None:
    assert Subject(True, "purified twice").counterpart == Subject(False, "purified twice")
    assert (TWIN.name, MERGED.counterpart.name) == ("clean model", "clean model, merged")


@pytest.mark.parametrize(("kind", "says"), [("bert", "clean"), ("llama", "undecided")])
def test_a_model_that_cannot_be_searched_is_judged_as_any_other(shop: Shop, kind: str, says: str) -> None:
    """The same judge, the same doubts: of a decoder clean is never said, of a model that knows nothing neither."""
    twin = load_model(
        shop.victim(kind, {"bert": "full", "llama": "lora"}[kind]).truth / "clean-model", device="cpu", offline=True
    )
    reference = load_model(shop.base("bert"), device="cpu", offline=True)
    held, policy = task(160, seed=29, length=4), Policy()
    small = quantized_to_int8(twin)[0] if kind == "bert" else twin
    knowing = candidate("cf", 40, 0, score=0.9)
    said = judge_known_candidates(small, reference, held, [knowing], policy=policy, seed=0)[0]
    assert said.status == says, said.sentence
    assert judge_known_candidates(small, reference, held, [], policy=policy, seed=0)[0].status == "undecided", (
        "nothing was tried"
    )
    worst = judge_known_candidates(small, reference, held, [knowing], policy=policy, seed=0)[1].candidates[0]
    assert (worst.text, worst.kind) == ("cf", "known") and (worst.score or 0) < 0.5
    few = judge_known_candidates(small, reference, held.take(range(20)), [knowing], policy=policy, seed=0)[0]
    assert few.status == "undecided"
    allowed = Policy(allow=(Allowed("cf", "looked at"),))
    assert (
        judge_known_candidates(small, reference, held, [knowing], policy=allowed, seed=0)[1].candidates[0].allowed
        == "looked at"
    )


def test_rows_that_the_purifier_was_given_are_left_out(shop: Shop, rows: Path, tmp_path: Path) -> None:
    purify(shop.spec("bert", "full", out=tmp_path / "pure", clean=str(rows), verify=False, control=False, **FINETUNE))
    asked = spec(shop, rows, tmp_path / "audit.json", model=tmp_path / "pure", treatments=())
    model = load_model(tmp_path / "pure", device="cpu", offline=True)
    assert asked.scan.clean is not None
    loaded = load_rows(asked.scan.clean, model, asked.scan.run, unique=True)
    left, warnings = unused(tmp_path / "pure", loaded)
    assert len(left) == 40 and "160 of the 200 clean rows were given to the purifier and are left out" in warnings[0]
    own = read_used_rows(tmp_path / "pure")
    assert own is not None and not any(own.contain(left.texts))
    report = audit(asked)
    assert report.given["tuning_rows"] + report.given["scanning_rows"] == 40 and report.warnings[0] == warnings[0]
    used = loaded.where(text not in set(left.texts) for text in loaded.texts)
    write_rows(used, tmp_path / "used.csv")
    with pytest.raises(DataError, match="160 of the 160 clean rows were given to the purifier"):
        audit(spec(shop, tmp_path / "used.csv", tmp_path / "other.json", model=tmp_path / "pure"))
    write_rows(loaded.where(text not in set(left.texts[5:]) for text in loaded.texts), tmp_path / "mostly.csv")
    with pytest.raises(DataError, match="5 clean rows are left: 160 more are left out, because the purifier") as caught:
        audit(spec(shop, tmp_path / "mostly.csv", tmp_path / "other.json", model=tmp_path / "pure"))
    assert "at least 8 for each" in (caught.value.expected or "") and "never saw" in (caught.value.remedy or "")
    assert unused(tmp_path / "pure", task(200, seed=99, length=4)) == (
        task(200, seed=99, length=4),
        [],
    )


def test_what_cannot_be_used_is_refused_before_anything_is_written(shop: Shop, rows: Path, tmp_path: Path) -> None:
    model = shop.victim("bert", "full").out
    out = tmp_path / "audit.json"
    with pytest.raises(OptionError, match="did you mean: merge"):
        spec(shop, rows, out, model=model, treatments=("merg",))
    with pytest.raises(OptionError, match="tuning"):
        spec(shop, rows, out, model=model, tuning=1.0)
    few = write_rows(task(8, seed=1, length=4), tmp_path / "few.csv")
    with pytest.raises(DataError, match="enough to split"):
        audit(spec(shop, few, out, model=model, tuning=0.9))
    assert not out.exists()
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError):
        audit(spec(shop, rows, out, model=model))
    assert out.read_text(encoding="utf-8") == "mine"


def test_the_command_hands_everything_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.reporting.kit import scan_report
    from untrigger.cli.main import main
    from untrigger.core.report import Verdict
    from untrigger.pipeline import audit as pipeline

    asked: list[AuditRequest] = []

    def run(spec: AuditRequest, *, progress: Any) -> Report:
        asked.append(spec)
        status = ("held", "came back", "undecided", "undecided")[min(len(asked), 4) - 1]
        return replace(scan_report("clean"), kind="audit", scan=None, verdict=Verdict(status, "a sentence"))

    monkeypatch.setattr(pipeline, "audit", run)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "truth.json").write_text("{}")
    words = [
        "audit",
        "model",
        "--clean",
        "r.csv",
        "--out",
        str(tmp_path / "a.json"),
        "--truth",
        "t",
        "--treatments",
        "merge,int8",
        "--epochs",
        "3",
        "--poisoned",
        "4",
        "--set",
        "rows=12",
        "--seed",
        "2",
    ]
    assert main(words) == 0
    assert (asked[0].treatments, asked[0].epochs, asked[0].poisoned, asked[0].truth) == (
        ("merge", "int8"),
        3,
        4,
        Path("t"),
    )
    assert (asked[0].scan.options, asked[0].scan.run.seed) == ({"rows": 12}, 2)
    assert "held" in capsys.readouterr().out
    assert main(words) == 1
    assert main(words) == 3
    assert main([*words, "--allow-undecided"]) == 0
    assert main([*words, "--treatments", "boil"]) == 2
    without, count = [word for word in words if word not in ("--truth", "t")], len(asked)
    assert main([*without, "--treatments", "merge,repoison"]) == 2 and len(asked) == count
    assert "--truth" in capsys.readouterr().err
    where = without.index("--treatments")
    assert main([*without[:where], *without[where + 2 :]]) == 3 and "repoison" in asked[-1].treatments
    assert main([*words, "--out", str(tmp_path / "a.html")]) == 2
    assert "untrigger report FILE" in capsys.readouterr().err.replace("\n", " ")
