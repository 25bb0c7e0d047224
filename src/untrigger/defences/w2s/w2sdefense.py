"""W2SDefense, ours: weak-to-strong unlearning with a small clean teacher (after 2410.14425), by one of two algorithms.

``untrigger.defences.w2s.retrain_from_base`` resets the suspect to its base and trains the task again.
``untrigger.defences.w2s.search_and_unlearn`` keeps the suspect, looks for triggers and trains them away.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from textwrap import shorten
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np

from untrigger.core.errors import ModelError, OptionError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.report import Curve
from untrigger.core.rows import Rows
from untrigger.core.seeds import generator_for
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.purifier import Purified, Purifier
from untrigger.defences.student import DistillationOptions, TrainingBudget
from untrigger.defences.w2s.ensemble import CalibratedEnsemble, Targets
from untrigger.defences.w2s.retrain_from_base import (
    Base,
    Retrained,
    RetrainOptions,
    find_base,
    retrain_from_base,
)
from untrigger.defences.w2s.search_and_unlearn import SearchAndUnlearnOptions, SearchRounds, search_and_unlearn
from untrigger.defences.w2s.unlabelled_texts import ScreenedTexts
from untrigger.defences.w2s.w2s_published import W2SAsDescribed, W2SAsReleased
from untrigger.methods.defender_rows import split_clean
from untrigger.models.classifier import Classifier
from untrigger.scanners.verdict_basis import EvidenceOptions
from untrigger.training.history import concat_histories, history_curves
from untrigger.training.loop import History
from untrigger.training.supervised import accuracy_on
from untrigger.training.teacher_training import TeacherOptions, train_teacher

logger = logging.getLogger(__name__)

Algorithm = Literal["auto", "retrain_from_base", "search_and_unlearn"]
RETRAIN, SEARCH = "retrain_from_base", "search_and_unlearn"
SEED_STEP = 1000  # between the seeds of two teachers
UNLABELLED_UNUSED = "the unlabelled texts were not used: they help a model that is retrained from its base"
NO_BASE = (
    "no base of the model is trusted, so triggers were searched for and unlearned, which misses many sentences: name its base with "
    "--base, or a trusted model of any other kind with --onto, into which the skill is carried"
)
BASE_UNUSED = (
    "the base that was given was not used, because only full weights that were made from it can be reset to it, with peft=lora and "
    "before any other method: triggers were searched for and unlearned, which misses many sentences"
)
SHOWN = 20  # of the unlabelled texts that were left out, in the report


@dataclass(frozen=True)
class W2SDefense(DistillationOptions, Purifier):
    """Retrain the suspect from its base where one is known, else search for triggers and unlearn them.

    A trusted base (``grant.base``, or the teacher's own encoder) holds no backdoor, so nothing is searched after retraining
    from it. After retraining from an adapter's own base, which nobody vouches for, the result is searched and unlearned too.
    The teacher was trained on the rows of the search, the student was not.

    Attributes:
        algorithm: ``auto``; ``retrain_from_base``, which fails where no base is known; or ``search_and_unlearn``.
        dev: share of the clean rows that is held out to measure accuracy and to choose the teacher's epoch.
        least_lead: how much more accurate than the largest class the teacher must be, else there is a warning, 0 to 1; the
            same figure as the scanner's.
        teacher: how each teacher is trained.
        retrain: options of ``retrain_from_base``.
        unlearn: options of ``search_and_unlearn``.

    Differs from the paper: the suspect is reset to its base where that is known, except for half of the lowest blocks of full
    weights (``retrain.recovery.lower_layer_mix``); the teachers' predictions are pooled with the suspect's own, all calibrated,
    by how right each is on held-out clean rows, on texts put together from clean rows and on unlabelled ones; without a base the
    student unlearns triggers found by a search. No feature is aligned with the teacher's. The paper's own method is
    ``variant="as_described"``, its released code ``variant="as_released"``.
    """

    name: ClassVar[str] = "w2sdefense"
    needs: ClassVar[frozenset[str]] = frozenset({"clean", "teacher"})
    uses: ClassVar[frozenset[str]] = frozenset({"base", "onto", "unlabelled"})
    variants: ClassVar[Mapping[str, Callable[..., Purifier]]] = {
        "as_described": W2SAsDescribed,
        "as_released": W2SAsReleased,
    }
    algorithm: Algorithm = "auto"
    dev: float = 0.15
    least_lead: float = EvidenceOptions.least_lead
    teacher: TeacherOptions = field(default_factory=TeacherOptions)
    retrain: RetrainOptions = field(default_factory=RetrainOptions)
    unlearn: SearchAndUnlearnOptions = field(default_factory=SearchAndUnlearnOptions)

    def __post_init__(self) -> None:
        """Check the options; the groups check themselves.

        Raises:
            OptionError: for an unknown algorithm and a lead outside 0 to 1.
        """
        super().__post_init__()
        if self.algorithm not in get_args(Algorithm):
            raise OptionError(f"algorithm {self.algorithm!r}", expected="one of " + ", ".join(get_args(Algorithm)))
        if not 0 <= self.least_lead <= 1:
            raise OptionError(f"least_lead {self.least_lead}", expected="a number from 0 to 1")

    def budget(self) -> TrainingBudget:
        """Return the budget of a student on the suspect itself."""
        return TrainingBudget(self.adapter(), lr=self.lr, batch_size=self.batch_size, dev=self.dev)

    def _purify(self, model: Classifier, grant: Grant, *, progress: Progress) -> Purified:
        base, reason = self._choose(model, grant)
        logger.info("%s, because %s", RETRAIN if base else SEARCH, reason)
        setup = self._prepare(model, grant, progress=progress)
        retrained = self._retrain(model, grant, base, setup=setup, progress=progress) if base else None
        student = retrained.student if retrained else self.student(model, seed=grant.seed)
        before, after = accuracy_on(model, setup.dev)(), accuracy_on(student, setup.dev)()
        rounds = None
        if base is None or not base.trusted:
            rounds = search_and_unlearn(
                student,
                setup.teacher,
                rows=setup.train,
                search_rows=setup.search,
                dev=setup.dev,
                options=self.unlearn,
                training=self,
                retrained=retrained is not None,
                seed=grant.seed,
                progress=progress,
            )
        scores = [before, after, *(rounds.accuracies if rounds else ())]
        return self._result(_Run(setup, base, retrained, rounds, scores), student, grant=grant, reason=reason)

    def _choose(self, model: Classifier, grant: Grant) -> tuple[Base | None, str]:
        """Return the base to retrain from, or None for search and unlearn, and the reason for the choice.

        Raises:
            ModelError: where ``retrain_from_base`` is requested and no base is known.
            OptionError: where another model is granted and ``search_and_unlearn`` requested.
        """
        if self.algorithm == SEARCH:
            if grant.onto is not None:
                raise OptionError(
                    "--onto with algorithm=search_and_unlearn, which keeps the suspect's own weights",
                    expected="one of the two",
                    remedy="leave out the option algorithm",
                )
            return None, "requested by the option algorithm"
        base = find_base(model, grant, peft=self.peft, options=self.retrain.recovery)
        if base is None and self.algorithm == RETRAIN:
            raise ModelError(
                "the base of the model is not known",
                expected="an adapter, or full weights and the pre-trained model that they were fine-tuned from",
                remedy="name that model with --base, or leave out algorithm=retrain_from_base",
            )
        if base is None:
            return None, "no base is known that the full weights were fine-tuned from"
        if base.other is not None:
            return base, f"another trusted model was named, {base.name}"
        trust = "which is trusted" if base.trusted else "which is not known to be clean, so the result is searched too"
        kind = "the adapter was trained on" if base.module is None else "the full weights were fine-tuned from"
        return base, f"{kind} {base.name}, {trust}"

    def _prepare(self, model: Classifier, grant: Grant, *, progress: Progress) -> _Setup:
        """Train the first teacher and split the clean rows."""
        assert grant.clean is not None
        rows, dev = split_clean(grant.clean, dev=self.dev, generator=np.random.default_rng(grant.seed))
        teacher, history = train_teacher(model, grant, rows=rows, dev=dev, options=self.teacher, progress=progress)
        generator = generator_for(grant.seed, "searched")
        train, search = split_clean(rows, dev=self.unlearn.search_share, generator=generator)
        return _Setup(teacher, history, rows, dev, train, search)

    def _retrain(self, model: Classifier, grant: Grant, base: Base, *, setup: _Setup, progress: Progress) -> Retrained:
        """Return the student retrained from ``base``: on all rows where nothing is searched after it, else on the student's."""
        assert grant.clean is not None
        teachers = [(setup.teacher, setup.dev), *self._more_teachers(model, grant, setup=setup, progress=progress)]
        searched = set() if base.trusted else set(setup.search.ids)
        calibration = grant.clean.where(name not in searched for name in grant.clean.ids)
        return retrain_from_base(
            CalibratedEnsemble(model, teachers, calibration),
            base,
            rows=setup.rows if base.trusted else setup.train,
            unlabelled=grant.unlabelled or (),
            options=self.retrain,
            training=self,
            seed=grant.seed,
            progress=progress,
        )

    def _more_teachers(
        self, model: Classifier, grant: Grant, *, setup: _Setup, progress: Progress
    ) -> list[tuple[Classifier, Rows]]:
        """Return the other teachers, each with clean rows that were held out from it and from no other teacher."""
        assert grant.clean is not None
        rest, teachers = setup.rows, []
        for number in range(1, self.retrain.teachers if self.retrain.teacher_weight != 0 else 1):
            again = replace(grant, seed=grant.seed + SEED_STEP * number)
            if len(rest) < 2 * len(setup.dev):
                rest = grant.clean
            held, rest = rest.stratified(len(setup.dev), rng=np.random.default_rng(again.seed))
            left_out = set(held.ids)
            rows = grant.clean.where(name not in left_out for name in grant.clean.ids)
            teacher, _ = train_teacher(model, again, rows=rows, dev=held, options=self.teacher, progress=progress)
            teachers.append((teacher, held))
        return teachers

    def _result(self, run: _Run, student: Classifier, *, grant: Grant, reason: str) -> Purified:
        histories = [
            *([run.retrained.history] if run.retrained else []),
            *(run.rounds.histories if run.rounds else []),
        ]
        history, teacher = concat_histories(histories), run.setup.teacher_history
        budget = self.budget()
        return Purified(
            student,
            changed=True,
            history=history,
            outcome=run.outcome(),
            summary=run.summary(),
            findings=run.rounds.findings if run.rounds else [],
            warnings=[
                *_weak_teacher(max(teacher.scores), run.setup.dev, least_lead=self.least_lead),
                *([BASE_UNUSED if grant.base else NO_BASE] if run.base is None and self.algorithm != SEARCH else []),
                *([UNLABELLED_UNUSED] if grant.unlabelled and run.retrained is None else []),
                *(_left_out(run.retrained.screened) if run.retrained else []),
                *(_style_may_stay(run.retrained.targets) if run.retrained else []),
            ],
            curves=[
                *history_curves(teacher, panel="teacher training"),
                *history_curves(history, panel="unlearning"),
                _accuracy_curve(run.accuracies),
            ],
            metadata={"algorithm": run.algorithm(), "algorithm_reason": reason} | run.metadata(),
            budget=replace(budget, adapter=run.retrained.adapter) if run.retrained else budget,
            onto=run.base is not None and run.base.other is not None,
        )


class _Setup(NamedTuple):
    """The first teacher and the clean rows.

    ``rows`` trained the teacher, ``dev`` were held out from it; ``train`` and ``search`` are the parts of ``rows`` that a student
    is trained on, and that a search reads.
    """

    teacher: Classifier
    teacher_history: History
    rows: Rows
    dev: Rows
    train: Rows
    search: Rows


class _Run(NamedTuple):
    """What was done; ``accuracies`` are of the suspect, the student, and the student after every round."""

    setup: _Setup
    base: Base | None
    retrained: Retrained | None
    rounds: SearchRounds | None
    accuracies: list[float]

    def algorithm(self) -> str:
        """Return the names of the algorithms that ran."""
        return ", then ".join(name for name, done in ((RETRAIN, self.retrained), (SEARCH, self.rounds)) if done)

    def outcome(self) -> PurificationOutcome:
        """Return what is known of the student."""
        if self.rounds is None:
            return PurificationOutcome.RETRAINED_FROM_BASE
        if not self.rounds.has_searched:
            return PurificationOutcome.NOT_DECIDED
        finished = self.rounds.finished
        return PurificationOutcome.SEARCH_FINDS_NOTHING if finished else PurificationOutcome.SEARCH_STILL_FINDS

    def summary(self) -> str:
        """Return what was done and found, in a sentence."""
        if self.rounds is None:
            assert self.base is not None
            if self.base.other is not None:
                return f"the task was trained on another trusted model, {self.base.name}, which replaces the suspect"
            return f"the model was reset to its trusted base, {self.base.name}, and the task trained again from there"
        start = "the adapter was discarded and the task trained again on its base; " if self.retrained else ""
        scores = [f"{100 * score:.1f} points" for score in self.rounds.largest_scores]
        if not self.rounds.has_searched:
            return f"{start}the search found no row to try an insertion on"
        if not self.rounds.histories:
            return f"{start}in a search an insertion moved the new model at most {scores[-1]} farther than the clean teacher"
        return (
            f"{start}before unlearning an insertion{self._strongest()} moved the model {scores[0]} farther than the clean "
            f"teacher, in the last search the largest such gap was {scores[-1]}"
        )

    def _strongest(self) -> str:
        """Return the first finding that flips rows, in brackets; empty where none does."""
        findings = self.rounds.findings if self.rounds else []
        first = next((one for one in findings if one.suspect.value), None)
        if first is None:
            return ""
        return f" (first {first.text!r}, {100 * (first.suspect.value or 0.0):.1f} % of rows to {first.target})"

    def metadata(self) -> dict[str, Any]:
        """Return plain values for the report."""
        setup, rounds = self.setup, self.rounds
        metadata: dict[str, Any] = {
            "teacher_dev_accuracy": max(setup.teacher_history.scores),
            "dev_accuracy_before": self.accuracies[0],
            "dev_accuracy_after": self.accuracies[-1],
            "rounds": len(rounds.histories) if rounds else 0,
            "largest_score_by_search": [round(score, 4) for score in rounds.largest_scores] if rounds else [],
            "rows_trained": len(setup.train if rounds else setup.rows),
            "rows_searched": len(setup.search) if rounds else 0,
        }
        if self.base is not None:
            metadata["base"] = self.base.name
        if self.retrained is not None:
            targets, screened = self.retrained.targets, self.retrained.screened
            metadata["weights"] = {
                "suspect": round(targets.suspect_weight, 3),
                "teachers": round(targets.teacher_weight, 3),
            }
            if self.retrained.recovered is not None:
                metadata["recovered_share_of_base"] = round(self.retrained.recovered, 3)
            if screened.kept or screened.left_out:
                metadata["unlabelled"] = {
                    "used": len(screened.kept),
                    "left_out": len(screened.left_out),
                    "most_suspicious": [shorten(text, 200, placeholder="…") for text in screened.left_out[:SHOWN]],
                }
        return metadata


def _weak_teacher(accuracy: float, dev: Rows, *, least_lead: float) -> list[str]:
    """Return a warning where the teacher is hardly more accurate than the largest class."""
    largest = max(dev.class_counts().values()) / len(dev)
    if accuracy >= largest + least_lead:
        return []
    return [
        f"the teacher's accuracy is {accuracy:.0%} on the dev rows, the largest class alone has {largest:.0%}: a teacher this weak "
        "cannot tell task-relevant words from triggers; give more clean rows or a better encoder with --teacher"
    ]


def _left_out(texts: ScreenedTexts) -> list[str]:
    """Return a warning with the number of unlabelled texts that were left out; none where none was."""
    left, count = len(texts.left_out), len(texts.left_out) + len(texts.kept)
    if not left:
        return []
    return [f"{left} of the {count} unlabelled texts were left out, because they may hold a trigger"]


def _style_may_stay(targets: Targets) -> list[str]:
    """Return a warning where the student learned from the suspect's predictions, which carry traces of a style."""
    if targets.suspect_weight == 0:
        return []
    return [
        f"the student learned from the suspect's predictions (weight {targets.suspect_weight:.2f}): if the trigger is a style or a "
        "sentence pattern, part of the backdoor may stay; --set retrain.teacher_weight=1 leaves the suspect out and costs accuracy"
    ]


def _accuracy_curve(accuracies: list[float]) -> Curve:
    rounds = list(range(len(accuracies)))
    return Curve("dev accuracy", "rounds", [*rounds], [*accuracies], x_label="round", y_label="dev accuracy")
