"""BeDKD, ours: rows that keep their class when the content's is turned round, found and unlearned (after 2508.01595)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from untrigger.core.candidate import Candidate
from untrigger.core.errors import OptionError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.report import Curve
from untrigger.core.rows import Rows
from untrigger.core.seeds import row_rng
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.bedkd.bedkd_published import BeDKDAsDescribed, BeDKDAsReleased
from untrigger.defences.bedkd.distillation import Answers, Blend
from untrigger.defences.bedkd.evidence import evidence, only_victim, reader, seen
from untrigger.defences.bedkd.mapping import Copying, Mapped, TurnedBack, by_class, directional_mapping, viewed
from untrigger.defences.bedkd.synthetic_pool import decorated, inserted, judge, stirring, together
from untrigger.defences.bedkd.unlearning import Calm, Honest, Lesson, Watch, parted
from untrigger.defences.purifier import Purified, Purifier
from untrigger.defences.student import StudentOptions, TrainingBudget
from untrigger.detectors.conformal import calibrate, threshold_of
from untrigger.detectors.detector import Detection, Detector
from untrigger.inversion.search import SearchOptions, TriggerSearch
from untrigger.methods.defender_rows import split_clean
from untrigger.models.classifier import Classifier
from untrigger.training.history import concat_histories, history_curves
from untrigger.training.loop import MICRO_BATCH, History, Plan
from untrigger.training.teacher_training import TeacherOptions, train_teacher

HARM = "the punishment did more harm than good in every cycle: the model comes back as it was"
WATCHED = 64  # clean rows by which the mapping's training is ended
WARMUP = 0.1  # share of the student's steps in which its rate climbs
NO_MORE = 1.1  # a true class that is given at most this many times an even share of the probability counts as turned
WHOLLY = 0.6  # the same where the mapping, turned back, has to know the content's class
PASSES = 20  # at most so many over the mapping's rows then
NOTHING_FOUND = PurificationOutcome.NOTHING_FOUND, ""
MAPPING = Copying(alpha=0.8, temperature=1.5, hidden=False, lr=3e-4, epochs=6, batch_size=16)


@dataclass(frozen=True)
class BeDKD(StudentOptions, Detector, Purifier):
    """Rows that keep their class flagged against held-out clean rows, then trusted and punished in one bounded loss until calm.

    A row's score joins what the directional mapping still says of its label with four more kinds of evidence (see
    ``bedkd_evidence``). Without suspect rows a pool is made of clean texts with searched insertions: those that move the victim
    but not a second mapping, turned wholly and read one class back. They are judged by their stubbornness alone (the
    log-odds that victim and mapping give to the label, the smaller of the two) and unlearned while held-out rows follow them.

    Attributes:
        lr: peak learning rate of the student.
        batch_size: rows a step, trusted and punished ones together.
        share: how much of a step is punished rows, above 0 and below 1.
        fpr: the most that may be flagged of clean rows, above 0 and below 1.
        false_share: the share of clean rows wanted at most among the flagged ones, above 0 and at most 1.
        least_followed: share of the rows above the threshold whose label the model must predict: other odd rows are none of
            its backdoor. Not tuned.
        mapping_rows: clean rows a class that the directional mapping is trained on, at most half of a class.
        alpha: weight α of the labels in the trusted rows' loss, 0 to 1.
        temperature: T of the victim's own answers there.
        pieces: share of the trusted rows that is read with a piece of a flagged row in it, 0 to 1.
        punish: weight of the flagged rows' levelling: an unlikelihood until they are as calm as an honest model's; a heavy one
            overshoots, and what brings it back makes the student lean to the backdoor's class on every text.
        cycles: cycles of the student's training; the latest that is not worse than another is kept.
        cycle_steps: optimiser steps a cycle.
        may_lose: accuracy on held-out clean rows that may be lost, 0 to 1.
        dev: share of the clean rows that is held out for that.
        rounds: the most rounds of search and unlearning, without suspect rows.
        each: clean rows that a searched insertion is judged on.
        mapping: how the directional mapping is made and trained.
        search: how wide the search is.
        teacher: how a clean reference is trained where one is granted; only the search uses it.

    Differs from the paper: the score is joined evidence instead of a distance; the threshold is calibrated instead of 0.1; the
    whole pool is scored; the punishment is bounded, stands in one loss with the trust, and rests where the flagged rows as a
    whole are as honest as clean ones; the victim's own answers are calibrated; some trusted rows hold pieces of flagged ones;
    a cycle is chosen by what a defender sees; copies are adapters; and it works without suspect rows. The paper's method is
    ``variant="as_described"``, its released code ``variant="as_released"``.
    """

    name: ClassVar[str] = "bedkd"
    uses: ClassVar[frozenset[str]] = frozenset({"suspect", "teacher"})
    variants: ClassVar[Mapping[str, Callable[..., Any]]] = {
        "as_described": BeDKDAsDescribed,
        "as_released": BeDKDAsReleased,
    }
    lr: float = 5e-4
    batch_size: int = 32
    share: float = 0.25
    fpr: float = 0.01
    false_share: float = 0.02
    least_followed: float = 0.5
    mapping_rows: int = 160
    alpha: float = 0.5
    temperature: float = 2.5
    pieces: float = 0.5
    punish: float = 1.0
    cycles: int = 8
    cycle_steps: int = 12
    may_lose: float = 0.01
    dev: float = 0.15
    rounds: int = 4
    each: int = 12
    mapping: Copying = MAPPING
    search: SearchOptions = field(default_factory=SearchOptions)
    teacher: TeacherOptions = field(default_factory=TeacherOptions)

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
                expected="shares from 0 to 1, counts of 1 or more, a batch of 2 or more, a punishment above 0",
            )

    def budget(self) -> TrainingBudget:
        """Return the budget of the student."""
        return TrainingBudget(self.adapter(), lr=self.lr, batch_size=self.batch_size, dev=self.dev)

    def _detect(self, model: Classifier, grant: Grant, *, progress: Progress) -> Detection:
        assert grant.suspect is not None
        turned = self._turned(model, grant, progress=progress)
        draws = [row_rng(grant.seed, name, purpose="detect").random() for name in grant.suspect.ids]
        order = sorted(range(len(draws)), key=draws.__getitem__)  # the file's own order says nothing
        known = only_victim(model, turned.compared, progress=progress)
        rest, pool = (
            seen(model, turned.mapped.model, rows, progress=progress)
            for rows in (turned.rest, grant.suspect.take(order))
        )
        read = reader(known, classes=model.classes)
        clean, in_turn = evidence(rest, pool, known=known, read=read, seed=grant.seed)
        found = calibrate(clean, in_turn, fpr=self.fpr, false_share=self.false_share)
        followed = pool.followed([score > found.threshold for score in in_turn])
        found = replace(found, found=found.found and followed >= self.least_followed)
        scores = [score for _, score in sorted(zip(order, in_turn, strict=True))]
        threshold = threshold_of(found, scores)
        told = {
            "calibrated_threshold": found.threshold,
            "asked_fpr": self.fpr,
            "fpr_of_that_threshold": found.fpr,
            "calibration_rows": found.clean,
            "above_threshold": found.above,
            "far_above": found.beyond,
            "followed": round(followed, 3),
            "least_followed": self.least_followed,
            "expected_by_chance": round(found.expected, 3),
            "chance": found.chance,
            "mapping_true_class": turned.mapped.left,
            "mapping_steps": turned.mapped.history.steps,
        }
        return Detection(
            grant.suspect,
            tuple(scores),
            tuple(found.found and score > threshold for score in scores),
            threshold,
            fpr=found.promised,
            history=turned.mapped.history,
            metadata=told,
            curves=history_curves(turned.mapped.history, panel="directional mapping"),
            warnings=[*turned.warnings, *self._doubts(found.promised, found.clean)],
        )

    def _turned(self, model: Classifier, grant: Grant, *, wholly: bool = False, progress: Progress) -> _Turned:
        """The directional mapping, clean rows to compare others with, and clean rows that nothing of it depends on.

        A third of what the mapping is not trained on is the most that ends its training.
        """
        assert grant.clean is not None
        rng = np.random.default_rng(grant.seed)
        rows, rest, warnings = by_class(grant.clean, self.mapping_rows, rng=rng, what="the mapping")
        watch, rest = rest.stratified(min(WATCHED, max(len(rest.label_names), len(rest) // 3)), rng=rng)
        options = replace(self.mapping, epochs=max(self.mapping.epochs, PASSES)) if wholly else self.mapping
        mapped = directional_mapping(
            model,
            rows,
            options=options,
            seed=grant.seed,
            watch=watch,
            chance=(WHOLLY if wholly else NO_MORE) / model.classes,
            progress=progress,
        )
        return _Turned(mapped, together([rows, watch], names=model.label_names), rest, warnings)

    def _doubts(self, fpr: float, rows: int) -> list[str]:
        if fpr <= self.fpr:
            return []
        return [
            f"{rows} clean rows are left to calibrate on: the smallest false-positive rate that they allow is {fpr:.3f}, "
            f"more than the {self.fpr:g} asked for; give more clean rows"
        ]

    def _purify(self, model: Classifier, grant: Grant, *, progress: Progress) -> Purified:
        assert grant.clean is not None
        rng = np.random.default_rng(grant.seed + 1)
        rows, dev = split_clean(grant.clean, dev=self.dev, generator=rng)
        if grant.suspect is None:
            return self._without_pool(model, grant, rows=rows, dev=dev, progress=progress)
        found = self._detect(model, grant, progress=progress)
        if not found.found:
            return _unchanged(model, found.summary(), curves=found.curves, warnings=found.warnings, detected=found)
        student, honest = self.student(model, seed=grant.seed), Honest.of(model, rows=rows, dev=dev, progress=progress)
        punished, watched = parted(found.flagged_rows, rng=rng)
        watch = Watch.of(model, dev=dev, flagged=watched, calm=honest.calls(watched), may_lose=self.may_lose)
        history = self._unlearn(
            student, honest, trusted=rows, punished=punished, watch=watch, rng=rng, progress=progress
        )
        told = found.summary() | _seen(watch)
        curves = [*found.curves, *history_curves(history, panel="trust and punish"), *_watched([watch])]
        if watch.harmed:
            warnings = [*found.warnings, HARM]
            given_up = f"{len(found.flagged_rows)} rows were flagged, and unlearning them did more harm than good"
            return _unchanged(
                model,
                told,
                history=history,
                curves=curves,
                warnings=warnings,
                detected=found,
                stated=(PurificationOutcome.GIVEN_UP, given_up),
            )
        return Purified(
            student,
            changed=True,
            history=history,
            outcome=_outcome(watch),
            summary=_account(watch, flagged=len(found.flagged_rows)),
            curves=curves,
            metadata=told,
            warnings=[*found.warnings, *_left(watch)],
            detected=found,
        )

    def _unlearn(
        self,
        student: Classifier,
        honest: Honest,
        *,
        trusted: Rows,
        punished: Rows,
        watch: Watch,
        rng: np.random.Generator,
        progress: Progress,
    ) -> History:
        """Train ``student``; the answers to the trusted rows are those to the rows that ``honest`` knows."""
        blend = Blend(self.alpha, self.temperature, hidden=False)
        calm = Calm(honest.logits, honest.clean.labels)
        lesson = Lesson(
            student,
            trusted=trusted,
            answers=Answers(honest.logits[: len(trusted)], []),
            punished=punished,
            blend=blend,
            weight=self.punish,
            calm=calm,
            pieces=self.pieces,
            seed=int(rng.integers(2**32)),
        )
        plan = Plan(lr=self.lr, epochs=self.cycles, batch_size=self.batch_size, warmup=WARMUP, micro_batch=MICRO_BATCH)
        punish = min(self.batch_size - 1, max(1, round(self.share * self.batch_size)))
        return lesson.give(watch, plan=plan, punished=punish, steps=self.cycle_steps, rng=rng, progress=progress)

    def _without_pool(self, model: Classifier, grant: Grant, *, rows: Rows, dev: Rows, progress: Progress) -> Purified:
        """Rounds of search, judgement by the mapping, and unlearning, until no insertion is stubborn and none stirs the student."""
        turned, rng = self._turned(model, grant, progress=progress), np.random.default_rng(grant.seed + 2)
        reference = self._reference(model, grant, rows=rows, dev=dev, progress=progress)
        clean = (
            viewed(model, turned.mapped.model, turned.rest, progress=progress).stubbornness(turned.rest.labels).tolist()
        )
        threshold = calibrate(clean, [], fpr=self.fpr).threshold
        student, honest = self.student(model, seed=grant.seed), None
        search = TriggerSearch(
            student,
            reference,
            rows=rows,
            options=self.search,
            seed=grant.seed,
            reference_model="inverted mapping" if grant.teacher is None else "teacher",
        )
        bank, findings = dict[str, Candidate](), list[Candidate]()
        watches, parts = list[Watch](), list[History]()
        found_more = False
        for number in range(self.rounds + 1):
            found = search.run(known=list(bank.values()), grow=grant.teacher is not None or not bank, progress=progress)
            taken = judge(
                [one for one in found if one.text not in bank],
                suspect=student,
                mapping=turned.mapped.model,
                rows=rows,
                threshold=threshold,
                each=self.each,
                seed=grant.seed,
                progress=progress,
            )
            seed = grant.seed * 1000 + number
            pool = [
                *self._stirring(list(bank.values()), student, honest, dev=dev, seed=seed, progress=progress),
                *taken,
            ]
            compared = pool if grant.teacher is not None else [one.without_reference() for one in pool]
            findings += [replace(one, round=number + 1) for one in compared[:12]]
            found_more = bool(pool)
            if not pool or number == self.rounds:
                break
            honest = honest or Honest.of(model, rows=rows, dev=dev, progress=progress)
            bank.update({one.text: one for one in taken})
            flagged = inserted(dev, pool, count=len(dev), seed=seed)
            watches.append(
                Watch.of(student, dev=dev, flagged=flagged, calm=honest.calls(flagged), may_lose=self.may_lose)
            )
            parts.append(
                self._unlearn(
                    student,
                    honest,
                    trusted=decorated(rows, pool, seed=seed),
                    watch=watches[-1],
                    rng=rng,
                    punished=inserted(rows, pool, count=len(rows), seed=seed),
                    progress=progress,
                )
            )
        told = {
            "threshold": threshold,
            "mapping_steps": turned.mapped.history.steps,
            "rounds": len(parts),
            "mapping_true_class": turned.mapped.left,
            **(_seen(watches[-1]) if watches else {}),
        }
        curves, history = history_curves(turned.mapped.history, panel="directional mapping"), concat_histories(parts)
        if not parts or all(watch.harmed for watch in watches):
            warnings = [*turned.warnings, *([HARM] if parts else [])]
            given_up = (
                PurificationOutcome.GIVEN_UP,
                "insertions were found, and unlearning them did more harm than good",
            )
            return _unchanged(
                model,
                told,
                history=history,
                curves=curves,
                warnings=warnings,
                stated=given_up if parts else NOTHING_FOUND,
            )
        return Purified(
            student,
            changed=True,
            history=history,
            findings=findings,
            metadata=told,
            outcome=PurificationOutcome.SEARCH_STILL_FINDS if found_more else _outcome(watches[-1], searched=True),
            summary=_account(watches[-1], insertions=len(bank)),
            curves=[*curves, *history_curves(history, panel="trust and punish"), *_watched(watches)],
            warnings=[*turned.warnings, *_left(watches[-1])],
        )

    def _stirring(
        self,
        bank: Sequence[Candidate],
        student: Classifier,
        honest: Honest | None,
        *,
        dev: Rows,
        seed: int,
        progress: Progress,
    ) -> list[Candidate]:
        """The insertions that still make the student call more held-out rows by their target than an honest model would."""
        if honest is None:  # nothing was unlearned yet
            return []
        flagged = inserted(dev, bank, count=len(dev), seed=seed)
        most = honest.most(flagged, each=len(flagged))
        return stirring(bank, student=student, rows=dev, most=most, each=len(dev), seed=seed, progress=progress)

    def _reference(self, model: Classifier, grant: Grant, *, rows: Rows, dev: Rows, progress: Progress) -> Classifier:
        """A trained teacher where one is granted, else a mapping that was turned wholly and is read one class back.

        What such a mapping says of content is nearly what an honest model says (right on 63 and 76 % of movie reviews after 400
        steps), and a trigger moves it the other way; around a trigger it says nothing of the words beside it.
        """
        if grant.teacher is not None:
            return train_teacher(model, grant, rows=rows, dev=dev, options=self.teacher, progress=progress)[0]
        back = self._turned(model, grant, wholly=True, progress=progress).mapped.model
        return back.with_module(TurnedBack(back.module))


class _Turned(NamedTuple):
    """The mapping, the clean rows that it was trained on and ended by, the others, and warnings."""

    mapped: Mapped
    compared: Rows
    rest: Rows
    warnings: list[str]


def _unchanged(
    model: Classifier,
    told: dict[str, Any],
    *,
    curves: Sequence[Curve],
    warnings: Sequence[str],
    history: History | None = None,
    detected: Detection | None = None,
    stated: tuple[PurificationOutcome, str] = NOTHING_FOUND,
) -> Purified:
    """The model as it was; ``history`` is of a student that was trained in vain, ``stated`` the outcome and its account."""
    return Purified(
        model,
        changed=False,
        history=history or History(),
        outcome=stated[0],
        summary=stated[1],
        metadata=told,
        curves=list(curves),
        warnings=list(warnings),
        detected=detected,
    )


def _outcome(watch: Watch, *, searched: bool = False) -> PurificationOutcome:
    """What the last look of the defender says of the student."""
    if not watch.calmed():
        return PurificationOutcome.ROWS_STILL_FOLLOWED
    return PurificationOutcome.SEARCH_FINDS_NOTHING if searched else PurificationOutcome.ROWS_NO_LONGER_FOLLOWED


def _account(watch: Watch, *, flagged: int = 0, insertions: int = 0) -> str:
    """What was done and seen, in a sentence."""
    what = f"{flagged} flagged rows" if flagged else f"{insertions} insertions"
    return (
        f"{what} were unlearned: of the watched rows with them the model calls {watch.agreements[-1]:.0%} by their label "
        f"(before {watch.agreements[0]:.0%}, an honest model about {watch.calm:.0%})"
    )


def _seen(watch: Watch) -> dict[str, Any]:
    return {
        "dev_accuracy_before": watch.before,
        "dev_accuracy_after": watch.accuracies[-1],
        "agreement_before": watch.agreements[0],
        "agreement_after": watch.agreements[-1],
        "calm_agreement": watch.calm,
    }


def _left(watch: Watch) -> list[str]:
    """What there is to say where the student is not as calm as an honest model."""
    if watch.calmed():
        return []
    return [
        f"after all cycles {watch.agreements[-1]:.0%} of the watched flagged rows are still called by their label (an honest "
        f"model: about {watch.calm:.0%}), and held-out accuracy went from {watch.before:.1%} to {watch.accuracies[-1]:.1%}"
    ]


def _watched(watches: Sequence[Watch]) -> list[Curve]:
    """Accuracy and agreement cycle by cycle."""
    accuracies = [value for watch in watches for value in watch.accuracies]
    agreements = [value for watch in watches for value in watch.agreements]
    x: list[float | None] = [float(i) for i in range(len(accuracies))]
    return [
        Curve(
            "held-out clean accuracy", "what the defender sees", x, list(accuracies), x_label="cycle", y_label="share"
        ),
        Curve(
            "flagged labels still said", "what the defender sees", x, list(agreements), x_label="cycle", y_label="share"
        ),
    ]
