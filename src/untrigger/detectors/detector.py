"""The family of detectors: a score, a flag and a rank for every row of a suspect pool."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any, final

from untrigger.core.errors import ContractError, DivergedError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Curve
from untrigger.core.rows import Rows
from untrigger.methods.defender_rows import check_granted_rows, overlap_warnings
from untrigger.methods.method import Method
from untrigger.methods.untouched import untouched
from untrigger.models.classifier import Classifier
from untrigger.training.loop import History

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Detection:
    """Scores and flags of every row of a suspect pool.

    Attributes:
        rows: the pool, in the order that it was given.
        scores: one number a row, larger is more suspicious.
        flagged: whether each row counts as poisoned; none does if nothing suspicious was found.
        threshold: flagged rows have larger scores.
        fpr: bound of the share of clean rows that it flags, by the clean rows that calibrated it; None without any.
        history: of what was trained on the way.
        curves: what to draw.
        metadata: plain values for the report.
        warnings: what a user should know before trusting the result.
    """

    rows: Rows
    scores: tuple[float, ...]
    flagged: tuple[bool, ...]
    threshold: float
    fpr: float | None
    history: History = field(default_factory=History)
    curves: list[Curve] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def found(self) -> bool:
        """Return whether any row is flagged."""
        return any(self.flagged)

    @property
    def flagged_rows(self) -> Rows:
        """Return the flagged rows, most suspicious first."""
        return self.rows.take(i for i in self.order if self.flagged[i])

    @property
    def order(self) -> list[int]:
        """Return the row numbers, flagged rows first, then by score; equal ones in the order of the pool."""
        return sorted(range(len(self.rows)), key=lambda i: (not self.flagged[i], -self.scores[i]))

    def summary(self) -> dict[str, Any]:
        """Return threshold, calibrated false-positive rate and counts, then the detector's metadata."""
        return {
            "threshold": self.threshold,
            "calibrated_fpr": self.fpr,
            "rows": len(self.rows),
            "flagged": sum(self.flagged),
            "flagged_by_label": self.flagged_rows.class_counts(),
            **self.metadata,
        }


@dataclass(frozen=True)
class Detector(Method):
    """A method that finds poisoned rows. An author writes ``_detect``; every public field is an option."""

    @abstractmethod
    def _detect(self, model: Classifier, grant: Grant, *, progress: Progress) -> Detection:
        """Run the algorithm. ``model`` must be left exactly as it is; ``grant.suspect`` is the pool."""

    @final
    def detect(self, model: Classifier, grant: Grant, *, progress: Progress = silent) -> Detection:
        """Score, flag and rank every row of ``grant.suspect``; ``model`` is left as it is.

        Args:
            model: the suspect classifier.
            grant: what the defender may use; the suspect rows are needed whatever the method.
            progress: notified of every long step.

        Raises:
            NeedsError: if the grant lacks something the method declares to need.
            DataError: if the clean or the suspect rows do not fit the model's classes.
            DivergedError: if a score is not a number.
            ContractError: if the method changed the model, or leaves rows without a score.
        """
        self._check_needs(grant.has(), self.needs | {"suspect"})
        assert grant.suspect is not None
        check_granted_rows(grant, model=model)
        with untouched(model, self.name):
            detection = self._detect(model, grant, progress=progress)
        if not len(grant.suspect) == len(detection.rows) == len(detection.scores) == len(detection.flagged):
            raise ContractError(f"{self.name} was given {len(grant.suspect)} rows and scored {len(detection.scores)}")
        if not all(map(isfinite, detection.scores)):
            raise DivergedError("a score is not a number", remedy="use a smaller learning rate")
        logger.info("%s flags %d of %d rows", self.name, sum(detection.flagged), len(detection.rows))
        return replace(detection, warnings=[*overlap_warnings(grant), *detection.warnings])


def ranks(order: Sequence[int]) -> list[int]:
    """Return for each row number its place in ``order``, from 1."""
    places = [0] * len(order)
    for place, i in enumerate(order):
        places[i] = place + 1
    return places
