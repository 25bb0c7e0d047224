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
from untrigger.reporting.baseline_view import finding

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
RULES = {
    "insertion-trigger": (
        "A text that flips predictions or changes answers",
        "An inserted text flips predictions or changes answers of the model and not of a clean reference.",
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
    results = [*_findings(report, scan), *_weights(report, scan), *_refused(report, scan), *_absent(report, scan)]
    if report.verdict.status == "undecided":
        level = "note" if scan_view.inner(report, "policy").get("allow_undecided") is True else "warning"
        result = _result(report, "undecided", level, report.verdict.sentence, key="")
        results.append(result | _state(scan, "undecided", ""))
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
    """Return a result for each candidate that reaches the score of a suspicious model."""
    made = []
    for one in scan.reported():
        score = one.score or 0.0
        level = "error" if score >= scan.backdoored else "warning"
        rule, key = _rule_and_key(one.kind, one.text, one.target)
        found = _result(report, rule, level, scan_view.finding_line(one), key=key)
        kind = one.kind if one.kind in REWRITTEN_KINDS else "candidate"
        found |= {"rank": round(100 * score, 1), **_state(scan, kind, one.text, target=one.target)}
        if one.allowed:
            found["suppressions"] = [{"kind": "external", "justification": visible(one.allowed)}]
        made.append(found)
    return made


def _rule_and_key(kind: str, text: str, target: str) -> tuple[str, str]:
    """Return the rule of a candidate, and what its fingerprint is made from."""
    key = f"{target}\n{text}"
    return ("rewrite-trigger", f"{key}\n{kind}") if kind in REWRITTEN_KINDS else ("insertion-trigger", key)


def _state(scan: Scan, kind: str, text: str, *, target: str = "") -> dict[str, str]:
    """Return the state of a result since the last scan (SARIF 2.1.0, 3.27.24); nothing without a baseline."""
    return {"baselineState": scan.baseline.state(kind, text, target=target)} if scan.baseline is not None else {}


def _absent(report: Report, scan: Scan) -> list[dict[str, Any]]:
    """Return a result for each finding of the last scan that is gone."""
    made = []
    for one in scan.baseline.of_state("absent") if scan.baseline is not None else []:
        rule, key = _rule_and_key(one.kind, one.text, one.target)
        rule, key = {
            "evidence": ("weight-evidence", one.text),
            "refused": ("refused-file", one.text),
            "undecided": ("undecided", ""),
        }.get(one.kind, (rule, key))
        found = _result(report, rule, "note", f"Gone since the last scan: {finding(report, one)}.", key=key, gone=True)
        made.append({**found, "baselineState": "absent"})
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
        | _state(scan, "evidence", one.name)
        for one in scan.evidence
        if one.unusual
    ]


def _refused(report: Report, scan: Scan) -> list[dict[str, Any]]:
    return [
        _result(report, "refused-file", "note", f"Not opened: {line}.", key=line) | _state(scan, "refused", line)
        for line in scan.refused
    ]


def _notifications(report: Report) -> list[dict[str, Any]]:
    """Return the warnings of the report as notifications of the tool (SARIF 2.1.0, 3.20.21)."""
    return [{"level": "warning", "message": {"text": _message(line)}} for line in report.warnings]


def _result(report: Report, rule: str, level: str, text: str, *, key: str, gone: bool = False) -> dict[str, Any]:
    """Return a result; ``gone`` is one of the last scan's model, whose digest is then part of the fingerprint."""
    model, baseline = scan_view.inner(report, "model"), report.scan.baseline if report.scan else None
    name = str(model.get("name") or "model")
    digest = baseline.model_sha256 if gone and baseline else model.get("sha256", "")
    print_of = hashlib.sha256(f"{digest}\n{rule}\n{key}".encode("utf-8", "surrogatepass")).hexdigest()
    return {
        "ruleId": rule,
        "ruleIndex": list(RULES).index(rule),
        "level": level,
        "message": {"text": _message(text)},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": quote(name, safe="/", errors="replace")}}}],
        "partialFingerprints": {"untrigger/v1": print_of},
    }


def _message(text: str) -> str:
    """Return plain text in which nothing is a link or a placeholder (SARIF 2.1.0, 3.11.5 and 3.11.6)."""
    shown = visible(text).replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return shown.replace("{", "{{").replace("}", "}}")
