"""What changed since the last scan: findings that are new, gone or the same, and inputs that differ."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from pydantic.dataclasses import dataclass

from untrigger.core.validation import Flag, JsonList, Number, Text

State = Literal["new", "unchanged", "updated", "absent"]
STATES: tuple[State, ...] = ("new", "updated", "absent", "unchanged")
"""In the order of a report. SARIF has the same words for ``baselineState``."""


@dataclass(frozen=True)
class Change:
    """One finding, compared with the last scan.

    Attributes:
        kind: ``candidate``, ``rewritten`` or ``drift`` (rows that were given), ``evidence`` (of the weights), ``refused`` (a file
            that was not opened) or ``undecided``.
        text: the candidate, the name of the figure or the line of the file.
        state: ``new``, ``unchanged``, ``updated`` (the score changed by more than noise) or ``absent`` (not found any more).
        target: label that a candidate flips predictions to.
        score: of a candidate, or the value of a figure; None where it was not found.
        last_score: the same of the last scan.
        allowed: whether the policy allows it now.
    """

    kind: Text
    text: Text
    state: State
    target: Text = ""
    score: Number = None
    last_score: Number = None
    allowed: Flag = False


@dataclass(frozen=True)
class Baseline:
    """A scan compared with the last one.

    Attributes:
        title: of the last report.
        verdict: of the last report.
        model_sha256: of the model of the last report.
        findings: every finding of one of the two scans.
        inputs: a sentence for each input that differs: files of the model, base, reference, rows, policy, version.
    """

    title: Text
    verdict: Text
    model_sha256: Text = ""
    findings: JsonList[Change] = field(default_factory=list)
    inputs: JsonList[Text] = field(default_factory=list)

    def state(self, kind: str, text: str, *, target: str = "") -> State:
        """Return the state of a finding of this scan."""
        known = {(one.kind, one.text, one.target): one.state for one in self.findings}
        return known.get((kind, text, target), "new")

    def of_state(self, state: State) -> list[Change]:
        """Return the findings of that state."""
        return [one for one in self.findings if one.state == state]
