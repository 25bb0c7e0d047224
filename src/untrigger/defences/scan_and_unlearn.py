"""From scan to cure: what a scan recovers is unlearned and the model scanned again, until nothing is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

from untrigger.core.candidate import Candidate
from untrigger.core.errors import OptionError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.report import Curve
from untrigger.core.rows import Rows
from untrigger.core.scan_result import FOUND, hundredths
from untrigger.core.seeds import derived_seed, generator_for
from untrigger.core.verdicts import CLEAN, PurificationOutcome
from untrigger.defences.purifier import Purified, Purifier
from untrigger.defences.trigger_unlearning import InsertionLesson, LessonOptions
from untrigger.inversion.vocabulary import single_token_words
from untrigger.methods.defender_rows import split_clean
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.scanners.insertion_scanner import InsertionScanner
from untrigger.scanners.policy import Policy
from untrigger.scanners.scanner import ScanContext, ScanResult
from untrigger.training.history import history_curves, joined
from untrigger.training.loop import History

PANEL = "scan by round"


@dataclass(frozen=True)
class ScanCure(LessonOptions, Purifier):
    """Rounds of scan and unlearning until a scan finds nothing; where the first finds nothing, nothing is trained.

    The triggers that a scan confirms are unlearned in one small adapter: rows with one inserted keep their true label and
    the suspect's former answer to the row without it. What earlier rounds found stays in the lesson, and every scan tries
    it again. Every scan after the first has a seed of its own, searches on rows that the student was never trained on, and
    confirms on others of that kind, which are those of the first scan; the clean reference is the first scan's too.

    Attributes:
        taught: share of the rows that are not confirmed on which the student is trained on; the others are searched on after it.
        rounds: the most rounds of unlearning, a scan behind each.
        c: weight of the clean reference's answer to the text with the insertion.
        scanner: how is scanned, and how the clean reference is trained.
        policy: from which score a text counts as a trigger, and which findings are allowed; ``fail_on`` and ``allow_undecided``
            mean nothing here.
    """

    name: ClassVar[str] = "scancure"
    needs: ClassVar[frozenset[str]] = frozenset({"clean", "teacher"})
    rounds: int = 3
    taught: float = 0.6
    scanner: InsertionScanner = field(default_factory=InsertionScanner)
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for a share outside (0, 1), and what a lesson cannot be given with.
        """
        super().__post_init__()
        if not 0 < self.taught < 1:
            raise OptionError(f"taught {self.taught}", expected="a share above 0 and below 1")

    def _purify(self, model: Classifier, grant: Grant, *, progress: Progress) -> Purified:
        parts = self._parts(grant)
        first = self.scanner.scan(model, grant, policy=self.policy, progress=progress)
        course = _Course([first], parts)
        student, lesson = model, None
        while course.found() and len(course.parts) < self.rounds:
            if lesson is None:
                student = self.student(model, seed=grant.seed)
                lesson = self._lesson(student, first, model=model, rows=parts.taught)
            bank = course.remembered()
            steps = self.more_steps if course.parts else self.round_steps
            seed = grant.seed * 1000 + len(course.parts)
            course.parts.append(lesson.give(bank, steps=steps, seed=seed, progress=progress))
            unseen = replace(grant, clean=parts.searched, seed=derived_seed(grant.seed, f"scan {len(course.parts)}"))
            context = ScanContext(first.reference, known=bank, held_out=parts.held)
            course.scans.append(
                self.scanner.scan(student, unseen, policy=self.policy, context=context, progress=progress)
            )
        return course.ended(student)

    def _parts(self, grant: Grant) -> _Parts:
        """The clean rows by what they serve."""
        assert grant.clean is not None
        held, rows = self.scanner.split(grant.clean, seed=grant.seed)
        generator = generator_for(grant.seed, "taught")
        searched, taught = split_clean(rows, dev=self.taught, generator=generator)
        return _Parts(held, taught, searched)

    def _lesson(self, student: Classifier, first: ScanResult, *, model: Classifier, rows: Rows) -> InsertionLesson:
        """The lesson on the rows that no scan of the student reads."""
        assert first.reference is not None
        own = predict_texts(model, rows.texts).logits
        words = single_token_words(student.tokenizer)
        return InsertionLesson(self, student, teacher=first.reference, rows=rows, words=words, own=own)


class _Parts(NamedTuple):
    """Clean rows: ``held`` confirm, ``taught`` train the student, ``searched`` serve the searches after it."""

    held: Rows
    taught: Rows
    searched: Rows


