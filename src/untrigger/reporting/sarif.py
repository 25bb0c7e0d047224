"""A scan as SARIF 2.1.0, the format that code-scanning services read."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

from untrigger.core.candidate import REWRITTEN_KINDS
from untrigger.core.escaping import visible
from untrigger.core.report import Report
from untrigger.core.scan_result import Scan
from untrigger.reporting import scan_view

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
RULES = {
    "insertion-trigger": (
        "A text that flips predictions",
        "An inserted text flips predictions of the model and not of a clean reference.",
    ),
    "rewrite-trigger": (
        "A style that flips predictions",
        "Rewritten rows flip predictions of the model and not of a clean reference.",
    ),
    "weight-evidence": ("Unusual weights", "A figure of the weights reaches its calibrated limit."),
    "undecided": ("No verdict", "Too little was known to decide whether the model is backdoored."),
    "refused-file": ("A file that was not opened", "A pickle or program is in the folder of the weights."),
}


def to_sarif(report: Report) -> str:
    """Return the findings of the scan as a SARIF log; allowed ones are there as suppressed results."""
    scan = report.scan
    assert scan is not None
    results = [*_findings(report, scan), *_weights(report, scan), *_refused(report, scan)]
    if report.verdict.status == "undecided":
        level = "note" if scan_view.inner(report, "policy").get("allow_undecided") is True else "warning"
        results.append(_result(report, "undecided", level, report.verdict.sentence, key=""))
    log = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": _driver(report)},
                "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": _notifications(report)}],
                "results": results,
                "properties": {
                    "verdict": report.verdict.status,
                    "score": scan.score,
                    "notLookedFor": scan.not_looked_for,
                },
            }
        ],
    }
    return json.dumps(log, indent=2, ensure_ascii=True) + "\n"


def _driver(report: Report) -> dict[str, Any]:
    versions = report.environment.get("versions")
    version = versions.get("untrigger") if isinstance(versions, dict) else None
    return {
        "name": "untrigger",
        "version": str(version or "unknown"),
        "rules": [
            {"id": name, "shortDescription": {"text": short}, "fullDescription": {"text": full}}
            for name, (short, full) in RULES.items()
        ],
    }


def _findings(report: Report, scan: Scan) -> list[dict[str, Any]]:
    """One result for each candidate that reaches the score of a suspicious model."""
    made = []
    for one in scan.candidates:
        if one.score is None or one.score < scan.suspicious or scan.undecided:
            continue
        level = "error" if one.score >= scan.backdoored else "warning"
        rule, key = "insertion-trigger", f"{one.target}\n{one.text}"
        if one.kind in REWRITTEN_KINDS:
            rule, key = "rewrite-trigger", f"{key}\n{one.kind}"
        found = _result(report, rule, level, scan_view.finding_line(one), key=key)
        found["rank"] = round(100 * one.score, 1)
        if one.allowed:
            found["suppressions"] = [{"kind": "external", "justification": visible(one.allowed)}]
        made.append(found)
    return made


def _weights(report: Report, scan: Scan) -> list[dict[str, Any]]:
    return [
        _result(
            report,
            "weight-evidence",
            "warning",
            f"{scan_view.EVIDENCE.get(one.name, one.name)}: {one.value:.3g} at {one.place or 'the model'} (limit {one.limit:.3g}).",
            key=one.name,
        )
        for one in scan.evidence
        if one.unusual
    ]


def _refused(report: Report, scan: Scan) -> list[dict[str, Any]]:
    return [_result(report, "refused-file", "note", f"Not opened: {line}.", key=line) for line in scan.refused]


def _notifications(report: Report) -> list[dict[str, Any]]:
    """Return the warnings of the report as notifications of the tool (SARIF 2.1.0, 3.20.21)."""
    return [{"level": "warning", "message": {"text": _message(line)}} for line in report.warnings]


def _result(report: Report, rule: str, level: str, text: str, *, key: str) -> dict[str, Any]:
    model = scan_view.inner(report, "model")
    name = str(model.get("name") or "model")
    print_of = hashlib.sha256(f"{model.get('sha256', '')}\n{rule}\n{key}".encode("utf-8", "surrogatepass")).hexdigest()
    return {
        "ruleId": rule,
        "ruleIndex": list(RULES).index(rule),
        "level": level,
        "message": {"text": _message(text)},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": quote(name, safe="/", errors="replace")}}}],
        "partialFingerprints": {"untrigger/v1": print_of},
    }


def _message(text: str) -> str:
    """Plain text in which nothing is a link or a placeholder (SARIF 2.1.0, 3.11.5 and 3.11.6)."""
    shown = visible(text).replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return shown.replace("{", "{{").replace("}", "}}")
