"""BeDKD, ours: suspect rows that keep their class when content is flipped to the next one are unlearned (after 2508.01595)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from untrigger.core.errors import OptionError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.bedkd.bedkd_published import BeDKDAsDescribed, BeDKDAsReleased
from untrigger.defences.bedkd.row_unlearning.bedkd_unlearner import unchanged
from untrigger.defences.bedkd.row_unlearning.clean_confidence import CleanPredictions
from untrigger.defences.bedkd.row_unlearning.search_rounds import BeDKDSearch
from untrigger.defences.bedkd.row_unlearning.validation_monitor import monitor_curves, split_flagged
from untrigger.defences.purifier import Purified, Purifier
from untrigger.defences.student import TrainingBudget
from untrigger.methods.defender_rows import split_clean
from untrigger.models.classifier import Classifier
from untrigger.training.history import history_curves

NO_SUSPECT_ROWS = (
    "BeDKD needs suspect rows (--suspect); without them it searches for triggers, which removes little of a trigger sentence: "
    "with clean rows alone take w2sdefense (docs/results/bedkd.md#without-suspect-rows)"
)


@dataclass(frozen=True)
class BeDKD(BeDKDSearch, Purifier):
    """Poisoned rows flagged by a directional mapping and further evidence, then unlearned in one bounded loss with clean rows.

    Detecting half (``row_detection``): a row's score adds up what the directional mapping still predicts of its label and four
    more kinds of evidence; the threshold is calibrated on clean rows. Unlearning half (``row_unlearning``): a student learns clean
    rows and unlearns flagged ones until it predicts their labels as often as a clean model. Without suspect rows they are made of
    clean texts with searched triggers, which are judged by the smaller log-odds of victim and mapping alone.

    Attributes:
        dev: share of the clean rows that is held out to evaluate the student.

    Differs from the paper: the score adds up evidence instead of a distance; the threshold is calibrated instead of 0.1;
    the whole pool is scored; the unlearning loss is bounded, in one step with the clean loss, and zero if the labels of the
    flagged rows as a whole are predicted as often as those of clean ones; the victim's own outputs are calibrated; some
    clean rows hold pieces of flagged ones; a cycle is chosen by what a defender can measure; copies are adapters; and it
    works without suspect rows. The paper's method is ``variant="as_described"``, its released code
    ``variant="as_released"``.
    """

    name: ClassVar[str] = "bedkd"
    uses: ClassVar[frozenset[str]] = frozenset({"suspect", "teacher"})
    variants: ClassVar[Mapping[str, Callable[..., Any]]] = {
        "as_described": BeDKDAsDescribed,
        "as_released": BeDKDAsReleased,
    }
    dev: float = 0.15

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for shares out of range and counts below 1.
        """
        counts = (self.mapping_rows, self.cycles, self.cycle_steps, self.rounds, self.each)
        shares = 0 < self.fpr < 1 and 0 < self.false_share <= 1 and 0 <= self.may_lose <= 1
        shares = shares and 0 < self.share < 1 and 0 <= self.pieces <= 1
        if min(counts) < 1 or self.batch_size < 2 or not shares or not self.punish > 0:
            raise OptionError(
                f"fpr {self.fpr}, false_share {self.false_share}, may_lose {self.may_lose}, punish {self.punish}, "
                f"share {self.share}, pieces {self.pieces}, counts {counts}, batch_size {self.batch_size}",
                expected="shares from 0 to 1, counts of 1 or more, a batch of 2 or more, a weight punish above 0",
            )

    def budget(self) -> TrainingBudget:
        """Return the budget of the student."""
        return TrainingBudget(self.adapter(), lr=self.lr, batch_size=self.batch_size, dev=self.dev)

    def _purify(self, model: Classifier, grant: Grant, *, progress: Progress) -> Purified:
        assert grant.clean is not None
        rng = np.random.default_rng(grant.seed + 1)
        rows, dev = split_clean(grant.clean, dev=self.dev, generator=rng)
        if grant.suspect is None:
            done = self.search_and_unlearn(model, grant, rows=rows, dev=dev, progress=progress)
            return replace(done, warnings=[NO_SUSPECT_ROWS, *done.warnings])
        found = self._detect(model, grant, progress=progress)
        if not found.found:
            return unchanged(model, found.summary(), curves=found.curves, warnings=found.warnings, detected=found)
        student = self.student(model, seed=grant.seed)
        clean = CleanPredictions.of(model, rows=rows, dev=dev, progress=progress)
        flagged, held_back = split_flagged(found.flagged_rows, rng=rng, options=self.unlearning)
        rate = clean.false_label_rate(held_back)
        monitor = self.monitor_of(model, dev=dev, flagged=held_back, clean_rate=rate)
        history = self.unlearn(student, clean, rows=rows, flagged=flagged, monitor=monitor, rng=rng, progress=progress)
        metadata, n = found.summary() | monitor.metadata(), len(found.flagged_rows)
        curves = [*found.curves, *history_curves(history, panel="unlearning"), *monitor_curves([monitor])]
        if monitor.degraded:
            why = f"{n} rows were flagged, and unlearning them did more harm than good"
            return unchanged(
                model,
                metadata,
                history=history,
                curves=curves,
                warnings=found.warnings,
                detected=found,
                given_up=why,
            )
        followed = PurificationOutcome.ROWS_STILL_FOLLOWED, PurificationOutcome.ROWS_NO_LONGER_FOLLOWED
        return Purified(
            student,
            changed=True,
            history=history,
            outcome=followed[monitor.matches_clean_rate()],
            summary=monitor.summary(f"{n} flagged rows"),
            curves=curves,
            metadata=metadata,
            warnings=[*found.warnings, *monitor.warnings()],
            detected=found,
        )
