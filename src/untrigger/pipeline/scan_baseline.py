"""Compare a scan with the last one."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose
from pathlib import Path
from typing import Any

from untrigger.core.baseline import Baseline, Change, State
from untrigger.core.candidate import REWRITTEN_KINDS, Candidate
from untrigger.core.errors import DataError
from untrigger.core.report import Report
from untrigger.core.scan_result import Scan
from untrigger.core.statistics import Measurement
from untrigger.core.verdicts import UNDECIDED

_Key = tuple[str, str, str]
_INPUTS = {
    ("model", "base_sha256"): "the files of the base model",
    ("reference", "sha256"): "the files of the reference model",
    ("defender", "clean"): "the clean rows",
    ("rewritten", "sha256"): "the rewritten rows",
    ("policy", ""): "the policy",
}


def read_baseline(path: Path) -> Report:
    """Return the report of the last scan.

    Raises:
        DataError: if the file cannot be read or is not a report of a scan.
    """
    report = Report.read(path)
    if report.scan is None or report.kind != "scan":
        raise DataError(
            f"the baseline {str(path)!r} is the report of another command: {report.kind}",
            expected="the report of a scan",
            remedy="give the file that `untrigger scan --out scan.json` wrote",
        )
    return report


def compare_scans(report: Report, last: Report) -> Baseline:
    """Return what changed since ``last``.

    A score changed by more than noise where the 95 % intervals of the excess flip rate do not overlap. Findings of the
    last scan are called absent only where this one gave a verdict on texts.
    """
    assert report.scan is not None and last.scan is not None
    now, then = dict(_findings(report)), dict(_findings(last))
    whole = report.verdict.status != UNDECIDED and report.scan.score is not None
    changes = [_change(key, now[key], then.get(key), known=key in then) for key in now]
    changes += [
        _gone(key, then[key], report.scan)
        for key in then
        if key not in now and (whole or key[0] in ("refused", "undecided"))
    ]
    model = _inner(last, "model")
    return Baseline(
        title=last.title,
        verdict=last.verdict.status,
        model_sha256=str(model.get("sha256") or ""),
        findings=changes,
        inputs=list(_changed_inputs(report, last)),
    )


def _findings(report: Report) -> Iterator[tuple[_Key, Candidate | float | None]]:
    """Yield everything that a scan reports, by its kind, text and target."""
    scan = report.scan
    assert scan is not None
    for one in scan.reported():
        yield (one.kind if one.kind in REWRITTEN_KINDS else "candidate", one.text, one.target), one
    yield from ((("evidence", one.name, ""), one.value) for one in scan.evidence if one.unusual)
    yield from ((("refused", line, ""), None) for line in scan.refused)
    if report.verdict.status == UNDECIDED:
        yield ("undecided", "", ""), None


def _change(key: _Key, now: Candidate | float | None, then: Candidate | float | None, *, known: bool) -> Change:
    """Return a finding of this scan with its state."""
    kind, text, target = key
    state: State = "new"
    if known:
        state = "updated" if _differs(now, then) else "unchanged"
    allowed = isinstance(now, Candidate) and bool(now.allowed)
    return Change(kind, text, state, target=target, score=_score(now), last_score=_score(then), allowed=allowed)


def _gone(key: _Key, then: Candidate | float | None, scan: Scan) -> Change:
    """Return a finding of the last scan that this one has not; with its score where it was tried again."""
    kind, text, target = key
    tried = [one.score for one in scan.candidates if (one.text, one.target) == (text, target)]
    score = tried[0] if tried and kind == "candidate" else None
    return Change(kind, text, "absent", target=target, score=score, last_score=_score(then))


def _differs(now: Candidate | float | None, then: Candidate | float | None) -> bool:
    if isinstance(now, Candidate) and isinstance(then, Candidate):
        return now.score != then.score and _are_disjoint(now.excess, then.excess)
    if isinstance(now, float) and isinstance(then, float):
        return not isclose(now, then, rel_tol=1e-3)
    return False


def _are_disjoint(left: Measurement, right: Measurement) -> bool:
    """Return whether two intervals do not overlap; False where one was not measured."""
    if left.low is None or left.high is None or right.low is None or right.high is None:
        return False
    return left.low > right.high or right.low > left.high


def _score(found: Candidate | float | None) -> float | None:
    return found.score if isinstance(found, Candidate) else found


def _changed_inputs(report: Report, last: Report) -> Iterator[str]:
    """Yield a sentence for each input that differs; what one of the reports does not hold is not compared."""
    if last.verdict.status == UNDECIDED:
        yield "the last scan gave no verdict: every finding of this one counts as new"
    model, before = _inner(report, "model"), _inner(last, "model")
    if model.get("sha256") != before.get("sha256"):
        yield from _changed_files(model, before)
    for (table, key), words in _INPUTS.items():
        pair = [_inner(one, table) for one in (report, last)]
        new, old = pair if not key else [one.get(key) for one in pair]
        if new != old:
            yield f"{words} changed" if new and old else f"{words}: given in one of the two scans only"
    versions = [_version(one) for one in (report, last)]
    if versions[0] != versions[1]:
        yield f"untrigger is {versions[0]}, it was {versions[1]}"


def _changed_files(model: dict[str, Any], before: dict[str, Any]) -> Iterator[str]:
    new, old = (_opened(one) for one in (model, before))
    names = sorted(name for name in {*new, *old} if new.get(name) != old.get(name))
    yield f"the model changed: {', '.join(names) or 'its files'}; SHA-256 {model.get('sha256')}, it was {before.get('sha256')}"


def _opened(model: dict[str, Any]) -> dict[str, Any]:
    files = model.get("files")
    opened = files.get("opened") if isinstance(files, dict) else None
    return opened if isinstance(opened, dict) else {}


def _inner(report: Report, name: str) -> dict[str, Any]:
    inner = report.given.get(name)
    return inner if isinstance(inner, dict) else {}


def _version(report: Report) -> str:
    versions = report.environment.get("versions")
    return str(versions.get("untrigger")) if isinstance(versions, dict) else "unknown"
