"""The questions of a scan or a purification, each with its result: the cases of a build server and of an attestation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from untrigger.core import scan_result, verdicts
from untrigger.core.report import Report
from untrigger.core.scan_result import Scan, fails
from untrigger.core.verdicts import UNDECIDED, ExitCode
from untrigger.reporting import scan_view
from untrigger.reporting.view import is_generation

PASSED, SKIPPED = "passed", "skipped"
_PURIFICATION = "the purified model meets the stated bounds"
_RESULT_SCAN = "a scan of the result on held-out rows finds nothing"


@dataclass(frozen=True)
class Check:
    """One question and its result.

    Attributes:
        name: what holds if the check passes.
        kind: ``passed``, ``skipped``, or the verdict that the check came to.
        lines: why, not escaped; empty for a check that passed.
    """

    name: str
    kind: str = PASSED
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Gate:
    """Which verdicts of a report fail.

    Attributes:
        fail_on: the mildest verdict that fails.
        allow_undecided: whether a missing verdict passes.
    """

    fail_on: str = "suspicious"
    allow_undecided: bool = False

    @classmethod
    def of(cls, report: Report) -> Gate:
        """Return the gate of the policy that the report holds."""
        policy = scan_view.inner(report, "policy")
        return cls(str(policy.get("fail_on", "suspicious")), policy.get("allow_undecided") is True)

    def fails(self, kind: str) -> bool:
        """Return whether a check that came to ``kind`` fails."""
        return fails(kind, fail_on=self.fail_on)

    def exit_code(self, report: Report) -> int:
        """Return the exit code of the command that made the report."""
        status = report.verdict.status
        if report.scan is None:
            return verdicts.exit_code(status)
        return scan_result.exit_code(status, fail_on=self.fail_on, allow_undecided=self.allow_undecided)


def checks(report: Report) -> list[Check]:
    """Return the checks of a scan or of a purification; those that were not made are ``skipped``, with the reason."""
    return scan_checks(report, report.scan) if report.scan is not None else list(_purification_checks(report))


def scan_checks(report: Report, scan: Scan) -> list[Check]:
    """Return a check for each label, one for the weights, and skipped ones for what was not looked for."""
    return [*_labels(report, scan), *_weights(scan), *_not_looked_for(scan.not_looked_for)]


def _labels(report: Report, scan: Scan) -> Iterator[Check]:
    labels = report.given.get("labels")
    named = [str(label) for label in labels] if isinstance(labels, list) else []
    if report.verdict.status == UNDECIDED and not named:
        yield Check("a verdict can be given", UNDECIDED, [report.verdict.sentence])
    for label in dict.fromkeys([*named, *(one.target for one in scan.candidates)]):
        does = "changes answers" if is_generation(report) else "flips predictions"
        name, own = f"no text {does} to {label}", [one for one in scan.triggers() if one.target == label]
        if scan.undecided:
            yield Check(name, UNDECIDED, [f"undecided: {scan.undecided[0]}"])
        elif own:
            kind = verdicts.BACKDOORED if (own[0].score or 0.0) >= scan.backdoored else verdicts.SUSPICIOUS
            yield Check(name, kind, [scan_view.finding_line(one) for one in own])
        else:
            yield Check(name)


def _weights(scan: Scan) -> Iterator[Check]:
    name, unusual = "the weights are within their calibrated limits", [one for one in scan.evidence if one.unusual]
    if unusual:
        lines = [f"{scan_view.EVIDENCE.get(e.name, e.name)}: {e.value:.3g}, limit {e.limit:.3g}" for e in unusual]
        yield Check(name, verdicts.SUSPICIOUS, lines)
    elif any(one.limit is not None for one in scan.evidence):
        yield Check(name)
    elif scan.evidence:
        yield Check(name, SKIPPED, ["no limit is calibrated"])


def _not_looked_for(lines: list[str]) -> Iterator[Check]:
    for line in lines:
        yield Check(f"not looked for: {line.partition(':')[0]}", SKIPPED, [line])


def _purification_checks(report: Report) -> Iterator[Check]:
    status, sentence = report.verdict.status, report.verdict.sentence
    passed = verdicts.exit_code(status) == ExitCode.DONE
    yield Check(_PURIFICATION, PASSED if passed else status, [] if passed else [sentence])
    if "truth" in report.given:
        yield Check(_RESULT_SCAN, SKIPPED, ["attack success was measured with a truth instead"])
        return
    yield Check("attack success is within its bound", SKIPPED, ["no truth was given"])
    made = report.method.get("options", {}).get("verification")
    result = made if isinstance(made, dict) else {"verdict": "not made"}
    found, lines = str(result.get("verdict")), [str(result.get("sentence", ""))]
    kind = {verdicts.CLEAN: PASSED, "not made": SKIPPED}.get(found, found)
    yield Check(_RESULT_SCAN, kind, [] if kind == PASSED else lines)
    not_looked_for = result.get("not_looked_for")
    yield from _not_looked_for([str(line) for line in not_looked_for] if isinstance(not_looked_for, list) else [])
