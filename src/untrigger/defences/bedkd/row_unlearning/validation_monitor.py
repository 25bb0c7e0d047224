"""What a defender measures of a student after every cycle: clean accuracy, and agreement with the flagged labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from untrigger.core.errors import OptionError
from untrigger.core.report import Curve
from untrigger.core.rows import Rows
from untrigger.defences.bedkd.row_unlearning.clean_confidence import standard_error
from untrigger.models.classifier import Classifier
from untrigger.models.inference import accuracy, predict_texts


@dataclass(frozen=True)
class UnlearningOptions:
    """How flagged rows are unlearned, and when a cycle counts as better.

    Attributes:
        held_back: share of the flagged rows that is not unlearned but measured. Not tuned.
        fewest_to_split: flagged rows below which all of them are both. Not tuned.
        slack: by how much the agreement with flagged labels may differ from a clean model's, beyond one standard error. Not tuned.
        accuracy_cost: how much clean accuracy lost beyond ``may_lose`` counts against agreement. Not tuned.
        memory: flagged rows that the running mean of the student's confidence spans. Not tuned.
        longest_piece: the longest piece of a flagged row in a trusted one, as a share of its words. Not tuned.
    """

    held_back: float = 0.2
    fewest_to_split: int = 20
    slack: float = 0.05
    accuracy_cost: float = 10.0
    memory: int = 32
    longest_piece: float = 0.5

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for shares out of range and a memory below 1.
        """
        shares = 0 <= self.held_back < 1 and 0 <= self.slack <= 1 and 0 <= self.longest_piece <= 1
        if not shares or self.memory < 1 or self.accuracy_cost < 0:
            raise OptionError(
                f"held_back {self.held_back}, slack {self.slack}, longest_piece {self.longest_piece}, memory {self.memory}, "
                f"accuracy_cost {self.accuracy_cost}",
                expected="shares from 0 to 1, held_back below 1, a memory of 1 or more, no negative cost",
            )


@dataclass
class ValidationMonitor:
    """Clean accuracy and agreement with the flagged labels, of the victim first, then of the student after every cycle.

    Attributes:
        dev: clean rows that the student is not trained on.
        flagged: flagged rows; if there are enough of them some that are not unlearned.
        clean_rate: the agreement that a clean model would show; less is as wrong as more.
        may_lose: clean accuracy that may be lost, 0 to 1.
        options: slack and the cost of accuracy.
        accuracies: on ``dev``.
        agreements: with the labels of ``flagged``.
    """

    dev: Rows
    flagged: Rows
    clean_rate: float
    may_lose: float
    options: UnlearningOptions = field(default_factory=UnlearningOptions)
    accuracies: list[float] = field(default_factory=list)
    agreements: list[float] = field(default_factory=list)

    def evaluate(self, model: Classifier) -> float:
        """Measure ``model`` and return its score: 0 for one like a clean model, less is worse."""
        for rows, values in ((self.dev, self.accuracies), (self.flagged, self.agreements)):
            values.append(accuracy(predict_texts(model, rows.texts).predictions, rows.labels))
        return self._score(-1)

    @property
    def before(self) -> float:
        """Return the victim's accuracy on ``dev``."""
        return self.accuracies[0]

    def _score(self, evaluation: int) -> float:
        """Return the score of one evaluation; differences within one standard error do not count."""
        lost = self.before - self.accuracies[evaluation] - self.may_lose - standard_error(self.before, len(self.dev))
        error = standard_error(self.clean_rate, len(self.flagged))
        off = abs(self.agreements[evaluation] - self.clean_rate) - self.options.slack - error
        return -max(0.0, off) - self.options.accuracy_cost * max(0.0, lost)

    @property
    def degraded(self) -> bool:
        """Return whether the last evaluation was no better than the victim's."""
        return self._score(-1) <= self._score(0)

    def matches_clean_rate(self) -> bool:
        """Return whether the last evaluation is like that of a clean model."""
        return self._score(-1) == 0

    def metadata(self) -> dict[str, Any]:
        """Return the first and the last measurements for the report."""
        return {
            "dev_accuracy_before": self.before,
            "dev_accuracy_after": self.accuracies[-1],
            "agreement_before": self.agreements[0],
            "agreement_after": self.agreements[-1],
            "clean_agreement": self.clean_rate,
        }

    def summary(self, what: str) -> str:
        """Return a sentence on what was unlearned and measured."""
        return (
            f"{what} were unlearned: the model predicts the label of {self.agreements[-1]:.0%} of the held-back rows with them "
            f"(before {self.agreements[0]:.0%}, a clean model about {self.clean_rate:.0%})"
        )

    def warnings(self) -> list[str]:
        """Return a warning if the student's agreement is not that of a clean model."""
        if self.matches_clean_rate():
            return []
        return [
            f"after all cycles the model still predicts the label of {self.agreements[-1]:.0%} of the held-back flagged rows (a "
            f"clean model: about {self.clean_rate:.0%}), and held-out accuracy went from {self.before:.1%} to "
            f"{self.accuracies[-1]:.1%}"
        ]


def monitor_curves(monitors: Sequence[ValidationMonitor]) -> list[Curve]:
    """Return accuracy and agreement cycle by cycle."""
    accuracies: list[float | None] = [value for one in monitors for value in one.accuracies]
    agreements: list[float | None] = [value for one in monitors for value in one.agreements]
    x: list[float | None] = [float(i) for i in range(len(accuracies))]
    panel = "what the defender measures"
    return [
        Curve("held-out clean accuracy", panel, x, accuracies, x_label="cycle", y_label="share"),
        Curve("flagged labels still predicted", panel, x, agreements, x_label="cycle", y_label="share"),
    ]


def split_flagged(
    flagged: Rows, *, rng: np.random.Generator, options: UnlearningOptions | None = None
) -> tuple[Rows, Rows]:
    """Return rows to unlearn and rows to measure; if there are few, all of them are both."""
    options = options or UnlearningOptions()
    if len(flagged) < options.fewest_to_split:
        return flagged, flagged
    order = [int(i) for i in rng.permutation(len(flagged))]
    cut = round(options.held_back * len(order))
    return flagged.take(order[cut:]), flagged.take(order[:cut])
