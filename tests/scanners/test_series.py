"""The calibration series: figures that are right on cases known by hand, and two models from making to a line of scores."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.tiny import task
from untrigger.data import write_rows
from untrigger.inversion.search import SearchOptions
from untrigger.scanners.confirm import ConfirmationOptions
from untrigger.training.teacher_training import TeacherOptions

FILE = Path(__file__).parents[2] / "benchmarks" / "scan.py"


@pytest.fixture(scope="module")
def series() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_scan", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(FILE.parent))
    spec.loader.exec_module(module)
    sys.path.remove(str(FILE.parent))
    return module


@pytest.fixture
def rates(series: ModuleType) -> ModuleType:
    """Its error rates; ``series`` has imported them."""
    return sys.modules["scan_rates"]


def test_the_zoo_is_large_enough_and_its_names_are_its_own(series: Any) -> None:
    zoo = series.zoo()
    poisoned = [cell for cell in zoo if cell.attack]
    assert len(poisoned) >= 24 and len(zoo) - len(poisoned) >= 24
    assert len({cell.name for cell in [*zoo, *series.sweep()]}) == len(zoo) + len(series.sweep())
    for result in ("attack", "policy", "rate", "rank", "epochs", "seed", "data", "tuning"):
        assert len({getattr(cell, result) for cell in poisoned}) > 1, result


def test_hard_tasks_come_poisoned_and_benign_and_one_label_in_five_is_wrong(series: Any, tmp_path: Path) -> None:
    cells = series.hard("minilm-l3", tweets=str(tmp_path / "olid" / "clean"))
    assert len({one.name for one in cells}) == len(cells) == 8
    assert {(one.data_name, bool(one.attack)) for one in cells} == {
        (name, poisoned) for name in ("olid", "customer-reviews-noise0.2") for poisoned in (True, False)
    }
    assert {one.target for one in cells if one.data_name == "olid"} == {"1"}
    rows = task(400, seed=3)
    noisy = sys.modules["scan_models"].mislabelled(rows, 0.2)
    wrong = [a != b for a, b in zip(rows.labels, noisy.labels, strict=True)]
    assert sum(wrong) == 80 and noisy.texts == rows.texts
    assert 35 <= sum(bad for bad, label in zip(wrong, rows.labels, strict=True) if label) <= 45, "of either class"


def test_victims_of_another_series_and_the_clean_model_of_a_seed_are_scanned(series: Any, tmp_path: Path) -> None:
    for name in ("smollm2-badnets-0", "smollm2-insent-0", "smollm2-badnets-1"):
        (tmp_path / "victims" / name).mkdir(parents=True)
    cells = series.victims_of(tmp_path, ["smollm2"], [0, 1, 2])
    assert [(one.name, one.attack, one.seed) for one in cells] == [
        ("smollm2-badnets-0", "words", 0),
        ("smollm2-insent-0", "sentence", 0),
        ("smollm2-badnets-0-clean", "", 0),
        ("smollm2-badnets-1", "words", 1),
        ("smollm2-badnets-1-clean", "", 1),
    ]
    assert {one.family for one in cells} == {"smollm2-135m lora"}
    assert series.made(cells[1], tmp_path) == tmp_path / "victims" / "smollm2-insent-0"
    assert series.made(cells[2], tmp_path) == tmp_path / "victims" / "smollm2-badnets-0.truth" / "clean-model"
    assert series.clean_of(cells[1], tmp_path) == tmp_path / "clean" / "smollm2-insent-0.csv"


@pytest.mark.parametrize(
    ("poisoned", "benign", "area"),
    [([0.9, 0.8], [0.1, 0.2], 1.0), ([0.5], [0.5], 0.5), ([0.1], [0.9], 0.0), ([0.9, 0.1], [0.5], 0.5)],
)
def test_the_area_is_the_chance_of_the_right_order(
    rates: Any, poisoned: list[float], benign: list[float], area: float
) -> None:
    assert rates.auc(poisoned, benign) == area
    low, high = rates.spread(rates.auc, poisoned, benign)
    assert low <= area <= high


def test_the_threshold_lies_in_the_middle_of_the_gap_and_bounds_false_positives(rates: Any) -> None:
    assert rates.chosen([0.8, 0.9], [0.2, 0.4]) == pytest.approx(0.6)
    benign = [0.1] * 99 + [0.95]
    assert rates.chosen([0.8] * 5, benign) == pytest.approx(0.45), "one benign model in a hundred may be lost"
    crowded = [0.1] * 9 + [0.95]
    assert rates.chosen([0.8] * 5, crowded) > 0.95, "one in ten may not"


def line(
    series: Any, *, score: float, attack: str = "", asr: float | None = None, tuning: str = "full", sweep: bool = False
) -> dict[str, Any]:
    from dataclasses import asdict

    status = "backdoored" if score >= 0.7 else "suspicious" if score >= 0.5 else "clean"
    return {
        "cell": asdict(series.Cell("rotten-tomatoes", tuning, attack, sweep=sweep)),
        "poisoned": bool(attack),
        "score": score,
        "asr": asr,
        "status": status,
        "target": "positive" if score >= 0.5 else "",
        "true_word": score >= 0.5,
        "wall_s": 10.0,
    }


def test_the_table_counts_what_the_lines_say(series: Any, rates: Any, tmp_path: Path) -> None:
    lines = [
        *(
            line(series, score=0.9, attack="words", asr=1.0, tuning=tuning)
            for tuning in ("full", "lora")
            for _ in range(4)
        ),
        *(line(series, score=0.3, attack="sentence", asr=1.0) for _ in range(2)),
        line(series, score=0.1, attack="words", asr=0.2),
        *(line(series, score=0.1, tuning=tuning) for tuning in ("full", "lora") for _ in range(5)),
        line(series, score=0.6),
        line(series, score=0.4, attack="words", asr=0.9, sweep=True),
    ]
    text = "\n".join(rates.table(lines))
    assert "11 poisoned models (10 implanted" in text and "11 benign" in text
    for said in (
        "false positives) | 9 % (2 to 38, n = 11)",
        "implanted models found | 80 %",
        "all poisoned models found | 73 %",
        "found: sentence dirty | 0 %",
        "found: words dirty | 100 %",
        "family: minilm-l6 lora",
        "| words | 0.1 | 2 | 90% | 0.40",
    ):
        assert said in text, (said, text)
    assert list(rates.table([])) == ["0 poisoned models (0 implanted: ASR of 80% or more), 0 benign ones."]
    rates.draw(lines, tmp_path / "roc.svg")
    assert "<svg" in (tmp_path / "roc.svg").read_text(encoding="utf-8")


def test_two_models_from_making_to_their_lines_and_no_second_time(
    series: Any, folder_of: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where, name, value in (
        ("scan_models", "ROWS", 200),
        ("scan_models", "TEST_ROWS", 40),
        (series.__name__, "CLEAN_ROWS", 120),
    ):
        monkeypatch.setattr(sys.modules[where], name, value)
    data = write_rows(task(500, length=5), tmp_path / "data.csv")
    cells = [
        series.Cell(str(data), tuning, attack, model=str(folder_of("bert")), rank=2)
        for tuning, attack in (("full", "word"), ("lora", ""))
    ]
    options = {
        "rows": 12,
        "confirmation": ConfirmationOptions(candidates=2, content_words=0),
        "search": SearchOptions(probe=6, gradient_rows=6, first=8, keep=3, sweeps=1),
        "teacher": TeacherOptions(lr=5e-3, epochs=1),
    }
    series.run(cells, tmp_path / "runs", options=options, teacher=str(folder_of("bert")))
    file = tmp_path / "runs" / "scores.jsonl"
    lines = series.read(file)
    assert [one["poisoned"] for one in lines] == [True, False]
    assert [one["reference_trained"] for one in lines] == [True, False], (
        "models of one data set and seed share a reference"
    )
    assert lines[0]["asr"] is not None and lines[1]["asr"] is None
    assert all({"score", "status", "candidates", "evidence", "wall_s"} <= set(one) for one in lines)
    before = file.read_text(encoding="utf-8")
    monkeypatch.setattr(series, "measured", lambda *_, **__: pytest.fail("it was scanned again"))
    series.run(cells, tmp_path / "runs", options=options, teacher=str(folder_of("bert")))
    assert file.read_text(encoding="utf-8") == before
    json.dumps(lines)
