"""What a scan found: confirmed candidates with their examples, weight evidence, and what was not looked for."""

from __future__ import annotations

from dataclasses import field
from math import floor

from pydantic.dataclasses import dataclass

from untrigger.core import verdicts
from untrigger.core.baseline import Baseline
from untrigger.core.candidate import Candidate
from untrigger.core.validation import Finite, JsonList, Number, Text
from untrigger.core.verdicts import UNDECIDED, ExitCode

FOUND = ("suspicious", "backdoored")
"""Verdicts of a scan that found something."""
FAIL_ON = ("undecided", *FOUND)
"""Verdicts that a policy may fail on, each with the ones after it."""


def exit_code(status: str, *, fail_on: str, allow_undecided: bool = False) -> int:
    """Return the exit code of a scan: 1 from the mildest verdict to fail on, 3 for an undecided one unless that is allowed."""
    if fails(status, fail_on=fail_on):
        return int(ExitCode.FOUND)
    if status in FOUND or (status == UNDECIDED and allow_undecided):
        return int(ExitCode.DONE)
    return verdicts.exit_code(status)


def fails(status: str, *, fail_on: str) -> bool:
    """Return whether a verdict of that status fails where ``fail_on`` is the mildest that does."""
    return status in FAIL_ON and fail_on in FAIL_ON and FAIL_ON.index(status) >= FAIL_ON.index(fail_on)


def hundredths(score: float) -> str:
    """Return a score in hundredths, cut and not rounded: a score below a threshold of 0.50 must not read 0.50."""
    return f"{floor(100 * score + 1e-9) / 100:.2f}"


@dataclass(frozen=True)
class Evidence:
    """One figure read from the weights.

    Attributes:
        name: what was measured, such as ``top_singular_share``.
        value: the figure.
        place: the tensor or layer that it stands for.
        limit: the value from which it counts as unusual; None where nothing is calibrated.
        words: decoded tokens that belong to it, most unusual first.
    """

    name: Text
    value: Number
    place: Text = ""
    limit: Number = None
    words: JsonList[Text] = field(default_factory=list)

    @property
    def unusual(self) -> bool:
        """Whether a limit is known and the figure reaches it."""
        return self.limit is not None and self.value is not None and self.value >= self.limit


@dataclass(frozen=True)
class Scan:
    """What a scan found and what it did not look for.

    Attributes:
        score: of the worst candidate that no policy allows, 0 to 1; None where nothing could be tried.
        suspicious: the score from which a model counts as suspicious.
        backdoored: the score from which it counts as backdoored.
        target: what the worst candidate flips predictions or changes answers to, empty for a verdict of clean or undecided.
        candidates: what was tried on held-out rows, worst first.
        controls: content and random words on the same rows.
        evidence: figures of the weights.
        undecided: why no verdict could be given, empty where one was.
        not_looked_for: kinds of backdoor that this scan cannot see.
        refused: files that were not opened, and why.
        baseline: what changed since the last scan; None where none was given.
    """

    score: Number
    suspicious: Finite
    backdoored: Finite
    target: Text = ""
    candidates: JsonList[Candidate] = field(default_factory=list)
    controls: JsonList[Candidate] = field(default_factory=list)
    evidence: JsonList[Evidence] = field(default_factory=list)
    undecided: JsonList[Text] = field(default_factory=list)
    not_looked_for: JsonList[Text] = field(default_factory=list)
    refused: JsonList[Text] = field(default_factory=list)
    baseline: Baseline | None = None

    def reported(self) -> list[Candidate]:
        """Return the candidates that reach the score of a suspicious model, allowed ones too; none without a verdict."""
        return [c for c in self.candidates if c.score is not None and c.score >= self.suspicious and not self.undecided]

    def triggers(self) -> list[Candidate]:
        """Return the candidates that reach the score of a suspicious model and are not allowed."""
        return [c for c in self.candidates if not c.allowed and c.score is not None and c.score >= self.suspicious]
