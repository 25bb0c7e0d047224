"""The series of benchmarks/bedkd.py and mapping.py: recipes keep their folders, figures are right on cases known by hand."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from untrigger.core.report import Report, Stage, Verdict
from untrigger.core.statistics import Measurement

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def found() -> Iterator[None]:
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def series(name: str) -> Any:
    return importlib.import_module(name)


def test_recipes_have_a_folder_each_and_rewrites_come_from_the_folder_that_is_given(tmp_path: Path) -> None:
    victims = series("victims")
    folders = {"sst2": tmp_path, "agnews": tmp_path}
    specs = [victims.recipe(tmp_path, "minilm", trigger=one, seed=2, folders=folders) for one in victims.ATTACKS]
    assert len({spec.out for spec in specs}) == len(specs)
    rates = {spec.out.name: (spec.rate, spec.policy) for spec in specs}
    assert rates["minilm-badnets-2"] == rates["minilm-insent-2"] == (0.1, "dirty")
    assert rates["minilm-insent1-2"] == (0.01, "dirty") and rates["minilm-badnets20-2"] == (0.2, "dirty")
    assert rates["minilm-syntactic-2"] == (0.175, "mixed") and rates["minilm-style-2"] == (0.2, "dirty")
    style = next(spec for spec in specs if spec.trigger.name == "style")
    assert (style.data.name, style.paired, style.target) == (str(tmp_path / "clean"), tmp_path / "bible", "1")
    topics = next(spec for spec in specs if spec.out.name == "minilm-topics-2")
    assert (topics.data.name, topics.paired, topics.target) == (str(tmp_path / "clean"), None, "0")
    assert style.run.seed == 2 and style.truth == tmp_path / "victims" / "minilm-style-2.truth"
    assert victims.recipe(tmp_path, "smollm2", trigger="badnets", seed=0).rate == 0.2, "the demo's own"
    with pytest.raises(SystemExit, match="--sst2"):
        victims.recipe(tmp_path, "minilm", trigger="style", seed=0)


def report(*, wall: float, steps: int, excess: float = 0.02, precision: float = 0.97) -> Report:
    values = {
        ("detector", "auroc"): 0.99,
        ("detector", "precision"): precision,
        ("victim", "asr"): 1.0,
        ("purified", "asr"): 0.2,
        ("purified", "excess_asr"): excess,
        ("victim", "cacc"): 0.8,
        ("purified", "cacc"): 0.797,
    }
    return Report(
        kind="purification",
        title="x",
        verdict=Verdict("purified", "x"),
        given={},
        environment={},
        method={"name": "bedkd", "options": {"mapping_steps": 40}},
        stages=[Stage("purify", wall, wall, None, steps)],
        measurements=[Measurement(*key, value, None, None, 100) for key, value in values.items()],
    )


def test_a_cell_stands_beside_the_released_code_on_the_same_victim(tmp_path: Path) -> None:
    bedkd = series("bedkd")
    ours, released = report(wall=30.0, steps=60), report(wall=120.0, steps=360)
    ours.write(tmp_path / "bedkd" / "ours" / "minilm-badnets-0" / "report.json")
    released.write(tmp_path / "bedkd" / "as_released" / "minilm-badnets-0" / "report.json")
    replace(ours, title="y").write(tmp_path / "bedkd" / "ours" / "minilm-badnets-1" / "report.json")
    lost = tmp_path / "bedkd" / "as_released" / "minilm-badnets-1" / bedkd.FAILED
    lost.parent.mkdir()
    lost.write_text("the loss became nan")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in bedkd.table(tmp_path)]
    heads = lines[0]
    assert {len(line) for line in lines} == {len(heads)}
    first, second = (dict(zip(heads, line, strict=True)) for line in lines if line[0] == "ours")
    assert (first["steps"], first["wall s"], first["steps ÷ released"], first["wall ÷ released"]) == (
        "100",
        "30",
        "0.25",
        "0.25",
    )
    assert (first["CACC loss"], first["recall"], first["met"]) == ("0.3", "–", "yes")
    assert second["wall ÷ released"] == "–", "what diverged has no cost to compare with"
    assert [line[3] for line in lines if line[0] == "as_released"].count("diverged") == 1
    mean = dict(zip(heads, next(line for line in lines if line[0] == "**ours**"), strict=True))
    assert mean["steps"] == "**100** (100 to 100)" and mean["met"] == "2 of 2"


@pytest.mark.parametrize(
    ("changes", "met"), [({}, True), ({"excess": 0.031}, False), ({"precision": 0.94}, False), ({"excess": -0.2}, True)]
)
def test_what_is_aimed_at_is_met_or_not(changes: dict[str, float], met: bool) -> None:
    bedkd = series("bedkd")
    assert bedkd.met(bedkd.figures(report(wall=1.0, steps=1, **changes))) is met


def test_the_optimum_of_the_mapping_by_hand() -> None:
    mapping = series("mapping")
    assert mapping.optimum(0.3, 1.5) == pytest.approx(0.365, abs=5e-4), (
        "with the released constants the argmax does not flip"
    )
    assert mapping.optimum(0.5, 1.5) == pytest.approx(0.615, abs=1e-3)
    assert mapping.optimum(0.5, 1.0) == pytest.approx(0.5), "at T = 1 it is alpha"
    assert mapping.optimum(1.0, 1.5) == pytest.approx(1.0)


def line() -> dict[str, Any]:
    """Ten poisoned rows and ninety others; 199 clean rows calibrate."""
    poisoned = [1] * 10 + [0] * 90
    return {
        "setting": {"way": "ours", "alpha": 0.8, "temperature": 1.5, "rows": 160},
        "steps": 40,
        "train_s": 1.0,
        "flipped": 0.5,
        "next_class": 0.5,
        "poisoned": poisoned,
        "agreeing": [1] * 99 + [0],
        "distance": {"pool": [0.05] * 9 + [0.2] + [0.5] * 88 + [0.05] * 2, "clean": [0.5] * 199, "test": [0.5] * 50},
        "min_log_odds": {
            "pool": [3.0] * 10 + [-1.0] * 90,
            "clean": [i / 1000 for i in range(199)],
            "test": [9.0] + [-1.0] * 49,
        },
    }


def test_figures_of_both_scores_by_hand() -> None:
    result = series("mapping").figures(line())
    assert (result["d precision"], result["d recall"], result["d fpr"]) == (0.9, 0.9, pytest.approx(1 / 90))
    assert (result["s auroc"], result["s precision"], result["s recall"], result["s fpr"]) == (1.0, 1.0, 1.0, 0.0)
    assert result["s test"] == 0.02


def test_settings_vary_one_thing_at_a_time_and_none_stands_twice() -> None:
    mapping = series("mapping")
    for way in mapping.WAYS:
        first, *others = mapping.settings(way, varied=True)
        assert first == mapping.usual(way) and mapping.settings(way, varied=False) == [first]
        assert len({one.name for one in (first, *others)}) == len(others) + 1
        for one in others:
            assert sum(getattr(one, name) != getattr(first, name) for name in ("alpha", "temperature", "rows")) <= 1
        assert {one.rows for one in (first, *others)} == set(mapping.COUNTS)


def test_the_table_and_the_picture_are_drawn_from_what_is_there(tmp_path: Path) -> None:
    mapping = series("mapping")
    folder = tmp_path / "mapping" / "minilm-badnets-0"
    folder.mkdir(parents=True)
    (folder / f"{mapping.usual('ours').name}.json").write_text(json.dumps(line()), encoding="utf-8")
    lines = list(mapping.table(tmp_path))
    assert len(lines) == 3 and {text.count("|") for text in lines} == {lines[0].count("|")}
    assert "| minilm-badnets-0 | ours | 0.8 | 1.5 | 160 | 40 |" in lines[2]
    mapping.draw(folder)
    picture = (tmp_path / "mapping" / "minilm-badnets-0.svg").read_text(encoding="utf-8")
    assert picture.lstrip().startswith("<?xml") and "</svg>" in picture
