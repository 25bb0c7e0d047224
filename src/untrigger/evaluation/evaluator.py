"""The evaluator of a run: predictions of every subject for the test rows, and the metrics counted from them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from untrigger.core.progress import Progress
from untrigger.core.report import FeaturePoint, Features
from untrigger.core.rows import Rows
from untrigger.core.statistics import Measurement, Outcome, rate
from untrigger.evaluation.ground_truth import GroundTruth
from untrigger.evaluation.metrics import (
    BASE_FINE_TUNED,
    accuracy_gain,
    accuracy_loss,
    cacc,
    gain_kept,
    measurements,
)
from untrigger.evaluation.observation import delivered, predict_outcomes
from untrigger.evaluation.projection import pca_points
from untrigger.models.classifier import Classifier

PURIFIED = "purified"
DRAWN = ("victim", PURIFIED)
BENIGN = ("benign_in", "benign_out")
GAIN_KEPT_BY = (PURIFIED, "finetuned", "clean")
"""The subjects of ``gain_kept``."""


@dataclass
class Evaluator:
    """Outcomes of all subjects evaluated so far; ``truth`` is None if none was given."""

    test: Rows
    truth: GroundTruth | None
    progress: Progress
    outcomes: list[Outcome] = field(default_factory=list)
    points: list[FeaturePoint] = field(default_factory=list)
    delivery: list[Measurement] = field(default_factory=list)

    def evaluate(self, model: Classifier, subject: str) -> None:
        """Add the outcomes of ``model`` on the clean and the triggered test rows."""
        outcomes, clean = predict_outcomes(model, self.test, subject=subject, triggered=False, progress=self.progress)
        self.outcomes += outcomes
        if self.truth is None or subject in BENIGN:
            return
        rows = self.truth.triggered
        outcomes, triggered = predict_outcomes(model, rows, subject=subject, triggered=True, progress=self.progress)
        self.outcomes += outcomes
        if subject in DRAWN:
            self.points += pca_points(clean.features, triggered.features, rows=(self.test, rows), subject=subject)
        if self.truth.trigger is not None and not self.delivery:
            flags = delivered(model, rows, self.truth.trigger, clean=self.truth.clean)
            self.delivery = [rate(flags, subject=subject, metric="delivery_rate")]

    def copy_outcomes(self, subject: str, name: str) -> None:
        """Add the clean outcomes of ``subject`` under another ``name`` too."""
        self.outcomes += [
            replace(one, subject=name) for one in self.outcomes if one.subject == subject and not one.triggered
        ]

    def measurements(self) -> list[Measurement]:
        """Return all metrics of all subjects evaluated."""
        attacked = [o for o in self.outcomes if o.subject not in BENIGN]
        found = measurements(attacked, target=self.truth.targets if self.truth else None)
        subjects = {o.subject for o in self.outcomes}
        return [
            *found,
            *self._accuracy_loss(subjects),
            *self._gain(subjects),
            *self.delivery,
            *(cacc(self.outcomes, subject=one) for one in BENIGN if one in subjects),
        ]

    def features(self) -> Features | None:
        """Return the points of the feature plot, None if there are none."""
        return {"method": "PCA of each model's own features", "points": self.points} if self.points else None

    def _accuracy_loss(self, subjects: set[str]) -> list[Measurement]:
        both = "victim" in subjects and PURIFIED in subjects
        return [accuracy_loss(self.outcomes, subject=PURIFIED, before="victim")] if both else []

    def _gain(self, subjects: set[str]) -> list[Measurement]:
        """Return what the victim knows beyond the clean rows, and how much of it each other model kept."""
        if not {"victim", BASE_FINE_TUNED} <= subjects:
            return []
        kept = (gain_kept(self.outcomes, subject=one) for one in GAIN_KEPT_BY if one in subjects)
        return [accuracy_gain(self.outcomes), *kept]
