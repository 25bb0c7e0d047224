"""``untrigger detect``: from files to a scored file, a report beside it and an exit code; bad input leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest

from tests.defences.planted import CLEAN, MAPPING, POOL, planted
from tests.pipeline.kit import digest, table
from tests.requests import request
from tests.tiny import task
from untrigger.cli.main import main
from untrigger.core.report import Report
from untrigger.data import write_rows
from untrigger.detectors.detector import Detection
from untrigger.evaluation.metrics import auroc
from untrigger.models.loading import load_model
from untrigger.models.saving import save_classifier
from untrigger.pipeline.detect import detect
from untrigger.pipeline.requests import DetectRequest
from untrigger.pipeline.verdict_rules import detection_verdict

SETTINGS = [
    f"--set=mapping.{name}={getattr(MAPPING, name)}".replace("True", "true")
    for name in ("alpha", "hidden", "lr", "epochs")
]


@pytest.fixture(scope="module")
def asked(trained_folder: Callable[[str, bool], Path], tmp_path_factory: pytest.TempPathFactory) -> DetectRequest:
    """A poisoned model, the rows that it was trained on and clean rows, all on disk."""
    place = tmp_path_factory.mktemp("detect")
    (place / "model").mkdir()
    save_classifier(
        planted(load_model(trained_folder("bert", False), device="cpu", offline=True)), place / "model", card=""
    )
    suspect, clean = write_rows(POOL.visible, place / "suspect.csv"), write_rows(CLEAN, place / "clean.csv")
    return request(
        DetectRequest,
        model=str(place / "model"),
        suspect=str(suspect),
        clean=str(clean),
        out=place / "none.csv",
        offline=True,
        device="cpu",
        options={"mapping_rows": 80, "mapping": MAPPING},
    )


def words(spec: DetectRequest, out: Path, *more: str) -> list[str]:
    usual = [
        "detect",
        spec.model.name,
        "--suspect",
        spec.suspect.name,
        "--clean",
        spec.clean.name,
        "--out",
        str(out),
        "--offline",
        "--device",
        "cpu",
    ]
    return [*usual, "--set", "mapping_rows=80", *SETTINGS, *more]


def test_every_row_gets_a_score_a_flag_and_a_rank_most_suspicious_first(asked: DetectRequest, tmp_path: Path) -> None:
    before = digest(Path(asked.model.name))
    report = detect(replace(asked, out=tmp_path / "scored.csv"))
    rows = table(tmp_path / "scored.csv")
    assert list(rows[0]) == ["id", "text", "label", "score", "flagged", "rank"]
    assert [row["rank"] for row in rows] == [str(i + 1) for i in range(len(POOL.visible))]
    assert sorted(row["id"] for row in rows) == sorted(POOL.visible.ids)
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    poisoned = [row["id"] in POOL.truth.poisoned_ids for row in rows]
    assert auroc(scores, poisoned=poisoned) > 0.95
    flags = [row["flagged"].casefold() == "true" for row in rows]
    assert flags == [score > report.method["options"]["threshold"] for score in scores]
    assert 0 < sum(flags) < len(rows) and report.verdict.status == "suspicious"
    assert Report.read(tmp_path / "scored.report.json").kind == "detection"
    assert digest(Path(asked.model.name)) == before


def test_the_command_says_by_its_exit_code_whether_rows_are_flagged(
    asked: DetectRequest, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words(asked, tmp_path / "scored.parquet", "--json")) == 1
    assert json.loads(capfd.readouterr().out)["verdict"]["status"] == "suspicious"
    result = pyarrow.parquet.read_table(tmp_path / "scored.parquet")
    assert result.column_names == ["id", "text", "label", "score", "flagged", "rank"] and result.num_rows == len(
        POOL.visible
    )
    clean = write_rows(task(384, seed=50), tmp_path / "unpoisoned.csv")
    assert main(words(replace(asked, suspect=replace(asked.suspect, name=str(clean))), tmp_path / "nothing.csv")) == 0
    assert not any(row["flagged"].casefold() == "true" for row in table(tmp_path / "nothing.csv"))


def bad_rows(place: Path) -> dict[str, Path]:
    """Files that cannot be used, by what is wrong with them."""
    write_rows(CLEAN.where(label == 0 for label in CLEAN.labels), place / "one-class.csv")
    (place / "labels.csv").write_text("text,label\na good film,4 stars\na bad film,1 star\n", encoding="utf-8")
    (place / "columns.csv").write_text("review,score\na good film,positive\n", encoding="utf-8")
    return {name: place / name for name in ("one-class.csv", "labels.csv", "columns.csv", "nowhere.csv")}


@pytest.mark.parametrize(
    ("option", "file", "parts"),
    [
        ("--suspect", "labels.csv", ["4 stars", "negative"]),
        ("--suspect", "columns.csv", ["columns.csv", "review, score", "remedy"]),
        ("--suspect", "nowhere.csv", ["nowhere.csv"]),
        ("--clean", "one-class.csv", ["positive"]),
        ("--out", "scored.txt", [".csv", ".parquet"]),
        ("--method", "bedkdd", ["did you mean: bedkd"]),
        ("--fpr", "2", ["fpr"]),
    ],
)
def test_bad_input_ends_with_two_and_one_message_and_leaves_nothing(
    asked: DetectRequest, tmp_path: Path, capfd: pytest.CaptureFixture[str], option: str, file: str, parts: list[str]
) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "out").mkdir()
    bad = bad_rows(tmp_path / "rows")
    given = tmp_path / "out" / file if option == "--out" else bad.get(file, file)
    assert main(words(asked, tmp_path / "out" / "scored.csv", option, str(given))) == 2
    result = capfd.readouterr().err
    assert all(part in result for part in parts) and "Traceback" not in result, result
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("name", ["scored.csv", "scored.report.json"])
def test_a_file_that_is_there_is_not_overwritten(asked: DetectRequest, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine", encoding="utf-8")
    assert main(words(asked, tmp_path / "scored.csv")) == 2
    assert [(file.name, file.read_text(encoding="utf-8")) for file in tmp_path.iterdir()] == [(name, "mine")]


def test_odd_rows_that_the_model_does_not_follow_are_told_of_and_not_flagged() -> None:
    rows = task(4, seed=0)
    odd, plain = (
        detection_verdict(
            Detection(
                rows,
                (3.0, 2.0, 0.0, 0.0),
                (False,) * 4,
                1.0,
                None,
                metadata={"above_threshold": 2, "followed": followed, "least_followed": 0.5},
            )
        )
        for followed in (0.03, 1.0)
    )
    assert odd.status == plain.status == "nothing found"
    assert odd.sentence.startswith("Nothing found: the model predicts the label of only 3 % of the 2 unusual rows, so ")
    assert plain.sentence == "Nothing found: 2 of 4 rows lie above the threshold."


def test_a_verdict_names_the_phrases_that_rows_were_flagged_by_once_each() -> None:
    named = {"expected_by_chance": 4.4, "above_counts": False, "triggers": [{"text": "see cf"}, {"text": "cf"}]}
    verdict = detection_verdict(
        Detection(task(4, seed=0), (3.0, 2.0, 0.0, 0.0), (True, True, False, False), 1.0, None, metadata=named)
    )
    assert verdict.sentence.startswith("2 of 4 rows are flagged (")
    assert verdict.sentence.endswith('); too few lie above the threshold to count; phrases that flip clean rows: "cf".')
