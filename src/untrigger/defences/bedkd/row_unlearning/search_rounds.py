"""BeDKD without suspect rows: rounds of trigger search, selection by the directional mapping, and unlearning."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from untrigger.core.candidate import Candidate
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.bedkd.row_detection.bedkd_detector import BeDKDDetector, MappingSplit
from untrigger.defences.bedkd.row_detection.directional_mapping import InvertedMapping, predict_both
from untrigger.defences.bedkd.row_unlearning.bedkd_unlearner import BeDKDUnlearner, unchanged
from untrigger.defences.bedkd.row_unlearning.clean_confidence import CleanPredictions
from untrigger.defences.bedkd.row_unlearning.synthetic_pool import (
    PoolOptions,
    select_triggers,
    still_active,
    with_benign_insertions,
    with_triggers,
)
from untrigger.defences.bedkd.row_unlearning.validation_monitor import ValidationMonitor, monitor_curves
from untrigger.defences.purifier import Purified
from untrigger.detectors.conformal import calibrate
from untrigger.inversion.search import SearchOptions, TriggerSearch
from untrigger.models.classifier import Classifier
from untrigger.training.history import concat_histories, history_curves
from untrigger.training.loop import History
from untrigger.training.teacher_training import TeacherOptions, train_teacher

NAMED = 12  # triggers that a report names of each round


@dataclass
class SearchState:
    """The state of the rounds.

    Attributes:
        split: the directional mapping and the rows that it left.
        student: the model in training.
        search: the search on the student.
        rows: clean rows that the student learns.
        dev: clean rows that it is evaluated on.
        threshold: of the flagged rows.
        rng: of the unlearning.
        triggers: all that were unlearned, by text.
        findings: what a report names.
        monitors: one a round of unlearning.
        histories: one a round of unlearning.
        clean: predictions for the clean rows, computed before the first unlearning.
        found_in_last_round: whether the last search found anything.
    """

    split: MappingSplit
    student: Classifier
    search: TriggerSearch
    rows: Rows
    dev: Rows
    threshold: float
    rng: np.random.Generator
    triggers: dict[str, Candidate] = field(default_factory=dict)
    findings: list[Candidate] = field(default_factory=list)
    monitors: list[ValidationMonitor] = field(default_factory=list)
    histories: list[History] = field(default_factory=list)
    clean: CleanPredictions | None = None
    found_in_last_round: bool = False

    def metadata(self) -> dict[str, Any]:
        """Return the numbers for the report."""
        return {
            "threshold": self.threshold,
            "mapping_steps": self.split.mapping.history.steps,
            "rounds": len(self.histories),
            "mapping_true_class": self.split.mapping.true_class,
            **(self.monitors[-1].metadata() if self.monitors else {}),
        }


@dataclass(frozen=True)
class BeDKDSearch(BeDKDDetector, BeDKDUnlearner):
    """Candidate triggers searched on the student, selected by the directional mapping, and unlearned.

    Attributes:
        rounds: the largest number of rounds of search and unlearning.
        each: clean rows that a candidate trigger is judged on.
        pool: how suspect rows are made of candidates.
        search: how wide the search is.
        teacher: how a clean reference is trained if one is granted; only the search uses it.
    """

    rounds: int = 4
    each: int = 12
    pool: PoolOptions = field(default_factory=PoolOptions)
    search: SearchOptions = field(default_factory=SearchOptions)
    teacher: TeacherOptions = field(default_factory=TeacherOptions)

    def search_and_unlearn(
        self, model: Classifier, grant: Grant, *, rows: Rows, dev: Rows, progress: Progress
    ) -> Purified:
        """Search and unlearn until no candidate is flagged and none is still active."""
        state = self._start(model, grant, rows=rows, dev=dev, progress=progress)
        for number in range(self.rounds + 1):
            seed = grant.seed * 1000 + number
            new = self._new_triggers(state, grant, progress=progress)
            triggers = [*self._still_active(state, seed=seed, progress=progress), *new]
            named = triggers if grant.teacher is not None else [one.without_reference() for one in triggers]
            state.findings += [replace(one, round=number + 1) for one in named[:NAMED]]
            state.found_in_last_round = bool(triggers)
            if not triggers or number == self.rounds:
                break
            state.clean = state.clean or CleanPredictions.of(model, rows=rows, dev=dev, progress=progress)
            state.triggers.update({one.text: one for one in new})
            self._unlearn_triggers(state, state.clean, triggers, seed=seed, progress=progress)
        return self._result(model, state)

    def _start(self, model: Classifier, grant: Grant, *, rows: Rows, dev: Rows, progress: Progress) -> SearchState:
        """Train the mapping and the reference, and set the threshold."""
        split, rng = self.train_mapping(model, grant, progress=progress), np.random.default_rng(grant.seed + 2)
        reference = self._reference(model, grant, rows=rows, dev=dev, progress=progress)
        pair = predict_both(model, split.mapping.model, split.rest, progress=progress)
        scores = pair.min_log_odds(split.rest.labels).tolist()
        threshold = calibrate(scores, [], fpr=self.fpr, options=self.calibration).threshold
        student = self.student(model, seed=grant.seed)
        search = TriggerSearch(
            student,
            reference,
            rows=rows,
            options=self.search,
            seed=grant.seed,
            reference_model="inverted mapping" if grant.teacher is None else "teacher",
        )
        return SearchState(split, student, search, rows, dev, threshold, rng)

    def _reference(self, model: Classifier, grant: Grant, *, rows: Rows, dev: Rows, progress: Progress) -> Classifier:
        """Return a trained teacher if one is granted, else an inverted mapping.

        On content such a mapping predicts nearly as a clean model (accuracy 63 and 76 % on movie reviews after 400 steps), and a
        trigger flips it to another class; around a trigger it does not depend on the words beside it.
        """
        if grant.teacher is not None:
            return train_teacher(model, grant, rows=rows, dev=dev, options=self.teacher, progress=progress)[0]
        mapping = self.train_mapping(model, grant, inverted=True, progress=progress).mapping.model
        return mapping.with_module(InvertedMapping(mapping.module))

    def _new_triggers(self, state: SearchState, grant: Grant, *, progress: Progress) -> list[Candidate]:
        """Search on the student and select what the mapping flags."""
        grow = grant.teacher is not None or not state.triggers
        found = state.search.run(known=list(state.triggers.values()), grow=grow, progress=progress)
        return select_triggers(
            [one for one in found if one.text not in state.triggers],
            suspect=state.student,
            mapping=state.split.mapping.model,
            rows=state.rows,
            threshold=state.threshold,
            least=self.pool.trigger_share,
            each=self.each,
            seed=grant.seed,
            progress=progress,
        )

    def _still_active(self, state: SearchState, *, seed: int, progress: Progress) -> list[Candidate]:
        """Return unlearned triggers that still flip more held-out rows to their target than a clean model would predict."""
        if state.clean is None:  # nothing was unlearned yet
            return []
        known, dev = list(state.triggers.values()), state.dev
        flagged = with_triggers(dev, known, n=len(dev), seed=seed)
        above = state.clean.false_label_bound(flagged, n=len(flagged))
        return still_active(
            known, student=state.student, rows=dev, above=above, each=len(dev), seed=seed, progress=progress
        )

    def _unlearn_triggers(
        self,
        state: SearchState,
        clean: CleanPredictions,
        triggers: list[Candidate],
        *,
        seed: int,
        progress: Progress,
    ) -> None:
        rows, dev = state.rows, state.dev
        flagged = with_triggers(dev, triggers, n=len(dev), seed=seed)
        rate = clean.false_label_rate(flagged)
        state.monitors.append(self.monitor_of(state.student, dev=dev, flagged=flagged, clean_rate=rate))
        history = self.unlearn(
            state.student,
            clean,
            rows=with_benign_insertions(rows, triggers, share=self.pool.benign_share, seed=seed),
            monitor=state.monitors[-1],
            rng=state.rng,
            flagged=with_triggers(rows, triggers, n=len(rows), seed=seed),
            progress=progress,
        )
        state.histories.append(history)

    def _result(self, model: Classifier, state: SearchState) -> Purified:
        """Return the student, or the model as it was if nothing was found or all rounds did harm."""
        mapping, history, warnings = (
            state.split.mapping.history,
            concat_histories(state.histories),
            state.split.warnings,
        )
        curves, metadata = history_curves(mapping, panel="directional mapping"), state.metadata()
        if all(one.degraded for one in state.monitors):
            why = "triggers were found, and unlearning them did more harm than good" if state.histories else ""
            return unchanged(model, metadata, history=history, curves=curves, warnings=warnings, given_up=why)
        last = state.monitors[-1]
        matches = PurificationOutcome.SEARCH_FINDS_NOTHING, PurificationOutcome.ROWS_STILL_FOLLOWED
        outcome = matches[0] if last.matches_clean_rate() else matches[1]
        return Purified(
            state.student,
            changed=True,
            history=history,
            findings=state.findings,
            metadata=metadata,
            outcome=PurificationOutcome.SEARCH_STILL_FINDS if state.found_in_last_round else outcome,
            summary=last.summary(f"{len(state.triggers)} triggers"),
            curves=[*curves, *history_curves(history, panel="unlearning"), *monitor_curves(state.monitors)],
            warnings=[*warnings, *last.warnings()],
        )
