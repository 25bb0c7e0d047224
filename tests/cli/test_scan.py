"""``untrigger scan``: formats by name or ending, exit codes by policy, strangers' words as they are."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.reporting.kit import scan_report

SCAN = ["scan", "model", "--clean", "rows.csv"]


def test_everything_is_handed_on(call: Any, pipeline: Any, tmp_path: Path) -> None:
    asked = pipeline("scan", lambda _progress: scan_report("clean"))
    policy = tmp_path / "policy.toml"
    policy.write_text("fail_on = 'backdoored'\n[thresholds]\nsuspicious = 0.3", encoding="utf-8")
    result = call(
        *SCAN,
        "--reference",
        "other",
        "--teacher",
        "enc",
        "--rewritten",
        "odd.csv",
        "--set",
        "rows=12",
        "--set",
        "search.first=8",
        "--policy",
        str(policy),
        "--base",
        "base",
        "--labels",
        "neg, pos",
        "--clean-rows",
        "200",
        "--seed",
        "3",
        "--device",
        "cpu",
        "--offline",
        "--max-length",
        "64",
    )
    assert result.code == 0, result.err
    [spec] = asked
    assert (spec.reference, spec.teacher, spec.rewritten.name, spec.model.base) == ("other", "enc", "odd.csv", "base")
    assert spec.options["rows"] == 12 and spec.options["search"].first == 8
    assert (spec.policy.fail_on, spec.policy.suspicious) == ("backdoored", 0.3)
    assert (
        spec.model.labels,
        spec.clean_rows,
        spec.run.seed,
        spec.run.device,
        spec.run.offline,
        spec.model.max_length,
    ) == (
        ("neg", "pos"),
        200,
        3,
        "cpu",
        True,
        64,
    )


def test_a_language_model_may_be_named_and_get_a_template(call: Any, pipeline: Any) -> None:
    asked = pipeline("scan", lambda _progress: scan_report("undecided"))
    assert call(*SCAN, "--task", "generation", "--template", "Good? {text}", "--offline").code == 3
    assert call(*SCAN, "--offline").code == 3
    assert [(one.task, one.template[:5]) for one in asked] == [("generation", "Good?"), ("", "Is th")]


@pytest.mark.parametrize(
    ("status", "fail_on", "code"),
    [
        ("clean", None, 0),
        ("undecided", None, 3),
        ("undecided", "suspicious", 3),
        ("undecided", "backdoored", 3),
        ("suspicious", None, 1),
        ("backdoored", None, 1),
        ("suspicious", "backdoored", 0),
        ("backdoored", "backdoored", 1),
        ("undecided", "undecided", 1),
        ("clean", "undecided", 0),
    ],
)
def test_the_verdict_and_the_policy_make_the_exit_code(
    call: Any, pipeline: Any, status: str, fail_on: str | None, code: int
) -> None:
    pipeline("scan", lambda _progress: scan_report(status))
    assert call(*SCAN, *(["--fail-on", fail_on] if fail_on else [])).code == code


def test_undecided_passes_only_where_somebody_says_so(call: Any, pipeline: Any, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("allow_undecided = true", encoding="utf-8")
    pipeline("scan", lambda _progress: scan_report("undecided"))
    assert call(*SCAN, "--allow-undecided").code == call(*SCAN, "--policy", str(policy)).code == 0
    assert call(*SCAN, "--policy", str(policy), "--fail-on", "undecided").code == 1, "the command line wins"
    wrong = call(*SCAN, "--allow-undecided", "--fail-on", "undecided")
    assert wrong.code == 2 and "both fail and are allowed" in wrong.err
    pipeline("scan", lambda _progress: scan_report("backdoored"))
    assert call(*SCAN, "--allow-undecided").code == 1


def test_the_command_line_wins_over_the_policy(call: Any, pipeline: Any, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("fail_on = 'backdoored'", encoding="utf-8")
    pipeline("scan", lambda _progress: scan_report("suspicious"))
    assert call(*SCAN, "--policy", str(policy)).code == 0
    assert call(*SCAN, "--policy", str(policy), "--fail-on", "suspicious").code == 1


@pytest.mark.parametrize("name", ["scan.json", "scan.sarif", "scan.sarif.json", "scan.xml", "scan.html", "scan.md"])
def test_the_ending_of_the_file_chooses_the_format(call: Any, pipeline: Any, tmp_path: Path, name: str) -> None:
    pipeline("scan", lambda _progress: scan_report("backdoored"))
    result = call(*SCAN, "--out", str(tmp_path / name))
    assert result.code == 1
    text = (tmp_path / name).read_text(encoding="utf-8")
    if "sarif" in name:
        assert json.loads(text)["version"] == "2.1.0"
    elif name.endswith(".json"):
        assert json.loads(text)["schema"] == "untrigger.report/2"
    elif name.endswith(".xml"):
        assert ET.fromstring(text.partition("\n")[2]).tag == "testsuites"
    else:
        assert text.startswith("<!doctype html>" if name.endswith(".html") else "# ")
    assert name in result.out


def test_one_run_writes_every_format_or_none(
    call: Any, pipeline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from untrigger.reporting.scan_page import format_of, render_scan

    report = scan_report("backdoored")
    pipeline("scan", lambda _progress: report)
    files = [tmp_path / "a" / "scan.json", tmp_path / "b" / "scan.sarif", tmp_path / "scan.html"]
    outs = ["--no-log", *(word for file in files for word in ("--out", str(file)))]
    done = call(*SCAN, *outs)
    assert done.code == 1 and all(file.name in done.out for file in files)
    assert all(file.read_text("utf-8") == render_scan(report, format=format_of(file)) for file in files)
    assert {one.name for one in tmp_path.rglob("*")} == {"a", "b", *(file.name for file in files)}, (
        "nothing is left over"
    )
    for file in files[:2]:
        file.unlink()
    blocked = call(*SCAN, *outs)
    assert blocked.code == 2 and "is there already" in blocked.err
    files[2].unlink()
    whole = Path.rename
    monkeypatch.setattr(
        Path, "rename", lambda self, to: whole(self, to) if to != files[2] else (_ for _ in ()).throw(OSError("full"))
    )
    assert call(*SCAN, *outs).code == 2
    assert not [one for one in tmp_path.rglob("*") if one.is_file()], "the last could not be written: none is"


def test_several_files_have_a_name_and_a_format_each(call: Any, pipeline: Any, tmp_path: Path) -> None:
    ran = pipeline("scan", lambda _progress: scan_report("clean"))
    first, second = str(tmp_path / "scan.json"), str(tmp_path / "scan.html")
    done = call(*SCAN, "--out", first, "--out", second, "--format", "json")
    assert done.code == 2 and "--format json together with several --out" in done.err
    done = call(*SCAN, "--out", first, "--out", first)
    assert done.code == 2 and "names a file twice" in done.err
    done = call(*SCAN, "--out", first, "--out", str(tmp_path / "scan.pdf"))
    assert done.code == 2 and "names no format" in done.err
    assert not ran


def test_what_changed_since_the_last_scan_is_printed(call: Any, pipeline: Any, tmp_path: Path) -> None:
    from untrigger.core.baseline import Baseline, Change

    report = scan_report("backdoored")
    assert report.scan is not None
    found = Baseline("Scan of victim", "clean", findings=[Change("candidate", "[red]cf", "new", target="positive")])
    ran = pipeline("scan", lambda _progress: replace(report, scan=replace(report.scan, baseline=found)))
    done = call(*SCAN, "--baseline", str(tmp_path / "last.json"))
    assert "since the last scan: new: '[red]cf' flips predictions to 'positive'" in done.out
    assert ran[0].baseline == tmp_path / "last.json"


@pytest.mark.parametrize("format", ["json", "sarif", "junit", "html", "md"])
def test_a_format_without_a_file_is_all_that_stands_on_standard_output(call: Any, pipeline: Any, format: str) -> None:
    from untrigger.reporting.scan_page import render_scan

    report = scan_report("suspicious")
    pipeline("scan", lambda _progress: report)
    for more in ([], ["--quiet"]):
        result = call(*SCAN, "--format", format, *more)
        assert result.code == 1
        assert result.out.strip() == render_scan(report, format=format).strip()


def test_json_is_the_report_whatever_is_written(call: Any, pipeline: Any, tmp_path: Path) -> None:
    pipeline("scan", lambda _progress: scan_report("clean"))
    result = call(*SCAN, "--json", "--out", str(tmp_path / "scan.xml"))
    assert json.loads(result.out)["verdict"]["status"] == "clean"


def test_people_see_candidates_verdict_and_strangers_words_as_they_are(call: Any, pipeline: Any) -> None:
    report = scan_report("backdoored", text="[red]cf[/] \x1b[31m")
    pipeline("scan", lambda _progress: report)
    result = call(*SCAN)
    assert "[red]cf[/]" in result.out
    assert "\x1b[31m" not in result.out
    assert "backdoored:" in result.out
    assert "+92.5" in result.out


def test_one_result_has_one_form_on_standard_output(call: Any, pipeline: Any, tmp_path: Path) -> None:
    pipeline("scan", lambda _progress: scan_report("clean"))
    result = call(*SCAN, "--format", "sarif", "--json")
    assert result.code == 2 and json.loads(result.out)["error"]["what"] == "--json together with --format"
    result = call(*SCAN, "--format", "sarif", "--json", "--out", str(tmp_path / "log.sarif"))
    assert result.code == 0 and json.loads(result.out)["schema"] == "untrigger.report/2"


def test_a_static_scan_shows_its_figures(call: Any, pipeline: Any) -> None:
    report = scan_report("undecided")
    assert report.scan is not None
    bare = replace(report, scan=replace(report.scan, candidates=[], controls=[], score=None))
    pipeline("scan", lambda _progress: bare)
    result = call("scan", "model", "--static-only")
    assert "Embedding row that moved most" in result.out
    assert "bb, cf" in result.out


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--out", "scan.pdf"], "names no format"),
        (["--format", "pdf"], "--format"),
        (["--fail-on", "clean"], "--fail-on"),
        (["--policy", "absent.toml"], "cannot read the policy"),
        (["--set", "row=3"], "did you mean: rows"),
        (["--set", "rows=many"], "a whole number"),
        (["--method", "insertion"], "did you mean: insertions"),
    ],
)
def test_bad_words_end_with_two_before_anything_runs(call: Any, pipeline: Any, more: list[str], says: str) -> None:
    asked = pipeline("scan", lambda _progress: scan_report("clean"))
    result = call(*SCAN, *more)
    assert (result.code, result.out) == (2, "")
    assert says in result.err
    assert not asked


def test_a_file_that_is_there_is_left_alone(call: Any, pipeline: Any, tmp_path: Path) -> None:
    asked = pipeline("scan", lambda _progress: scan_report("clean"))
    file = tmp_path / "scan.html"
    file.write_text("mine", encoding="utf-8")
    assert call(*SCAN, "--out", str(file)).code == 2
    assert file.read_text(encoding="utf-8") == "mine"
    assert not asked
