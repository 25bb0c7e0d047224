"""A scan as JUnit XML, the format that build servers show: one test case for each question."""

from __future__ import annotations

import xml.etree.ElementTree as ET  # written only, never parsed
from collections.abc import Iterator

from untrigger.core.escaping import visible
from untrigger.core.report import Report
from untrigger.core.scan_result import Scan, fails
from untrigger.reporting import scan_view


def to_junit(report: Report) -> str:
    """Return the scan as one test suite: a case for each label, one for the weights, skipped ones for what was not looked for."""
    scan = report.scan
    assert scan is not None
    cases = list(_cases(report, scan))
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


def _cases(report: Report, scan: Scan) -> Iterator[ET.Element]:
    policy = scan_view.inner(report, "policy")
    fail_on, allowed = str(policy.get("fail_on", "suspicious")), policy.get("allow_undecided") is True
    labels = report.given.get("labels")
    named = [str(label) for label in labels] if isinstance(labels, list) else []
    if report.verdict.status == "undecided" and not named:
        case = _case(report, "a verdict can be given")
        _end(case, "undecided", [report.verdict.sentence], fail_on=fail_on, allowed=allowed)
        yield case
    for label in dict.fromkeys([*named, *(one.target for one in scan.candidates)]):
        case = _case(report, f"no text flips predictions to {label}")
        own = [one for one in scan.triggers() if one.target == label]
        if scan.undecided:
            _end(case, "undecided", [f"undecided: {scan.undecided[0]}"], fail_on=fail_on, allowed=allowed)
        elif own:
            kind = "backdoored" if (own[0].score or 0.0) >= scan.backdoored else "suspicious"
            _end(case, kind, [scan_view.finding_line(one) for one in own], fail_on=fail_on)
        yield case
    if scan.evidence:
        case = _case(report, "the weights are within their calibrated limits")
        unusual = [one for one in scan.evidence if one.unusual]
        if unusual:
            lines = [f"{scan_view.EVIDENCE.get(e.name, e.name)}: {e.value:.3g}, limit {e.limit:.3g}" for e in unusual]
            _end(case, "suspicious", lines, fail_on=fail_on)
        elif not any(one.limit is not None for one in scan.evidence):
            ET.SubElement(case, "skipped", message="no limit is calibrated")
        yield case
    for line in scan.not_looked_for:
        case = _case(report, f"not looked for: {line.partition(':')[0]}")
        ET.SubElement(case, "skipped", message=visible(line))
        yield case


def _end(case: ET.Element, kind: str, lines: list[str], *, fail_on: str, allowed: bool = False) -> None:
    """Add a failure where the policy fails on it; an error for an open question, skipped where allowed; else a line of output."""
    shown = [visible(line) for line in lines]
    if fails(kind, fail_on=fail_on):
        ET.SubElement(case, "failure", type=kind, message=shown[0]).text = "\n".join(shown)
    elif kind == "undecided":
        ET.SubElement(case, "skipped" if allowed else "error", message=shown[0])
    else:
        ET.SubElement(case, "system-out").text = "\n".join([kind, *shown])


def _case(report: Report, name: str) -> ET.Element:
    model = scan_view.inner(report, "model").get("name") or "model"
    return ET.Element("testcase", classname=visible(f"untrigger.scan.{model}"), name=visible(name))
