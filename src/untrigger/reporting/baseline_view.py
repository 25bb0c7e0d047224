"""What changed since the last scan, in sentences for every page format."""

from __future__ import annotations

from untrigger.core.baseline import STATES, Change
from untrigger.core.escaping import visible
from untrigger.core.report import Report
from untrigger.core.scan_result import hundredths
from untrigger.reporting.view import is_generation

_STATES = {"new": "new", "updated": "changed by more than noise", "absent": "gone", "unchanged": "as before"}


def sentences(report: Report) -> list[str]:
    """Return a sentence for each finding and each changed input, the new ones first; none without a baseline."""
    if report.scan is None or report.scan.baseline is None:
        return []
    found = report.scan.baseline
    lines = [
        f"{_STATES[state]}: {finding(report, one)}{_scores(one)}{', allowed' if one.allowed else ''}"
        for state in STATES
        for one in found.of_state(state)
    ]
    return [*(lines or ["no findings in either scan"]), *map(visible, found.inputs)]


def finding(report: Report, one: Change) -> str:
    """Return what was found, in words."""
    text, target = visible(one.text), visible(one.target)
    if one.kind == "candidate":
        return f"'{text}' {'changes answers' if is_generation(report) else 'flips predictions'} to '{target}'"
    if one.kind in ("rewritten", "drift"):
        return f"the rewritten rows '{text}' ({one.kind}) towards '{target}'"
    if one.kind == "evidence":
        return f"weight figure {text}"
    return f"not opened: {text}" if one.kind == "refused" else "no verdict"


def _scores(one: Change) -> str:
    """Return the scores of both scans, where a candidate has them."""
    if one.kind not in ("candidate", "rewritten", "drift"):
        return ""
    now, then = (None if score is None else hundredths(score) for score in (one.score, one.last_score))
    if now and then:
        return f" (score {now}, last scan {then})"
    return f" (score {now})" if now else f" (last scan {then})" if then else ""
