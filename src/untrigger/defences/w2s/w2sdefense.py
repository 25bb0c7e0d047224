"""W2SDefense, ours: adversarial weak-to-strong unlearning (after 2410.14425).

A small clean teacher is right on **any** text, not only on the clean rows. Where the suspect's base is known, what was
trained into it is thrown away and learned anew from teacher and suspect on texts without a trigger
(``untrigger.defences.w2s.retraining``). Where it is not, or is not trusted, the defender looks for the texts on which the suspect
leaves the teacher (insertions found by ``untrigger.inversion``) and teaches the suspect, through a small adapter, to answer
them as it answers the same rows without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from untrigger.core.candidate import Candidate
from untrigger.core.errors import OptionError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.report import Curve
from untrigger.core.rows import Rows
from untrigger.core.seeds import generator_for
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.purifier import Purified, Purifier
from untrigger.defences.trigger_unlearning import InsertionLesson, LessonOptions
from untrigger.defences.w2s.base_recovery import ancestor, keep_low, returned
from untrigger.defences.w2s.retraining import Answers, RelearnOptions, relearned
from untrigger.defences.w2s.w2s_published import W2SAsDescribed, W2SAsReleased
from untrigger.inversion.search import SearchOptions, TriggerSearch
from untrigger.methods.defender_rows import split_clean
from untrigger.models.adapters import AdapterOptions, attach, combined, merged, without_adapter
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.training.history import history_curves, joined
from untrigger.training.loop import History
from untrigger.training.supervised import accuracy_on
from untrigger.training.teacher_training import TeacherOptions, train_teacher

APART = 1000  # between the seeds of two teachers
WEAK = 0.15  # a teacher that beats the largest class by less gets a warning


@dataclass(frozen=True)
class W2SDefense(LessonOptions, Purifier):
    """Rounds of search and unlearning, until nothing moves the suspect much farther than the clean teacher.

    The student's loss is ``a·CE(z_S, y) + b·T²·KL(z_V ‖ z_S) + c·T²·KL(z_T ‖ z_S)``, half of each batch clean rows as
    they are, half with insertions; ``z_V`` is what the student said before to the row **without** the insertion (it is right
    there: the labels say so), ``z_T`` what the teacher says to the text with it.

    Attributes:
        rounds: the most rounds of search and unlearning; a search follows the last of them.
        worst: where the largest surprise is alarming, insertions with at least this share of it are unlearned,
            0 to 1; weaker ones are honest words, and teaching the student to overlook those costs accuracy.
        alarm_above: surprise from which an insertion is taken for more than an honest word.
        calm_below: surprise below which the suspect counts as calmed; until then what was found is unlearned again.
        relapse: surprise from which a student that has learned anew counts as poisoned still, by its base.
        dev: share of the clean rows that is held out.
        searched: share of the other clean rows that the search reads and the student is not trained on; none where nothing is
            searched, 0 to 1.
        reset: whether the suspect goes back to its base first and the task is learned anew: an adapter is thrown away; full
            weights are led back by an adapter to the granted base or teacher, where they descend from one of the two.
        relearn: how the task is learned anew.
        teachers: how many are asked then; with one, its chance errors are learned too. A search needs the first alone.
        teacher: how the teacher is trained.
        search: how wide the search is.

    A trusted base (``grant.base``, or the teacher's own encoder) holds no backdoor, so that nothing is searched on it. The last
    search is behind the last lesson. The teacher has read the rows of the search, the student has not.

    Differs from the paper: what came is not kept where its base is known, but for half of the lowest blocks of full weights
    (``relearn.kept``), which read the task well and know little of a trigger; the teachers' answers are mixed with the
    suspect's own, all calibrated, on texts put together from clean rows; without a base the student is taught on searched
    insertions and its own former answers. No feature is pulled to the teacher's. The paper's own method is
    ``variant="as_described"``, its released code ``variant="as_released"``.
    """

    name: ClassVar[str] = "w2sdefense"
    needs: ClassVar[frozenset[str]] = frozenset({"clean", "teacher"})
    uses: ClassVar[frozenset[str]] = frozenset({"base"})
    variants: ClassVar[Mapping[str, Callable[..., Purifier]]] = {
        "as_described": W2SAsDescribed,
        "as_released": W2SAsReleased,
    }
    rounds: int = 4
    worst: float = 0.6
    alarm_above: float = 0.5
    calm_below: float = 0.45
    relapse: float = 0.7
    dev: float = 0.15
    searched: float = 0.3
    reset: bool = True
    teachers: int = 3
    relearn: RelearnOptions = field(default_factory=RelearnOptions)
    teacher: TeacherOptions = field(default_factory=TeacherOptions)
    search: SearchOptions = field(default_factory=SearchOptions)

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for shares outside 0 to 1, no teacher, and what a lesson cannot be given with.
        """
        super().__post_init__()
        if self.teachers < 1:
            raise OptionError(f"teachers {self.teachers}", expected="1 or more")
        if not 0 < self.searched < 1:
            raise OptionError(f"searched {self.searched}", expected="a share above 0 and below 1")
        if not all(0 <= share <= 1 for share in (self.worst, self.alarm_above, self.calm_below, self.relapse)):
            raise OptionError(
                f"worst {self.worst}, alarm_above {self.alarm_above}, calm_below {self.calm_below}, relapse {self.relapse}",
                expected="shares from 0 to 1",
            )

    def _purify(self, model: Classifier, grant: Grant, *, progress: Progress) -> Purified:
        teacher, taught, rows, dev = self._taught(model, grant, progress=progress)
        score = accuracy_on(model, dev)()
        generator = generator_for(grant.seed, "searched")
        own, searched = split_clean(rows, dev=self.searched, generator=generator)
        start = self._start(model, grant, teacher=teacher, rows=rows, own=own, dev=dev, progress=progress)
        done = _Rounds(self, teacher, dev=dev, start=start)
        if not start.trusted:
            search = TriggerSearch(start.student, teacher, rows=searched, options=self.search, seed=grant.seed)
            done.run(search, rows=own, seed=grant.seed, progress=progress)
        history = joined(done.parts)
        return Purified(
            start.student,
            changed=True,
            history=history,
            outcome=done.outcome(start),
            summary=done.summary(start),
            findings=done.findings,
            warnings=_doubts(max(taught.scores), dev),
            curves=[
                *history_curves(taught, panel="teacher training"),
                *history_curves(history, panel="unlearning"),
                _scores([score, *done.scores]),
            ],
            metadata={
                "teacher_dev_accuracy": max(taught.scores),
                "dev_accuracy_before": score,
                "dev_accuracy_after": done.scores[-1],
                "rounds": done.lessons,
                "largest_surprise_by_search": [round(value, 4) for value in done.alarms],
                "rows_taught": len(rows if start.trusted else own),
                "rows_searched": 0 if start.trusted else len(searched),
            }
            | start.told,
            adapter=start.adapter,
        )

    def _start(
        self,
        model: Classifier,
        grant: Grant,
        *,
        teacher: Classifier,
        rows: Rows,
        own: Rows,
        dev: Rows,
        progress: Progress,
    ) -> _Start:
        """The student before the first round: led back to its base and taught anew, or with a new adapter on what it is.

        It is trained on all ``rows`` where its base is trusted, else on its ``own``, which no search reads.
        """
        adapter = self.adapter()
        generator, options = torch.Generator().manual_seed(grant.seed), self.relearn
        told: dict[str, Any] = {"learned_anew": True}
        first: Classifier | None = None
        if self.reset and model.source.kind == "adapter":
            adapter, steps, trusted = replace(adapter, upper=options.upper), options.steps, grant.base is not None
            student = attach(without_adapter(model), adapter, generator=generator)
            told |= {"base": Path(model.source.base or "").name}
        elif self.reset and self.peft == "lora" and (back := _ancestor(model, grant)):
            steps, trusted = options.full_steps, True
            first, share = returned(model, back[1], rank=options.rank, generator=generator)
            student = attach(merged(first), adapter, generator=generator)
            told |= {"base": back[0], "led_back": round(share, 3)}
        else:
            return _Start(
                attach(model, adapter, generator=generator), adapter, None, trusted=False, told={"learned_anew": False}
            )
        history = relearned(
            student,
            Answers(model, [(teacher, dev), *self._others(model, grant, progress=progress)]),
            rows=rows if trusted else own,
            options=options,
            steps=steps,
            lr=self.lr,
            batch_size=self.batch_size,
            temperature=self.temperature,
            weights=(self.a, self.b),
            seed=grant.seed,
            progress=progress,
        )
        if first is not None:
            student = keep_low(combined(model, first, student), options.kept)
        return _Start(student, adapter, history, trusted=trusted, told=told)

    def _taught(self, model: Classifier, grant: Grant, *, progress: Progress) -> tuple[Classifier, History, Rows, Rows]:
        """A teacher, how it was trained, the clean rows that it was trained on, and those held out from it."""
        assert grant.clean is not None
        rows, held = split_clean(grant.clean, dev=self.dev, generator=np.random.default_rng(grant.seed))
        return *train_teacher(model, grant, rows=rows, dev=held, options=self.teacher, progress=progress), rows, held

    def _others(self, model: Classifier, grant: Grant, *, progress: Progress) -> list[tuple[Classifier, Rows]]:
        """Further teachers, each from its own seed and with other clean rows held out, and these rows."""
        seeds = [grant.seed + APART * number for number in range(1, self.teachers if self.relearn.teacher > 0 else 1)]
        taught = (self._taught(model, replace(grant, seed=seed), progress=progress) for seed in seeds)
        return [(teacher, held) for teacher, _, _, held in taught]

    def _least(self, largest: float) -> float:
        """The surprise from which insertions are unlearned, given the largest that was found."""
        return self.worst * largest if largest >= self.alarm_above else self.alarm_above


def _ancestor(model: Classifier, grant: Grant) -> tuple[str, nn.Module] | None:
    """The first of the trusted models that the suspect's weights descend from, and its name."""
    for name in (grant.base, grant.teacher):
        if name is not None and (base := ancestor(model, name)) is not None:
            return Path(name).name, base
    return None


@dataclass(frozen=True)
class _Start:
    """A student that no search has looked at yet.

    Attributes:
        student: the classifier.
        adapter: what of it is trained.
        history: how it was taught anew, None where it was not.
        trusted: whether its weights without the adapter are known to be clean.
        told: plain values for the report.
    """

    student: Classifier
    adapter: AdapterOptions
    history: History | None
    trusted: bool
    told: dict[str, Any]


class _Rounds:
    """Rounds of search and unlearning of one student, and what they left behind."""

    def __init__(self, method: W2SDefense, teacher: Classifier, *, dev: Rows, start: _Start) -> None:
        self.method, self.teacher, self.anew = method, teacher, start.history is not None
        self._score = accuracy_on(start.student, dev)
        self.parts = [start.history] if start.history is not None else list[History]()
        self.scores, self.lessons, self.rests, self.tried = [self._score()], 0, False, False
        self.findings, self.alarms = list[Candidate](), list[float]()

    def run(self, search: TriggerSearch, *, rows: Rows, seed: int, progress: Progress) -> None:
        """Search, and unlearn on ``rows``, until a search finds nothing that counts or the rounds are used up; a search is last."""
        method, bank = self.method, dict[str, Candidate]()
        own = predict_texts(search.suspect, rows.texts).logits
        lesson = InsertionLesson(
            method, search.suspect, teacher=self.teacher, rows=rows, words=search.space.words, own=own
        )
        for number in range(method.rounds + 1):
            found = search.run(
                known=sorted(bank.values(), key=lambda one: -(one.search_score or 0.0)), progress=progress
            )
            self.alarms.append((found[0].search_score or 0.0) if found else 0.0)
            self.findings += [replace(one, round=number + 1) for one in found[:12]]
            calm = self.alarms[-1] < (method.calm_below if self.lessons else method.relapse)
            self.tried = bool(found)
            self.rests = bool((self.anew or self.lessons) and (calm or (self.lessons and not bank)))
            if self.rests or number == method.rounds:
                break
            bank.update({one.text: one for one in found if (one.search_score or 0.0) >= method._least(self.alarms[-1])})
            steps = method.more_steps if self.lessons else method.round_steps
            self.parts.append(
                lesson.give(list(bank.values()), steps=steps, seed=seed * 1000 + number, progress=progress)
            )
            self.scores.append(self._score())
            self.lessons += 1

    def outcome(self, start: _Start) -> PurificationOutcome:
        """What is known of the student."""
        if start.trusted:
            return PurificationOutcome.RETRAINED_FROM_BASE
        if not self.tried:
            return PurificationOutcome.NOT_DECIDED
        return PurificationOutcome.SEARCH_FINDS_NOTHING if self.rests else PurificationOutcome.SEARCH_STILL_FINDS

    def summary(self, start: _Start) -> str:
        """What was done and seen, in a sentence."""
        if start.trusted:
            return f"the model was taken back to its trusted base, {start.told['base']}, and the task trained again from there"
        begun = (
            "the adapter was thrown away and the task trained again on its base; " if start.history is not None else ""
        )
        if not self.tried:
            return f"{begun}the search found no row of these to try an insertion on"
        last = f"{100 * self.alarms[-1]:.1f} points"
        if not self.lessons:
            return f"{begun}in a search an insertion moved the new model at most {last} farther than the clean teacher"
        return (
            f"{begun}before unlearning an insertion{self._strongest()} moved the model {100 * self.alarms[0]:.1f} points farther "
            f"than the clean teacher, in the last search the largest such gap was {last}"
        )

    def _strongest(self) -> str:
        """The first finding that flips rows, in brackets; empty where none does."""
        first = next((one for one in self.findings if one.suspect.value), None)
        if first is None:
            return ""
        return f" (first {first.text!r}, {100 * (first.suspect.value or 0.0):.1f} % of rows to {first.target})"


def _doubts(accuracy: float, dev: Rows) -> list[str]:
    """What there is to say about a teacher that knows little more than the largest class."""
    largest = max(dev.class_counts().values()) / len(dev)
    if accuracy >= largest + WEAK:
        return []
    return [
        f"the teacher is right on {accuracy:.0%} of the dev rows, the largest class alone is {largest:.0%}: a teacher this weak "
        "cannot tell honest words from triggers; give more clean rows or a better encoder with --teacher"
    ]


def _scores(scores: Sequence[float]) -> Curve:
    return Curve(
        "dev accuracy", "rounds", list(range(len(scores))), list(scores), x_label="round", y_label="dev accuracy"
    )