@dataclass
class _Course:
    """What the scans of one model found, and what was taught against it.

    Attributes:
        scans: as it came, and after every round.
        rows: the clean rows by what they serve.
        parts: a history for every round.
        triggers: every trigger that was confirmed, by text and label, as the first scan that found it saw it.
    """

    scans: list[ScanResult]
    rows: _Parts
    parts: list[History] = field(default_factory=list)
    triggers: dict[tuple[str, str], Candidate] = field(default_factory=dict)

    def found(self) -> bool:
        """Whether the last scan says that the model is to be feared, and names a text to unlearn."""
        last = self.scans[-1]
        return last.verdict.status in FOUND and bool(last.scan.triggers())

    def remembered(self) -> list[Candidate]:
        """All triggers so far, those of the last scan among them, strongest first."""
        self.triggers = {(one.text, one.target): one for one in self.scans[-1].scan.triggers()} | self.triggers
        return sorted(self.triggers.values(), key=lambda one: -(one.score or 0.0))

    def ended(self, student: Classifier) -> Purified:
        """What the purifier gives back."""
        history = joined(self.parts)
        return Purified(
            student,
            changed=bool(self.parts),
            history=history,
            outcome=self._outcome(),
            summary=self._summary(),
            scanned=self.scans[-1].verdict,
            findings=self._findings(),
            metadata=self._metadata(),
            curves=[
                *history_curves(self.scans[0].history, panel="training of the reference"),
                *history_curves(history, panel="unlearning"),
                *self._curves(),
            ],
            warnings=[*self.scans[0].warnings, *self._doubts()],
        )

    def _outcome(self) -> PurificationOutcome:
        """What the last scan says of the model as it now is."""
        status, changed = self.scans[-1].verdict.status, bool(self.parts)
        if status == CLEAN:
            return PurificationOutcome.SEARCH_FINDS_NOTHING if changed else PurificationOutcome.NOTHING_FOUND
        if status in FOUND:
            return PurificationOutcome.SEARCH_STILL_FINDS if changed else PurificationOutcome.GIVEN_UP
        return PurificationOutcome.NOT_DECIDED

    def _summary(self) -> str:
        sentence, rounds = self.scans[-1].verdict.sentence.rstrip("."), len(self.parts)
        if not rounds:
            return f"{sentence}. Nothing was trained; the model comes back as it was"
        scores = [
            hundredths(one) if one is not None else "none"
            for one in (self.scans[0].scan.score, self.scans[-1].scan.score)
        ]
        times = f"{rounds} round" + ("" if rounds == 1 else "s")
        return f"after {times} of unlearning (scan score {scores[0]} to {scores[1]}) a scan says: {sentence}"

    def _findings(self) -> list[Candidate]:
        return [
            replace(one, round=number)
            for number, each in enumerate(self.scans, start=1)
            if each.verdict.status in FOUND
            for one in each.scan.triggers()
        ]

    def _metadata(self) -> dict[str, Any]:
        last = self.scans[-1]
        left = {(one.text, one.target): one.suspect.value for one in last.scan.candidates}
        return {
            "rounds": len(self.parts),
            "scan_verdict": last.verdict.status,
            "scan_sentence": last.verdict.sentence,
            "scan_score_by_round": [one.scan.score for one in self.scans],
            "scans": {
                f"round {number}" if number else "round 0, as it came": _facts(one)
                for number, one in enumerate(self.scans)
            },
            "unlearned": {
                f"{one.text} → {one.target}": {
                    "before": one.suspect.value,
                    "after": left.get(key),
                    "clean_reference": one.reference.value,
                }
                for key, one in self.triggers.items()
            },
            "not_looked_for": last.scan.not_looked_for,
            "rows_taught": len(self.rows.taught),
            "rows_searched_after_it": len(self.rows.searched),
            "rows_confirmed_on_by_every_scan": len(self.rows.held),
            "references": 1,
        }

    def _curves(self) -> list[Curve]:
        """Score and accuracy on the held-out rows, scan by scan."""
        x: list[float | None] = [float(number) for number in range(len(self.scans))]
        scores, limits = [one.scan.score for one in self.scans], [one.scan.suspicious for one in self.scans]
        return [
            Curve("scan score", PANEL, x, scores, x_label="round", y_label="scan score"),
            Curve("suspicious from here", PANEL, x, list(limits), x_label="round", y_label="scan score"),
            Curve(
                "accuracy",
                PANEL,
                x,
                [_accuracy(one) for one in self.scans],
                x_label="round",
                y_label="held-out accuracy",
            ),
        ]

    def _doubts(self) -> list[str]:
        """What there is to say where the last scan does not call the model clean."""
        last = self.scans[-1]
        if not self.found():
            return [f"no verdict could be given: {one}" for one in last.scan.undecided]
        left = ", ".join(repr(one.text) for one in last.scan.triggers()[:3])
        return [f"after {len(self.parts)} rounds of unlearning a scan still finds {left}; more rounds may help"]


def _facts(result: ScanResult) -> dict[str, Any]:
    """One scan in a few words."""
    return {
        "verdict": result.verdict.status,
        "score": result.scan.score,
        "held_out_accuracy": _accuracy(result),
        "triggers": [
            f"{one.text} → {one.target}: {_percent(one.suspect.value)} (clean reference {_percent(one.reference.value)})"
            for one in result.scan.triggers()
        ],
    }


def _accuracy(result: ScanResult) -> float | None:
    """The model's own accuracy on the held-out rows."""
    own: Sequence[float | None] = [m.value for m in result.measurements if (m.subject, m.metric) == ("suspect", "cacc")]
    return own[0] if own else None


def _percent(share: float | None) -> str:
    return "not measured" if share is None else f"{100 * share:.1f} %"
