"""The family of detectors: model, clean rows and a pool of suspect rows in; a score, a flag and a rank for every row out."""

from __future__ import annotations

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
from untrigger.methods.defender_rows import check_rows, overlap_warnings
from untrigger.methods.method import Method
from untrigger.methods.untouched import untouched
from untrigger.models.classifier import Classifier
from untrigger.training.loop import History

FOLLOWED = 0.5  # share of the rows above a threshold whose label the model must say, or they are none of its backdoor


@dataclass(frozen=True)
class Detected:
    """What a detector says of a pool.

    Attributes:
        rows: the pool, in the order that it was given.
        scores: one number a row, larger is more suspicious.
        flagged: whether each row is taken for poisoned; none is where nothing suspicious was found.
        threshold: flagged rows lie above it.
        fpr: the most of clean rows that it flags, by the clean rows that it was calibrated on; None where there were none.
        history: of what was trained on the way.
        curves: what to draw.
        told: plain values for the report.
        warnings: what a user should know before trusting the result.
    """

    rows: Rows
    scores: tuple[float, ...]
    flagged: tuple[bool, ...]
    threshold: float
    fpr: float | None
    history: History = field(default_factory=History)
    curves: list[Curve] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def found(self) -> bool:
        """Whether anything is suspicious."""
        return any(self.flagged)

    @property
    def suspects(self) -> Rows:
        """The flagged rows, most suspicious first."""
        return self.rows.take(i for i in self.order if self.flagged[i])

    @property
    def order(self) -> list[int]:
        """Row numbers, flagged rows first, then the larger score first; equal ones in the order of the pool."""
        return sorted(range(len(self.rows)), key=lambda i: (not self.flagged[i], -self.scores[i]))

    def summary(self) -> dict[str, Any]:
        """Threshold, calibrated false-positive rate and counts, then what else the detector tells."""
        return {
            "threshold": self.threshold,
            "calibrated_fpr": self.fpr,
            "rows": len(self.rows),
            "flagged": sum(self.flagged),
            "flagged_by_label": self.suspects.class_counts(),
            **self.told,
        }


@dataclass(frozen=True)
class Detector(Method):
    """A method that finds poisoned rows. An author writes ``_detect``; every public field is an option."""

    @abstractmethod
    def _detect(self, model: Classifier, grant: Grant, *, progress: Progress) -> Detected:
        """The algorithm. ``model`` must be left exactly as it is; ``grant.suspect`` is the pool."""

    @final
    def detect(self, model: Classifier, grant: Grant, *, progress: Progress = silent) -> Detected:
        """Score, flag and rank of every row of ``grant.suspect``; ``model`` is left as it is.

        Args:
            model: the suspicious classifier.
            grant: what the defender may use; the suspect rows are needed whatever the method.
            progress: told of every long step.

        Raises:
            NeedsError: if the grant lacks something the method declares to need.
            DataError: if the clean or the suspect rows do not fit the model's classes.
            DivergedError: if a score is no number.
            ContractError: if the method changed the model, or leaves rows without a score.
        """
        self._check_needs(grant, self.needs | {"suspect"})
        assert grant.suspect is not None
        check_rows(grant, model=model)
        with untouched(model, self.name):
            told = self._detect(model, grant, progress=progress)
        if not len(grant.suspect) == len(told.rows) == len(told.scores) == len(told.flagged):
            raise ContractError(f"{self.name} was given {len(grant.suspect)} rows and scored {len(told.scores)}")
        if not all(map(isfinite, told.scores)):
            raise DivergedError("a score is no number", remedy="use a smaller learning rate")
        return replace(told, warnings=[*overlap_warnings(grant), *told.warnings])


def ranks(order: Sequence[int]) -> list[int]:
    """For each row number its place in ``order``, from 1."""
    places = [0] * len(order)
    for place, i in enumerate(order):
        places[i] = place + 1
    return places
