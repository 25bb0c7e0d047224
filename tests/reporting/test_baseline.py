"""A scan beside the last one: new, gone and changed findings, changed inputs, and the words of SARIF for them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from untrigger.core.baseline import Baseline
from untrigger.core.candidate import Candidate
from untrigger.core.errors import DataError
from untrigger.core.report import Report
from untrigger.core.scan_result import Evidence
from untrigger.pipeline.scan_baseline import compare_scans, read_baseline
from untrigger.reporting.baseline_view import sentences
from untrigger.reporting.scan_page import render_scan

from .kit import candidate, scan_report


def scanned(status: str, *candidates: Candidate, sha: str = "ab" * 32, **more: Any) -> Report:
    """The report of a scan with these candidates, none of its files refused."""
    report = scan_report(status)
    assert report.scan is not None
    found = replace(report.scan, candidates=list(candidates), refused=[], evidence=[], **more)
    opened = {"opened": {"config.json": "1" * 64, "model.safetensors": sha}}
    model = {"name": "my model", "sha256": sha, "files": opened}
    return replace(report, scan=found, given={**report.given, "model": model})


def compared(report: Report, last: Report) -> Report:
    assert report.scan is not None
    return replace(report, scan=replace(report.scan, baseline=compare_scans(report, last)))


def states(report: Report) -> dict[str, str]:
    assert report.scan is not None and report.scan.baseline is not None
    return {one.text or one.kind: one.state for one in report.scan.baseline.findings}


CF, MN, BB = (candidate(word, 90, 1, score=0.93) for word in ("cf", "mn", "bb"))
DULL = candidate("dull", 60, 20, score=0.2)


def test_findings_are_new_unchanged_updated_or_absent() -> None:
    weaker = candidate("bb", 55, 1, score=0.55)
    report = compared(scanned("backdoored", CF, BB, DULL), scanned("backdoored", MN, weaker, DULL))
    assert states(report) == {"cf": "new", "bb": "updated", "mn": "absent"}, "below the threshold nothing is compared"
    lines = sentences(report)
    assert lines[0] == "new: 'cf' flips predictions to 'positive' (score 0.93)"
    assert lines[1] == "changed by more than noise: 'bb' flips predictions to 'positive' (score 0.93, last scan 0.55)"
    assert lines[2] == "gone: 'mn' flips predictions to 'positive' (last scan 0.93)"
    assert Report.from_json(report.to_json()) == report
    for page in ("html", "md"):
        assert "Since the last scan" in render_scan(report, format=page)
    assert "Since the last scan" not in render_scan(scanned("clean", DULL), format="md")


def test_a_score_within_its_noise_is_unchanged() -> None:
    report = compared(scanned("backdoored", CF), scanned("backdoored", candidate("cf", 87, 2, score=0.9)))
    assert states(report) == {"cf": "unchanged"}
    assert sentences(report) == ["as before: 'cf' flips predictions to 'positive' (score 0.93, last scan 0.90)"]
    same = compared(scanned("clean", DULL), scanned("clean", DULL))
    assert sentences(same) == ["no findings in either scan"]


def test_a_finding_that_was_tried_again_has_its_score() -> None:
    report = compared(scanned("clean", candidate("cf", 3, 1, score=0.02)), scanned("backdoored", CF))
    assert sentences(report)[0] == "gone: 'cf' flips predictions to 'positive' (score 0.02, last scan 0.93)"


def test_without_a_verdict_nothing_is_called_gone() -> None:
    report = compared(scanned("undecided", DULL, undecided=["few rows"]), scanned("backdoored", CF))
    assert states(report) == {"undecided": "new"}
    back = compared(scanned("backdoored", CF), scanned("undecided", CF, undecided=["few rows"]))
    assert states(back) == {"cf": "new", "undecided": "absent"}
    assert "the last scan gave no verdict: every finding of this one counts as new" in sentences(back)


def test_allowed_findings_are_named_as_such() -> None:
    allowed = replace(CF, allowed="trade")
    report = compared(scanned("clean", allowed), scanned("backdoored", CF))
    assert states(report) == {"cf": "unchanged"} and "allowed" in sentences(report)[0]


def test_changed_inputs_are_named() -> None:
    last = scanned("clean", DULL, sha="cd" * 32)
    given = {**last.given, "defender": {"clean": {"rows": 3}}, "policy": {"fail_on": "backdoored"}}
    report = compared(scanned("clean", DULL), replace(last, given=given, environment={"versions": {"untrigger": "0"}}))
    lines = " ".join(sentences(report))
    assert f"the model changed: model.safetensors; SHA-256 {'ab' * 32}, it was {'cd' * 32}" in lines
    assert "the clean rows: given in one of the two scans only" in lines
    assert "the policy changed" in lines and "untrigger is 0.1.0, it was 0" in lines


def test_every_sarif_result_has_its_state() -> None:
    unusual = [Evidence("embedding_row_lead", 2.0, limit=1.5)]
    now = replace(scanned("backdoored", CF, candidate("odd.csv", 80, 1, score=0.8, kind="rewritten")))
    now = replace(now, scan=replace(now.scan, evidence=unusual, refused=["a.pt: pickle"]))  # type: ignore[type-var]
    last = scanned("backdoored", MN, sha="cd" * 32)
    last = replace(last, scan=replace(last.scan, refused=["a.pt: pickle", "b.pt: pickle"]))  # type: ignore[type-var]
    results = json.loads(render_scan(compared(now, last), format="sarif"))["runs"][0]["results"]
    assert [(one["ruleId"], one["baselineState"]) for one in results] == [
        ("insertion-trigger", "new"),
        ("rewrite-trigger", "new"),
        ("weight-evidence", "new"),
        ("refused-file", "unchanged"),
        ("insertion-trigger", "absent"),
        ("refused-file", "absent"),
    ]
    plain = json.loads(render_scan(now, format="sarif"))["runs"][0]["results"]
    assert not [one for one in plain if "baselineState" in one]
    before = json.loads(render_scan(last, format="sarif"))["runs"][0]["results"]
    assert results[4]["partialFingerprints"] == before[0]["partialFingerprints"], "of the model that it was found in"


def test_the_words_of_a_stranger_s_baseline_are_escaped() -> None:
    evil = replace(MN, text="<script>[x](http://evil.example)\x1b[31m")
    report = compared(scanned("clean", DULL), scanned("backdoored", evil))
    assert "<script>" not in render_scan(report, format="html") and "\x1b" not in render_scan(report, format="html")
    assert "[x](http" not in render_scan(report, format="md")


def test_only_the_report_of_a_scan_is_a_baseline(tmp_path: Path) -> None:
    file = tmp_path / "scan.json"
    scanned("clean", DULL).write(file)
    assert read_baseline(file).kind == "scan"
    replace(scanned("clean", DULL), kind="audit").write(file)
    with pytest.raises(DataError, match="the report of another command: audit"):
        read_baseline(file)
    with pytest.raises(DataError, match="cannot read"):
        read_baseline(tmp_path / "absent.json")
    assert Baseline("t", "clean").state("candidate", "cf") == "new"
