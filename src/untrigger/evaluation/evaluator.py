"""The evaluator of a run: asks every subject about the test rows and gathers outcomes, features and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from untrigger.core.progress import Progress
from untrigger.core.report import FeaturePoint, Features
from untrigger.core.rows import Rows
from untrigger.core.statistics import Measurement, Outcome, rate
from untrigger.evaluation.ground_truth import TestBed
from untrigger.evaluation.metrics import accuracy_loss, cacc, measurements
from untrigger.evaluation.observation import delivered, observe
from untrigger.evaluation.projection import points
from untrigger.models.classifier import Classifier

PURIFIED = "purified"
DRAWN = ("victim", PURIFIED)
BENIGN = ("benign_in", "benign_out")


@dataclass
class Judge:
    """Outcomes of all subjects asked so far; ``bed`` is None where no truth was given."""

    test: Rows
    bed: TestBed | None
    progress: Progress
    outcomes: list[Outcome] = field(default_factory=list)
    drawn: list[FeaturePoint] = field(default_factory=list)
    delivery: list[Measurement] = field(default_factory=list)

    def ask(self, model: Classifier, subject: str) -> None:
        """Note what ``model`` says to the clean and the triggered test rows."""
        told, clean = observe(model, self.test, subject=subject, triggered=False, progress=self.progress)
        self.outcomes += told
        if self.bed is None or subject in BENIGN:
            return
        told, triggered = observe(model, self.bed.triggered, subject=subject, triggered=True, progress=self.progress)
        self.outcomes += told
        if subject in DRAWN:
            rows = (self.test, self.bed.triggered)
            self.drawn += points(clean.features, triggered.features, rows=rows, subject=subject)
        if self.bed.trigger is not None and not self.delivery:
            flags = delivered(model, self.bed.triggered, self.bed.trigger, clean=self.bed.clean)
            self.delivery = [rate(flags, subject=subject, metric="delivery_rate")]

    def again(self, subject: str, name: str) -> None:
        """Note what ``subject`` said to the clean rows under another ``name`` too."""
        self.outcomes += [
            replace(one, subject=name) for one in self.outcomes if one.subject == subject and not one.triggered
        ]

    def measurements(self) -> list[Measurement]:
        """All numbers of all subjects asked."""
        attacked = [o for o in self.outcomes if o.subject not in BENIGN]
        found = measurements(attacked, target=self.bed.aims if self.bed else None)
        subjects = {o.subject for o in self.outcomes}
        lost = (
            [accuracy_loss(self.outcomes, subject=PURIFIED, before="victim")]
            if {"victim", PURIFIED} <= subjects
            else []
        )
        return [*found, *lost, *self.delivery, *(cacc(self.outcomes, subject=s) for s in BENIGN if s in subjects)]

    def features(self) -> Features | None:
        """What is drawn of the feature space."""
        return {"method": "PCA of each model's own features", "points": self.drawn} if self.drawn else None


def value(found: Sequence[Measurement], subject: str, metric: str) -> float | None:
    """The value of one measurement, None where it was not measured."""
    one = found_in(found, subject, metric)
    return one.value if one is not None else None


def found_in(found: Sequence[Measurement], subject: str, metric: str) -> Measurement | None:
    """One measurement, None where there is none."""
    return next((m for m in found if (m.subject, m.metric) == (subject, metric)), None)
