"""A scan as JUnit XML, the format that build servers show: one test case for each question."""

from __future__ import annotations

import xml.etree.ElementTree as ET  # written only, never parsed

from untrigger.core.escaping import visible
from untrigger.core.report import Report
from untrigger.core.verdicts import UNDECIDED
from untrigger.reporting import scan_view
from untrigger.reporting.checks import PASSED, SKIPPED, Check, Gate, scan_checks


def to_junit(report: Report) -> str:
    """Return the scan as one test suite: a case for each label, one for the weights, skipped ones for what was not looked for."""
    scan = report.scan
    assert scan is not None
    gate = Gate.of(report)
    cases = [_case_of(report, check, gate) for check in scan_checks(report, scan)]
    suite = ET.Element("testsuite", name=f"untrigger {visible(report.title)}")
    suite.extend(cases)
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    suite.set("errors", str(sum(case.find("error") is not None for case in cases)))
    suite.set("time", f"{sum(stage.wall_s or 0.0 for stage in report.stages):.3f}")
    output = [report.verdict.sentence, *(f"warning: {line}" for line in report.warnings)]
    ET.SubElement(suite, "system-out").text = "\n".join(visible(line) for line in output)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case_of(report: Report, check: Check, gate: Gate) -> ET.Element:
    case = _case(report, check.name)
    if check.kind == SKIPPED:
        ET.SubElement(case, "skipped", message=visible(check.lines[0]))
    elif check.kind != PASSED:
        _end(case, check, gate)
    return case


def _end(case: ET.Element, check: Check, gate: Gate) -> None:
    """Add a failure where the policy fails on it; an error for an open question, skipped where allowed; else a line of output."""
    shown = [visible(line) for line in check.lines]
    if gate.fails(check.kind):
        ET.SubElement(case, "failure", type=check.kind, message=shown[0]).text = "\n".join(shown)
    elif check.kind == UNDECIDED:
        ET.SubElement(case, "skipped" if gate.allow_undecided else "error", message=shown[0])
    else:
        ET.SubElement(case, "system-out").text = "\n".join([check.kind, *shown])


def _case(report: Report, name: str) -> ET.Element:
    model = scan_view.inner(report, "model").get("name") or "model"
    return ET.Element("testcase", classname=visible(f"untrigger.scan.{model}"), name=visible(name))
