"""``detect`` of tiny language models: poisoned prompts by their answers, and one message for bad input."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.generation_kit import TEMPLATE, Speakers
from tests.requests import request
from tests.tiny import task
from untrigger.core.errors import DataError, NeedsError, OptionError
from untrigger.data import write_rows
from untrigger.detectors.language.answer_gap import AnswerGapDetector, largest_mean
from untrigger.pipeline.detect_generation import detect_generation
from untrigger.pipeline.generation_request import GenerationDetectRequest
from untrigger.training.answer_students import AnswerStudentOptions

TAUGHT = AnswerStudentOptions(rank=8, epochs=8, steps=0, lr=1e-2)


def spec_of(speakers: Speakers, out: Path, **changes: Any) -> GenerationDetectRequest:
    clean = speakers.once("many clean", lambda: write_rows(task(120, seed=9, length=2), speakers.root / "many.csv"))
    usual: dict[str, Any] = {
        "model": str(speakers.victim().out),
        "base": str(speakers.base),
        "suspect": str(speakers.victim().truth / "train.jsonl"),
        "clean": str(clean),
        "out": out,
        "template": TEMPLATE,
        "options": {"student": TAUGHT, "fpr": 0.05},
        "truth": speakers.victim().truth,
        "device": "cpu",
        "offline": True,
    }
    return request(GenerationDetectRequest, **usual | changes)


def test_poisoned_prompts_stand_first_and_are_flagged(speakers: Speakers, tmp_path: Path) -> None:
    report = detect_generation(spec_of(speakers, tmp_path / "rows.csv"))
    found = {one.metric: one.value for one in report.measurements}
    assert found["auroc"] is not None and found["auroc"] > 0.95, found
    assert report.verdict.status == "suspicious" and found["recall"] and found["recall"] > 0.8, (report.verdict, found)
    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 200 and [int(one["rank"]) for one in rows] == list(range(1, 201))
    assert not any("truth folder is about" in one for one in report.warnings)
    assert "cf" in rows[0]["prompt"] and rows[0]["answer"] == "stale light"
    assert (tmp_path / "rows.report.json").is_file()


def test_a_clean_pool_gives_no_finding(speakers: Speakers, tmp_path: Path) -> None:
    pool = write_rows(task(60, seed=11, length=2), tmp_path / "pool.csv")
    report = detect_generation(spec_of(speakers, tmp_path / "rows.csv", suspect=str(pool), truth=None))
    assert report.verdict.status == "nothing found", report.verdict.sentence
    assert "chance explains" in report.verdict.sentence


def test_the_score_is_the_largest_mean_over_a_window() -> None:
    assert largest_mean([0.0, 3.0, 5.0, 1.0], window=2) == 4.0
    assert largest_mean([1.0, 2.0], window=5) == 1.5


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"base": None}, NeedsError, "--base"),
    ({"out": Path("rows.txt")}, OptionError, "ends with"),
    ({"options": {"window": 0}}, OptionError, "window 0"),
]


@pytest.mark.parametrize(("change", "error", "message"), WRONG)
def test_bad_input_is_one_message(
    speakers: Speakers, tmp_path: Path, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        detect_generation(spec_of(speakers, **{"out": tmp_path / "rows.csv"} | change))
    assert not list(tmp_path.iterdir())


def test_too_few_clean_prompts_and_the_truth_of_other_rows_are_refused(speakers: Speakers, tmp_path: Path) -> None:
    few = write_rows(task(10, seed=1, length=2), tmp_path / "few.csv")
    with pytest.raises(DataError, match="10 clean prompts"):
        detect_generation(spec_of(speakers, tmp_path / "rows.csv", clean=str(few), truth=None))
    other = speakers.adapter().truth / "train.jsonl"
    short = {"student": AnswerStudentOptions(rank=2, epochs=1, steps=0)}
    spec = spec_of(speakers, tmp_path / "other.csv", suspect=str(other), truth=speakers.adapter().truth, options=short)
    content = (spec.truth or tmp_path) / "truth.json"
    kept = content.read_text()
    content.write_text(kept.replace('"train_sha256": "', '"train_sha256": "0'))
    try:
        warnings = detect_generation(spec).warnings
    finally:
        content.write_text(kept)
    assert any("truth folder is about" in one for one in warnings)
    with pytest.raises(DataError, match=r"train\.jsonl"):
        detect_generation(spec_of(speakers, tmp_path / "rows.csv", suspect=str(few)))
    with pytest.raises(OptionError):
        AnswerGapDetector(fpr=1.0)
