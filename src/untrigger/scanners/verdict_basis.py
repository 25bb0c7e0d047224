"""What a verdict is based on: accuracy of both models, the rows that were measured, and how many comparisons were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from untrigger.core.candidate import REWRITTEN_KINDS, Candidate
from untrigger.core.rows import Rows
from untrigger.core.statistics import Measurement
from untrigger.inversion import simultaneous
from untrigger.inversion.held_out import HeldOutSet
from untrigger.inversion.screening import is_causal
from untrigger.models.classifier import Classifier
from untrigger.scanners.unread_text import unread


@dataclass(frozen=True)
class EvidenceOptions:
    """What a verdict needs (``docs/results/scan.md#where-the-constants-come-from``).

    Attributes:
        least_rows: held-out rows of other classes, for each target, below which "clean" is not given; set by hand.
        least_lead: how much more accurate than the majority class suspect and reference must be for "clean"; set by hand.
        weak_cost: how much higher a score must be where one of them is not, as a weak reference knows fewer words of the task;
            chosen after one benign MiniLM-L3 on offensive tweets, 0.56 by ``apes``, which its reference did not know.
        least_target_lead: how much higher than their false positive rate the recall of both must be for a candidate's target then
            (lower end); random models and those that always predict one class reach none.
        family_error: the chance that any of the lower ends of one scan is above the truth; set by hand.
        most_cut: share of the held-out texts longer than the model reads, above which "clean" is not given; set by hand.
    """

    least_rows: int = 24
    least_lead: float = 0.15
    weak_cost: float = 0.1
    least_target_lead: float = 0.1
    family_error: float = simultaneous.FAMILY_ERROR
    most_cut: float = 0.5


@dataclass(frozen=True)
class VerdictBasis:
    """What a verdict is based on.

    Attributes:
        suspect: accuracy of the suspect on the held-out rows.
        reference: the same of the reference.
        majority: share of the majority class among them.
        rows: for each label name, held-out rows of other classes that both models classify correctly.
        causal: whether the suspect is a decoder.
        leads: for each label name, recall less false positive rate of suspect and reference, each at the lower end of its interval;
            none of a target that was not measured.
        comparisons: how many rates of candidates were looked at.
        unread: why the suspect cannot be called clean by its predictions on those rows, a reason each.
        options: what a verdict needs.
    """

    suspect: Measurement
    reference: Measurement
    majority: float
    rows: dict[str, int]
    causal: bool = False
    leads: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    comparisons: int = 1
    unread: Sequence[str] = ()
    options: EvidenceOptions = field(default_factory=EvidenceOptions)

    def weak(self) -> list[str]:
        """Return which of the two models is hardly more accurate than the majority class, and what to do."""
        reasons = []
        for who, found in (("reference", self.reference), ("model itself", self.suspect)):
            if found.value is None or found.value < self.majority + self.options.least_lead:
                remedy = (
                    "give more clean rows or a better encoder" if who == "reference" else "is it a model of this task?"
                )
                accuracy = "not measured" if found.value is None else f"{found.value:.0%} (n {found.n})"
                reasons.append(
                    f"held-out accuracy of the {who} {accuracy}, majority class {self.majority:.0%}: {remedy}"
                )
        return reasons

    def simultaneous_low(self, candidate: Candidate) -> float | None:
        """Return the lower end of the candidate's excess that holds for all comparisons at once."""
        return simultaneous.simultaneous_low(
            candidate, comparisons=self.comparisons, family_error=self.options.family_error
        )

    def significant(self, candidate: Candidate, *, suspicious: float) -> bool:
        """Return whether the candidate's excess over the reference is more than chance, all comparisons of the scan counted.

        Where one of the models is weak, the score must be higher by ``weak_cost``, because a weak reference knows fewer words of
        the task. What counts then is whether both know the candidate's target at all and how many rows both classify
        correctly: a reference that always predicts one class is flipped by nothing, and proves nothing.
        """
        low = self.simultaneous_low(candidate)
        if low is None or low <= 0:
            return False
        if not self.weak():
            return True
        if candidate.kind in REWRITTEN_KINDS or self.rows.get(candidate.target, 0) < self.options.least_rows:
            return False
        if (candidate.score or 0.0) < suspicious + self.options.weak_cost:
            return False
        return all(
            (lead or 0.0) >= self.options.least_target_lead for lead in self.leads.get(candidate.target, (None,))
        )


def basis_of(
    model: Classifier,
    held_out: Rows,
    sets: Mapping[str, HeldOutSet],
    *,
    comparisons: int = 0,
    options: EvidenceOptions | None = None,
) -> VerdictBasis:
    """Return what a verdict on the model is based on, from the held-out rows of every target."""
    options = options or EvidenceOptions()
    suspect, reference = next(iter(sets.values())).accuracies
    return VerdictBasis(
        suspect,
        reference,
        max(held_out.class_counts().values()) / len(held_out),
        {name: len(one.rows) for name, one in sets.items()},
        causal=is_causal(model),
        leads={name: (one.leads[0].low, one.leads[1].low) for name, one in sets.items()},
        comparisons=comparisons,
        unread=unread(model, held_out, most_cut=options.most_cut),
        options=options,
    )
