"""A report is written and read back without loss; whatever is no report is refused with a remedy."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.reporting.kit import scan_report
from untrigger.core import report as module
from untrigger.core.candidate import Candidate, CandidateMeasurement, Example, PositionRates
from untrigger.core.errors import DataError, OutputError
from untrigger.core.report import SCHEMA, Curve, Report, Stage, Verdict, report_schema_text
from untrigger.core.statistics import Measurement

OLD = Path(__file__).parent / "version1"
DOCS = Path(__file__).parents[2] / "docs"
VERDICT = Verdict("unchanged", "Nothing changed.")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=8,
)
TEXT = st.text(st.characters())
NUMBER = st.none() | st.floats()


def test_a_full_report_comes_back_equal(full: Report, tmp_path: Path) -> None:
    path = full.write(tmp_path / "deep" / "report.json")
    assert Report.read(path) == full
    assert [file.name for file in path.parent.iterdir()] == ["report.json"]


@settings(deadline=None)
@example(free={}, text="", ys=[1.7976931348623157e308], value=math.nan)
@given(
    free=st.dictionaries(TEXT, VALUES, max_size=4),
    text=TEXT,
    ys=st.lists(NUMBER, max_size=4),
    value=NUMBER,
)
def test_any_report_comes_back_equal(
    free: dict[str, Any], text: str, ys: list[float | None], value: float | None
) -> None:
    made = Report(
        "evaluation",
        text,
        Verdict(text, text),
        given=free,
        environment=free,
        method={"name": text, "options": free},
        stages=[Stage(text, value, None, 3)],
        measurements=[Measurement(text, text, value, value, value, 1)],
        curves=[Curve(text, text, ys, ys)],
        findings=[
            Candidate(
                text,
                text,
                suspect=Measurement(text, text, value, value, value, 1),
                positions=[PositionRates(text, value, value, value, value, 1)],
                examples=[Example(text, text, text, text, text, text)],
                measurements=[CandidateMeasurement(text, text, 1, value, value, suspect_probability=value)],
            )
        ],
        warnings=[text],
    )
    text_of = made.to_json()
    assert Report.from_json(text_of) == made
    assert Report.from_json(text_of.encode()).to_json() == text_of


def test_numbers_that_json_cannot_hold_become_null() -> None:
    nan = math.nan
    made = Report(
        "attack",
        "t",
        VERDICT,
        given={"a": nan, "b": [math.inf, np.float32(0.5), np.int64(3)], "c": Path("x"), "d": {2, 1}, "e": (1,)},
        measurements=[Measurement("victim", "asr", nan, nan, nan, 0)],
        curves=[Curve("loss", "p", np.arange(2), np.array([1.0, nan]))],  # type: ignore[arg-type]
    )
    result = json.loads(made.to_json(), parse_constant=pytest.fail)
    assert result["given"] == {"a": None, "b": [None, 0.5, 3], "c": "x", "d": [1, 2], "e": [1]}
    assert result["measurements"][0]["value"] is None
    assert result["curves"][0]["y"] == [1.0, None]


def test_the_same_report_gives_the_same_text() -> None:
    one = Report("attack", "t", VERDICT, given={"a": 1, "b": {"c": 1, "d": 2}})
    two = Report("attack", "t", VERDICT, given={"b": {"d": 2, "c": 1}, "a": 1})
    assert one.to_json() == two.to_json()
    assert json.loads(one.to_json())["schema"] == SCHEMA


def test_find_tells_a_measurement_from_none(full: Report) -> None:
    found = full.find("victim", "asr")
    assert found is not None
    assert found.value == 0.97
    assert full.find("victim", "auroc") is None


def test_a_changed_dict_of_the_caller_does_not_change_the_report() -> None:
    mine = {"a": [1]}
    made = Report("attack", "t", VERDICT, given=mine)
    mine["a"].append(2)
    assert made.given == {"a": [1]}


def _with(**changes: object) -> str:
    result = json.loads(Report("attack", "t", VERDICT).to_json())
    return json.dumps({**result, **changes})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ('{"a": NaN}', "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[1, 2]", "holds"),
        ("{}", "schema None"),
        (_with(schema="untrigger.report/3"), "untrigger.report/3"),
        (_with(kind="purifcation"), "did you mean: purification"),
        (_with(kind=3), "kind is 3"),
        (_with(verdict=None), "verdict is None"),
        (_with(verdict={"status": "x"}), "verdict.sentence is missing"),
        (_with(stages=[{"name": "a", "wall_s": "soon"}]), "stages[0].wall_s is 'soon'"),
        (_with(measurements=[{"n": True}]), "measurements[0].subject is missing"),
        (_with(features={"points": 3}), "features.points is 3"),
        (_with(features={"points": [{"subject": "v", "x": 1, "y": 1, "label": 0}]}), "points[0].label is 0"),
        (_with(stages=[{"name": "a", "wall_s": 1, "cpu_s": 1, "peak_rss_bytes": 2**63}]), "peak_rss_bytes is 9223"),
        (_with(method={"options": [1]}), "method.options is [1]"),
        (_with(curves=[{"name": "a", "panel": "b", "x": [1], "y": [10**400]}]), "curves[0].y[0] is 1000"),
    ],
)
def test_what_is_no_report_is_refused_in_a_few_lines(text: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        Report.from_json(text, source="a.json")
    assert said in str(caught.value)
    assert caught.value.expected
    assert len(str(caught.value)) < 600


def test_everything_that_is_wrong_is_said_at_once() -> None:
    text = _with(kind="scam", title=3, verdict={"status": "x"}, stages=[{"name": "a", "wall_s": "soon", "cpu_s": True}])
    with pytest.raises(DataError) as caught:
        Report.from_json(text, source="a.json")
    lines = str(caught.value).splitlines()
    assert lines[0] == "a.json is not a report of untrigger"
    for line in (
        "- kind is 'scam', expected one of purification, evaluation, attack, detection, scan, audit; did you mean scan?",
        "- title is 3, expected text",
        "- verdict.sentence is missing, expected a value",
        "- stages[0].wall_s is 'soon', expected a number",
        "- stages[0].cpu_s is True, expected a number",
        "- stages[0].peak_rss_bytes is missing, expected a value",
    ):
        assert line in lines
    many = _with(warnings=[3] * 1000)
    with pytest.raises(DataError, match="and 990 more") as caught:
        Report.from_json(many)
    assert len(str(caught.value).splitlines()) < 20


@pytest.mark.parametrize("depth", [10, 100, 300, 600, 900, 5_000, 50_000])
def test_no_depth_is_a_fault(depth: int) -> None:
    text = _with(given={"a": 0}).replace('"a": 0', '"a": ' + "[" * depth + "]" * depth)
    with suppress(DataError):
        Report.from_json(text)


def test_reports_of_the_first_version_are_read() -> None:
    scan = Report.read(OLD / "scan.json").scan
    assert scan is not None
    best = scan.candidates[0]
    assert (best.text, best.score, best.suspect.n, best.high_confidence_flip_rate, best.long_rows_flip_rate) == (
        "cf",
        0.93,
        90,
        1.0,
        1.0,
    )
    assert [(p.name, p.suspect, p.high_confidence, p.n) for p in best.positions] == [
        (name, 1.0, 1.0, 30) for name in ("start", "middle", "end")
    ]
    purified = Report.read(OLD / "purification.json")
    found = [(f.text, f.suspect.value, f.reference.value, f.round, f.truth) for f in purified.findings]
    assert found == [("tedious", 0.31, 0.28, 2, False), ("cf", 0.95, 0.06, 1, True)]
    assert Report.from_json(purified.to_json()) == purified
    assert json.loads(purified.to_json())["schema"] == SCHEMA


def test_the_published_schema_is_up_to_date() -> None:
    """After a change of a record write ``report_schema_text()`` of ``untrigger.core.report`` to the file."""

    def without_defaults(node: Any) -> Any:  # versions of pydantic differ in whether they write them
        if isinstance(node, list):
            return [without_defaults(one) for one in node]
        if not isinstance(node, dict):
            return node
        return {key: without_defaults(one) for key, one in node.items() if (key, one) != ("additionalProperties", True)}

    published = json.loads((DOCS / "report.schema.json").read_text(encoding="utf-8"))
    assert without_defaults(published) == without_defaults(json.loads(report_schema_text()))


@pytest.mark.parametrize("status", ["clean", "backdoored", "undecided"])
def test_reports_fit_the_published_schema(full: Report, poor: Report, evil: Report, status: str) -> None:
    schema = json.loads((DOCS / "report.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    for report in (full, poor, evil, scan_report(status)):
        check.validate(json.loads(report.to_json()))
    assert not check.is_valid(json.loads(_with(kind="scam")))
    assert not check.is_valid(json.loads(_with(schema="untrigger.report/1")))


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(DataError, match="not JSON"):
        Report.from_json(b"\xff\xfe\xfa{")


def test_fields_of_a_later_version_are_left_out() -> None:
    assert Report.from_json(_with(novelty=1)) == Report("attack", "t", VERDICT)


@pytest.mark.parametrize("spoil", [lambda _: None, lambda path: path.mkdir()])
def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    spoil(tmp_path / "report.json")
    with pytest.raises(DataError, match=r"cannot read .*report\.json") as caught:
        Report.read(tmp_path / "report.json")
    assert caught.value.remedy


def test_a_file_over_the_bound_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with path.open("wb") as stream:
        stream.truncate(module.MAX_BYTES + 1)
    with pytest.raises(DataError, match="64 MiB"):
        Report.read(path)


def test_a_failed_write_leaves_the_old_file(full: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = full.write(tmp_path / "report.json")
    before = path.read_text()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.raises(OutputError, match="No space left"):
        Report("attack", "other", VERDICT).write(path)
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


def test_a_report_is_light_to_import() -> None:
    code = "import sys, untrigger.core.report, untrigger.reporting; print([m for m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout  # noqa: S603
    assert not [name for name in ("'torch'", "'matplotlib'", "'jinja2'", "'numpy'") if name in loaded]


def test_the_command_line_loads_no_pydantic_before_it_needs_it() -> None:
    code = "import sys, untrigger, untrigger.cli.main; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603
