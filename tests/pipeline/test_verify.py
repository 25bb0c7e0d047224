"""Without a truth the result is scanned on rows that nothing was trained or chosen on, or the verdict is not verified."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.kit import FINETUNE, SMALL, TRIGGER, VERIFIER, Shop
from tests.reporting.kit import finding
from tests.requests import request
from tests.tiny import task
from untrigger.core.report import Report
from untrigger.core.rows import Rows
from untrigger.core.seeds import derived_seed, generator_for
from untrigger.data import load_data, write_rows
from untrigger.defences.bedkd.bedkd_defence import BeDKD
from untrigger.defences.fine_tuning import FineTune
from untrigger.defences.w2s.w2sdefense import W2SDefense
from untrigger.pipeline import purify as pipeline
from untrigger.pipeline import verify as module
from untrigger.pipeline.build_method import teacher_of
from untrigger.pipeline.purify import purify
from untrigger.pipeline.requests import PurifyRequest
from untrigger.pipeline.verify import findings_to_retry, too_few
from untrigger.scanners.insertion_scanner import InsertionScanner
from untrigger.training.teacher_training import TeacherOptions

KNOWING = {**VERIFIER, "teacher": TeacherOptions(lr=1e-3, epochs=6, batch_size=16)}


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fifth of them, held out, is enough to say that a model is clean."""
    return write_rows(task(600, seed=21, length=4), tmp_path_factory.mktemp("rows") / "rows.csv")


def asked(
    shop: Shop, rows: Path, out: Path, *, kind: str = "bert", tuning: str = "full", **changes: Any
) -> PurifyRequest:
    """The reference is trained from an encoder that knows the task: a random one learns too little in seconds."""
    usual = {"clean": str(rows), "teacher": str(shop.base("bert")), "verifier": KNOWING, "control": False}
    return shop.spec(kind, tuning, out=out, **usual | changes)


def verification(report: Report) -> dict[str, Any]:
    result = report.method["options"]["verification"]
    assert isinstance(result, dict)
    return result


def test_a_model_taken_back_to_its_trusted_base_is_purified_by_the_scan_of_it(
    shop: Shop, rows: Path, tmp_path: Path
) -> None:
    options = SMALL["w2sdefense"] | {"retrain": replace(SMALL["w2sdefense"]["retrain"], steps=60), "lr": 1e-2}
    spec = asked(shop, rows, tmp_path / "out", tuning="lora", base=str(shop.base("bert")), options=options)
    report = purify(spec)
    output = verification(report)
    assert report.method["options"]["outcome"] == "retrained from a trusted base"
    assert output["verdict"] == "clean", output["sentence"]
    assert report.verdict.status == "purified" and "Not looked for: style, syntax" in report.verdict.sentence
    assert any("style" in line for line in output["not_looked_for"])
    assert [stage.name for stage in report.stages][:4] == ["load", "purify", "verify: scan of the result", "evaluate"]


def test_what_plain_fine_tuning_leaves_is_found(shop: Shop, rows: Path, tmp_path: Path) -> None:
    report = purify(
        asked(shop, rows, tmp_path / "out", method="finetune", options={"epochs": 1, "rank": 4, "lr": 1e-4})
    )
    result = verification(report)
    assert report.verdict.status == "still found", report.verdict.sentence
    assert any(one.startswith(f"{TRIGGER} ") for one in result["found"]), result
    assert result["rows"] == 120


