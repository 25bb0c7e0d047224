"""The unlearner of BeDKD, ours: a student that learns clean rows and unlearns flagged ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from untrigger.core.progress import Progress
from untrigger.core.report import Curve
from untrigger.core.rows import Rows
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.bedkd.distillation import KDConfig
from untrigger.defences.bedkd.row_unlearning.clean_confidence import CleanConfidence, CleanPredictions
from untrigger.defences.bedkd.row_unlearning.unlearning_objective import CleanRows, UnlearningObjective
from untrigger.defences.bedkd.row_unlearning.validation_monitor import UnlearningOptions, ValidationMonitor
from untrigger.defences.purifier import Purified
from untrigger.defences.student import StudentTraining
from untrigger.detectors.detector import Detection
from untrigger.models.classifier import Classifier
from untrigger.training.loop import History

DEGRADED = "unlearning did more harm than good in every cycle: the model is returned unchanged"


@dataclass(frozen=True)
class BeDKDUnlearner(StudentTraining):
    """A student that learns clean rows and unlearns flagged ones in one bounded loss, until it predicts as a clean model.

    Attributes:
        lr: peak learning rate of the student.
        batch_size: rows a step, clean and flagged ones together.
        share: share of a step that is flagged rows, above 0 and below 1.
        alpha: weight α of the labels in the loss of clean rows, 0 to 1.
        temperature: T of the victim's own outputs there.
        pieces: share of the clean rows that is read with a piece of a flagged row in it, 0 to 1.
        punish: weight of the flagged rows' bounded unlikelihood; a heavy one overshoots, and what corrects that biases the student
            to the backdoor's class on every text (``docs/results/bedkd.md#weight-and-steps-of-the-unlearning``).
        cycles: cycles of the student's training; the latest that is not worse than another is kept.
        cycle_steps: optimiser steps a cycle.
        may_lose: accuracy on held-out clean rows that may be lost, 0 to 1.
        unlearning: further constants.
    """

    lr: float = 5e-4
    batch_size: int = 32
    share: float = 0.25
    alpha: float = 0.5
    temperature: float = 2.5
    pieces: float = 0.5
    punish: float = 1.0
    cycles: int = 8
    cycle_steps: int = 12
    may_lose: float = 0.01
    unlearning: UnlearningOptions = field(default_factory=UnlearningOptions)

    def unlearn(
        self,
        student: Classifier,
        clean: CleanPredictions,
        *,
        rows: Rows,
        flagged: Rows,
        monitor: ValidationMonitor,
        rng: np.random.Generator,
        progress: Progress,
    ) -> History:
        """Train ``student`` on clean ``rows``, the first that ``clean`` holds predictions for, and against ``flagged`` ones."""
        objective = UnlearningObjective(
            student,
            clean=CleanRows(rows, clean.logits[: len(rows)]),
            flagged=flagged,
            config=KDConfig(self.alpha, self.temperature, hidden=False),
            weight=self.punish,
            confidence=CleanConfidence(clean.logits, clean.rows.labels, memory=self.unlearning.memory),
            pieces=self.pieces,
            longest_piece=self.unlearning.longest_piece,
            seed=int(rng.integers(2**32)),
        )
        n = min(self.batch_size - 1, max(1, round(self.share * self.batch_size)))
        plan = self.plan(epochs=self.cycles)
        return objective.train(monitor, plan=plan, flagged=n, steps=self.cycle_steps, rng=rng, progress=progress)

    def monitor_of(self, victim: Classifier, *, dev: Rows, flagged: Rows, clean_rate: float) -> ValidationMonitor:
        """Return a monitor that has evaluated the victim."""
        monitor = ValidationMonitor(dev, flagged, clean_rate, self.may_lose, self.unlearning)
        monitor.evaluate(victim)
        return monitor


def unchanged(
    model: Classifier,
    metadata: dict[str, Any],
    *,
    curves: Sequence[Curve],
    warnings: Sequence[str],
    history: History | None = None,
    detected: Detection | None = None,
    given_up: str = "",
) -> Purified:
    """Return the model as it was; ``history`` is of a student trained in vain, ``given_up`` why it is not returned."""
    return Purified(
        model,
        changed=False,
        history=history or History(),
        outcome=PurificationOutcome.GIVEN_UP if given_up else PurificationOutcome.NOTHING_FOUND,
        summary=given_up,
        metadata=metadata,
        curves=list(curves),
        warnings=[*warnings, *([DEGRADED] if given_up else [])],
        detected=detected,
    )
