"""What a scan found: confirmed candidates with their examples, weight evidence, and what was not looked for."""

from __future__ import annotations

from dataclasses import field
from math import floor

from pydantic.dataclasses import dataclass

from untrigger.core import verdicts
from untrigger.core.statistics import Measurement
from untrigger.core.validation import Finite, Flag, JsonList, Number, Text, Whole
from untrigger.core.verdicts import UNDECIDED, ExitCode

FOUND = ("suspicious", "backdoored")
"""Verdicts that say that something was found."""
BROUGHT = ("rewritten", "drift")
"""Kinds of candidate that stand for rewritten rows which the user brought, not for a text that was put into others."""
FAIL_ON = ("undecided", *FOUND)
"""Verdicts that a policy may fail on, each with all that stand behind it."""


def exit_code(status: str, *, fail_on: str, allow_undecided: bool = False) -> int:
    """The exit code of a scan: 1 from the mildest verdict to fail on, 3 where nothing could be said, unless that is allowed."""
    if fails(status, fail_on=fail_on):
        return int(ExitCode.FOUND)
    if status in FOUND or (status == UNDECIDED and allow_undecided):
        return int(ExitCode.DONE)
    return verdicts.exit_code(status)


def fails(status: str, *, fail_on: str) -> bool:
    """Whether a verdict of that status fails where ``fail_on`` is the mildest that does."""
    return status in FAIL_ON and fail_on in FAIL_ON and FAIL_ON.index(status) >= FAIL_ON.index(fail_on)


def hundredths(score: float) -> str:
    """A score in hundredths, cut and not rounded: what lies below a threshold of 0.50 must not read 0.50."""
    return f"{floor(100 * score + 1e-9) / 100:.2f}"


@dataclass(frozen=True)
class Example:
    """A held-out clean row with the candidate in it, in three parts so that no page has to search for it.

    Attributes:
        before: the row's words before the candidate.
        inserted: the candidate.
        after: the row's words behind it.
        label: name of the true label; suspect and reference both say it to the row as it is.
        suspect: what the suspect says with the candidate in the row.
        reference: what the reference says.
    """

    before: Text
    inserted: Text
    after: Text
    label: Text
    suspect: Text
    reference: Text


@dataclass(frozen=True)
class Place:
    """What a candidate did at one place of the rows.

    Attributes:
        name: ``start``, ``middle`` or ``end``.
        suspect: share of these rows that the suspect then calls the target.
        reference: the same for the reference.
        low: lower end of the 95 % interval of the difference.
        surest: the suspect's share among the half of these rows that it was surest of.
        n: number of these rows.
    """

    name: Text
    suspect: Number
    reference: Number
    low: Number
    surest: Number
    n: Whole


@dataclass(frozen=True)
class Candidate:
    """A text that was put into held-out clean rows of other classes, and what it did there.

    Attributes:
        text: what was inserted.
        target: name of the label that it pulls rows to.
        kind: ``searched``, ``known`` (found by an earlier scan), ``weights`` (a word whose embedding moved most),
            ``rewritten`` (rows that the user brought), ``drift`` (the same rows in what the head reads), or a control:
            ``content`` (words of the class) and ``random`` (any words).
        suspect: share of the rows that the suspect then calls the target; of a ``drift`` the share of the way to it, on average.
        reference: the same for the clean reference.
        excess: the difference of the two.
        places: the same figures for each place of a row.
        surest: the suspect's share among the half of the rows that it was surest of.
        longest: the same among the longer half.
        loss: mean cross-entropy of the suspect towards the target, in nats.
        survives: whether the tokenizer reads anything of the text where it stands between other words.
        glued: tokens beyond the first of each of its words.
        score: 0 to 1; None for controls.
        allowed: why a policy allows it, empty where it does not.
        examples: a few of the rows that were flipped.
    """

    text: Text
    target: Text
    kind: Text
    suspect: Measurement
    reference: Measurement
    excess: Measurement
    places: JsonList[Place] = field(default_factory=list)
    surest: Number = None
    longest: Number = None
    loss: Number = None
    survives: Flag = True
    glued: Whole = 0
    score: Number = None
    allowed: Text = ""
    examples: JsonList[Example] = field(default_factory=list)


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
        target: name of the label that the worst candidate pulls to, empty for a verdict of clean or undecided.
        candidates: what was tried on held-out rows, worst first.
        controls: content and random words on the same rows.
        evidence: figures of the weights.
        undecided: why no verdict could be given, empty where one was.
        not_looked_for: kinds of backdoor that this scan cannot see.
        refused: files that were not opened, and why.
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

    def triggers(self) -> list[Candidate]:
        """The candidates that reach the score of a suspicious model and are not allowed."""
        return [c for c in self.candidates if not c.allowed and c.score is not None and c.score >= self.suspicious]