def test_the_scan_uses_the_held_out_rows_and_a_seed_of_its_own(
    shop: Shop, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned: list[tuple[Rows, int]] = []
    given: list[Rows] = []
    whole, trained = InsertionScanner.scan, pipeline.split_rows

    def scan(self: InsertionScanner, model: Any, grant: Any, **more: Any) -> Any:
        scanned.append((grant.clean, grant.seed))
        assert grant.teacher is None and more["context"].reference is not None
        return whole(self, model, grant, **more)

    def split_rows(spec: Any, victim: Any) -> Any:
        result = trained(spec, victim)
        given.append(result[0])
        return result

    monkeypatch.setattr(InsertionScanner, "scan", scan)
    monkeypatch.setattr(pipeline, "split_rows", split_rows)
    report = purify(asked(shop, rows, tmp_path / "out", **FINETUNE))
    [(own, seed)] = scanned
    assert not set(own.texts) & set(given[0].texts) and len(own) + len(given[0]) == 600
    assert report.given["held_out"]["sha256"] == own.content_hash()
    assert seed == derived_seed(0, "verification: scan") != 0


def test_a_scan_that_is_not_wanted_or_cannot_be_made_leaves_it_not_verified(
    shop: Shop, rows: Path, tmp_path: Path
) -> None:
    skipped = purify(asked(shop, rows, tmp_path / "skipped", verify=False, **FINETUNE))
    assert skipped.verdict.status == "not verified" and "--no-verify" in skipped.verdict.sentence
    few = purify(asked(shop, shop.clean, tmp_path / "few", **FINETUNE))
    assert few.verdict.status == "not verified" and "16 clean rows were held out" in few.verdict.sentence
    assert "clean rows in all" in few.verdict.sentence
    assert verification(few)["verdict"] == verification(skipped)["verdict"] == "not made"


def test_a_fault_of_the_reference_costs_no_purified_model(
    shop: Shop, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEFAULT_TEACHER", str(tmp_path / "nowhere"))
    report = purify(asked(shop, rows, tmp_path / "out", teacher=None, **FINETUNE))
    assert report.verdict.status == "not verified" and "could not be made" in report.verdict.sentence
    assert (tmp_path / "out" / "adapter_model.safetensors").exists()


def test_a_decoder_is_never_verified_by_a_scan(shop: Shop, rows: Path, tmp_path: Path) -> None:
    twin = str(shop.victim("llama", "lora").truth / "clean-model")
    report = purify(asked(shop, rows, tmp_path / "out", kind="llama", tuning="lora", model=twin, **FINETUNE))
    assert report.verdict.status in ("not verified", "still found"), report.verdict.sentence
    assert verification(report)["verdict"] != "clean"


def test_the_finding_of_the_method_is_tried_again_on_the_result() -> None:
    findings = [
        finding("dull", "negative", 0.4, 0.3),
        finding("cf", "positive", 0.6, 0.0, round=2),
        finding("cf", "positive", 0.9, 0.0, round=1),
        finding("x", "nowhere", 1.0),
        finding("mn", "positive", None),
    ]
    result = findings_to_retry(findings, names=("negative", "positive"))
    assert [(one.text, one.target, one.suspect.value) for one in result] == [
        ("cf", "positive", 0.9),
        ("dull", "negative", 0.4),
        ("mn", "positive", None),
    ]


@pytest.mark.parametrize(("count", "enough"), [(8, False), (60, False), (78, False), (100, True), (400, True)])
def test_rows_that_can_never_show_a_clean_model_are_not_scanned(count: int, enough: bool) -> None:
    why = too_few(
        task(count, seed=0), scanner=replace(InsertionScanner(), held_out=module.OPTIONS.confirming), granted=4 * count
    )
    assert (why == "") is enough
    if not enough:
        wanted = int(why.split("give about ")[1].split()[0])
        assert not too_few(
            task(wanted // 5, seed=0),
            scanner=replace(InsertionScanner(), held_out=module.OPTIONS.confirming),
            granted=wanted,
        )


def test_a_teacher_that_is_named_counts_for_every_method_that_can_use_one() -> None:
    spec = request(PurifyRequest, model="m", clean="c", out=Path("o"))
    named = replace(spec, teacher="mine")
    assert [teacher_of(one, W2SDefense()) for one in (spec, named)] == ["minilm-l6", "mine"]
    assert [teacher_of(one, BeDKD()) for one in (spec, named)] == [None, "mine"], "it can do without"
    assert [teacher_of(one, FineTune()) for one in (spec, named)] == [None, None]


def test_a_teacher_that_nothing_used_is_told_of(shop: Shop, tmp_path: Path) -> None:
    idle = [
        any(
            "was not used" in one
            for one in purify(shop.spec("bert", "full", out=tmp_path / name, **FINETUNE, **more)).warnings
        )
        for name, more in (("a", {"verify": False}), ("b", {}), ("c", {"verify": False, "teacher": None}))
    ]
    assert idle == [True, False, False]


def test_a_named_teacher_reaches_bedkd(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class EnoughError(Exception):
        pass

    def stop(_self: BeDKD, _model: Any, grant: Any, **_more: Any) -> Any:
        assert grant.teacher == str(shop.teacher)
        raise EnoughError

    monkeypatch.setattr(BeDKD, "_purify", stop)
    with pytest.raises(EnoughError):
        purify(shop.spec("bert", "full", out=tmp_path / "out", method="bedkd"))


def test_the_defenders_split_is_not_the_attackers(shop: Shop) -> None:
    """With one seed for both, the rows that ``stratified`` takes are others."""
    import numpy as np

    rows = load_data(str(shop.clean), label_names=("negative", "positive"))
    own = rows.stratified(40, rng=generator_for(0, "purify: rows that are held out"))[0]
    assert own.ids != rows.stratified(40, rng=np.random.default_rng(0))[0].ids
    assert own.ids == rows.stratified(40, rng=generator_for(0, "purify: rows that are held out"))[0].ids
    seeds = {derived_seed(seed, purpose) for purpose in ("a", "b", "ab") for seed in range(50)}
    assert len(seeds) == 150 and all(0 <= one < 2**32 for one in seeds)
