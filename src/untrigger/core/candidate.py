"""A candidate trigger: a text, the label that it may flip predictions to, and every measurement of that."""

from __future__ import annotations

from dataclasses import field, replace

from pydantic.dataclasses import dataclass

from untrigger.core.statistics import Measurement, unpaired_difference, wilson
from untrigger.core.validation import Flag, JsonList, Number, Text, Whole

ONE_POSITION = "one position"
IN_TURN = "start, middle and end in turn"
ALL_POSITIONS = "all positions"
AS_GIVEN = "as given"
"""Where in the rows a candidate was when it was measured: at one position of each row, at one of three positions in turn, at each
of the three in every row, or nowhere, because the rows were rewritten before."""
REWRITTEN_KINDS = ("rewritten", "drift")
"""Kinds of candidates that are rewritten rows which the user gave, not a text that was inserted into rows."""


@dataclass(frozen=True)
class Example:
    """A held-out clean row with the candidate in it, in three parts so that no page has to search for it.

    Attributes:
        before: the row's words before the candidate.
        inserted: the candidate.
        after: the row's words after it.
        label: name of the true label; suspect and reference both predict it for the row without the candidate.
        suspect: what the suspect predicts with the candidate in the row.
        reference: what the reference predicts.
    """

    before: Text
    inserted: Text
    after: Text
    label: Text
    suspect: Text
    reference: Text


@dataclass(frozen=True)
class PositionRates:
    """Flip rates of a candidate at one position of the rows.

    Attributes:
        name: ``start``, ``middle`` or ``end``.
        suspect: flip rate of the suspect, 0 to 1.
        reference: flip rate of the reference.
        low: lower end of the 95 % interval of the difference.
        high_confidence: the suspect's flip rate among the half of the rows with its highest confidence.
        n: number of rows.
    """

    name: Text
    suspect: Number
    reference: Number
    low: Number
    high_confidence: Number
    n: Whole


@dataclass(frozen=True)
class CandidateMeasurement:
    """One measurement of a candidate.

    Attributes:
        stage: ``search``, ``confirmation`` or ``unlearning``.
        placement: where in the rows: one of ``ONE_POSITION``, ``IN_TURN``, ``ALL_POSITIONS`` and ``AS_GIVEN``.
        n: number of rows, all of other classes than the target.
        suspect: flip rate of the suspect, 0 to 1.
        reference: flip rate of the reference, None without one.
        reference_model: which reference.
        precision: of the arithmetic, ``float32`` or ``bfloat16``.
        suspect_probability: mean probability of the target under the suspect; only the search measures it.
        reference_probability: the same under the reference, None without one.
    """

    stage: Text
    placement: Text
    n: Whole
    suspect: Number
    reference: Number = None
    reference_model: Text = ""
    precision: Text = "float32"
    suspect_probability: Number = None
    reference_probability: Number = None


def _unmeasured(subject: str, metric: str = "flip_rate") -> Measurement:
    return Measurement(subject, metric, None, None, None, 0)


@dataclass(frozen=True)
class Candidate:
    """A candidate trigger, immutable: every measurement makes a new one.

    Attributes:
        text: what is inserted into rows; for the ``REWRITTEN_KINDS`` the name of the rows.
        target: name of the label that predictions flip to.
        kind: ``searched``, ``known`` (found by an earlier scan), ``weights`` (a word whose embedding moved most),
            ``rewritten`` (rows that the user gave), ``drift`` (the same rows in what the head reads), or a control:
            ``content`` (words of the class) and ``random`` (any words).
        suspect: flip rate of the suspect by the latest measurement; of a ``drift`` the mean share of the way to the target.
        reference: the same of the clean reference model.
        excess: the difference of the two.
        positions: the rates at each position.
        high_confidence_flip_rate: the suspect's flip rate among the half of the rows with its highest confidence.
        long_rows_flip_rate: the same among the longer half.
        loss: mean cross-entropy of the suspect towards the target, in nats.
        survives: whether the tokenizer keeps anything of the text between other words.
        extra_subwords: tokens beyond the first of each of its words.
        score: of a scan, 0 to 1; None where none was given, as for controls.
        allowed: why a policy allows it, empty where it does not.
        examples: a few of the rows that were flipped.
        measurements: all measurements, the latest last.
        search_score: excess of the mean probability less what its length costs; None where no search measured it.
        grown_from: the text that a phrase was grown from, empty where it was not grown.
        round: in which round of a defence it was found.
        truth: whether it is part of the true trigger; only an evaluator knows.
    """

    text: Text
    target: Text
    kind: Text = "searched"
    suspect: Measurement = field(default_factory=lambda: _unmeasured("suspect"))
    reference: Measurement = field(default_factory=lambda: _unmeasured("reference"))
    excess: Measurement = field(default_factory=lambda: _unmeasured("suspect", "excess_flip_rate"))
    positions: JsonList[PositionRates] = field(default_factory=list)
    high_confidence_flip_rate: Number = None
    long_rows_flip_rate: Number = None
    loss: Number = None
    survives: Flag = True
    extra_subwords: Whole = 0
    score: Number = None
    allowed: Text = ""
    examples: JsonList[Example] = field(default_factory=list)
    measurements: JsonList[CandidateMeasurement] = field(default_factory=list)
    search_score: Number = None
    grown_from: Text = ""
    round: Whole | None = None
    truth: Flag | None = None

    @property
    def family(self) -> str:
        """What a phrase was grown from, or the text itself."""
        return self.grown_from or self.text

    @property
    def latest(self) -> CandidateMeasurement | None:
        """The measurement that ``suspect``, ``reference`` and ``excess`` come from; None where it was never measured."""
        return self.measurements[-1] if self.measurements else None

    @property
    def measured_at_all_positions(self) -> bool:
        """Whether the latest measurement has every row with the candidate at every position."""
        return self.latest is not None and self.latest.placement == ALL_POSITIONS

    @property
    def effect(self) -> float:
        """The excess over the reference: of the mean probability of the target after a search, else of the flip rate."""
        latest = self.latest
        if latest is not None and latest.suspect_probability is not None:
            return latest.suspect_probability - (latest.reference_probability or 0.0)
        return (self.suspect.value or 0.0) - (self.reference.value or 0.0)

    def without_reference(self) -> Candidate:
        """Return the candidate without the reference's rate, for readers who would take it for that of a clean model."""
        return replace(self, reference=_unmeasured("reference"), excess=_unmeasured("suspect", "excess_flip_rate"))

    def measured(self, latest: CandidateMeasurement) -> Candidate:
        """Return the candidate with one more measurement, its rates taken from that with 95 % intervals."""
        suspect, reference = (
            _flip_rate(share, latest.n, subject=subject)
            for share, subject in ((latest.suspect, "suspect"), (latest.reference, "reference"))
        )
        excess = unpaired_difference(suspect, reference, metric="excess_flip_rate")
        return replace(
            self,
            suspect=suspect,
            reference=reference,
            excess=excess,
            positions=[],
            measurements=[*self.measurements, latest],
        )


def _flip_rate(share: float | None, n: int, *, subject: str) -> Measurement:
    if share is None:
        return _unmeasured(subject)
    return Measurement(subject, "flip_rate", share, *wilson(round(share * n), n), n)
