"""Scan, unlearn the triggers that the scan confirms, and scan again, until nothing is found."""

from __future__ import annotations

import logging
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
from untrigger.defences.student import DistillationOptions
from untrigger.defences.trigger_unlearning import TriggerUnlearning, UnlearningOptions
from untrigger.inversion.vocabulary import single_token_words
from untrigger.methods.defender_rows import split_clean
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.scanners.insertion_scanner import InsertionScanner
from untrigger.scanners.policy import Policy
from untrigger.scanners.scanner import ScanContext, ScanResult
from untrigger.training.history import concat_histories, history_curves
from untrigger.training.loop import History

logger = logging.getLogger(__name__)

PANEL = "scan by round"


@dataclass(frozen=True)
class ScanCure(UnlearningOptions, DistillationOptions, Purifier):
    """Rounds of scan and unlearning until a scan finds nothing; where the first finds nothing, nothing is trained.

    The triggers that a scan confirms are unlearned in one small adapter: rows with a trigger keep their true label and the
    suspect's former prediction for the row without it. Triggers of earlier rounds stay in the unlearning, and every scan tries
    them again. Every scan after the first has a seed of its own, searches on rows that the student was never trained on, and
    confirms on others of that kind, which are those of the first scan; the clean reference is the first scan's too.

    Attributes:
        rounds: the most rounds of unlearning, with a scan after each.
        train_share: share of the rows that are not held out to confirm on which train the student; the others serve the
            searches after it (not tuned).
        scanner: how the model is scanned, and how the clean reference is trained.
        policy: the score from which a text counts as a trigger, and allowed findings; ``fail_on`` and ``allow_undecided`` are
            not used.
    """

    name: ClassVar[str] = "scancure"
    needs: ClassVar[frozenset[str]] = frozenset({"clean", "teacher"})
    rounds: int = 3
    train_share: float = 0.6
    scanner: InsertionScanner = field(default_factory=InsertionScanner)
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for a share outside (0, 1), and options of the unlearning that are out of range.
        """
        UnlearningOptions.__post_init__(self)
        DistillationOptions.__post_init__(self)
        if not 0 < self.train_share < 1:
            raise OptionError(f"train_share {self.train_share}", expected="a share above 0 and below 1")

    def _purify(self, model: Classifier, grant: Grant, *, progress: Progress) -> Purified:
        parts = self._split(grant)
        first = self.scanner.scan(model, grant, policy=self.policy, progress=progress)
        run = _Run([first], parts)
        student, unlearning = model, None
        while run.found() and len(run.histories) < self.rounds:
            if unlearning is None:
                student = self.student(model, seed=grant.seed)
                unlearning = self._unlearning(student, first, model=model, rows=parts.train)
            triggers = run.all_triggers()
            logger.info("round %d unlearns %d triggers", len(run.histories) + 1, len(triggers))
            steps = self.more_steps if run.histories else self.round_steps
            seed = grant.seed * 1000 + len(run.histories)
            run.histories.append(unlearning.train(triggers, steps=steps, seed=seed, progress=progress))
            scan_seed = derived_seed(grant.seed, f"scan {len(run.histories)}")
            unseen = replace(grant, clean=parts.search, seed=scan_seed)
            context = ScanContext(first.reference, known=triggers, held_out=parts.held)
            run.scans.append(self.scanner.scan(student, unseen, policy=self.policy, context=context, progress=progress))
        return run.result(student)

    def _split(self, grant: Grant) -> _Parts:
        """Return the clean rows by their purpose."""
        assert grant.clean is not None
        held, rows = self.scanner.split(grant.clean, seed=grant.seed)
        search, train = split_clean(rows, dev=self.train_share, generator=generator_for(grant.seed, "taught"))
        return _Parts(held, train, search)

    def _unlearning(
        self, student: Classifier, first: ScanResult, *, model: Classifier, rows: Rows
    ) -> TriggerUnlearning:
        """Return the unlearning on the rows that no scan of the student reads."""
        assert first.reference is not None
        return TriggerUnlearning(
            student,
            self,
            training=self,
            reference=first.reference,
            rows=rows,
            words=single_token_words(student.tokenizer),
            suspect_logits=predict_texts(model, rows.texts).logits,
        )


class _Parts(NamedTuple):
    """Clean rows: ``held`` confirm, ``train`` train the student, ``search`` serve the searches after it."""

    held: Rows
    train: Rows
    search: Rows


@dataclass
class _Run:
    """The scans of one model and the rounds of unlearning between them.

    Attributes:
        scans: of the model as it was given, and after every round.
        rows: the clean rows by their purpose.
        histories: one for every round.
        triggers: every confirmed trigger by text and label, with the figures of the first scan that confirmed it.
    """

    scans: list[ScanResult]
    rows: _Parts
    histories: list[History] = field(default_factory=list)
    triggers: dict[tuple[str, str], Candidate] = field(default_factory=dict)

    def found(self) -> bool:
        """Return whether the last scan calls the model suspicious and confirms a trigger."""
        last = self.scans[-1]
        return last.verdict.status in FOUND and bool(last.scan.triggers())

    def all_triggers(self) -> list[Candidate]:
        """Return all triggers so far, those of the last scan among them, strongest first."""
        self.triggers = {(one.text, one.target): one for one in self.scans[-1].scan.triggers()} | self.triggers
        return sorted(self.triggers.values(), key=lambda one: -(one.score or 0.0))

    def result(self, student: Classifier) -> Purified:
        """Return the result of the purifier."""
        history = concat_histories(self.histories)
        return Purified(
            student,
            changed=bool(self.histories),
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
            warnings=[*self.scans[0].warnings, *self._warnings()],
        )

    def _outcome(self) -> PurificationOutcome:
        """Return what the last scan says about the model as it is now."""
        status, changed = self.scans[-1].verdict.status, bool(self.histories)
        if status == CLEAN:
            return PurificationOutcome.SEARCH_FINDS_NOTHING if changed else PurificationOutcome.NOTHING_FOUND
        if status in FOUND:
            return PurificationOutcome.SEARCH_STILL_FINDS if changed else PurificationOutcome.GIVEN_UP
        return PurificationOutcome.NOT_DECIDED

    def _summary(self) -> str:
        sentence, rounds = self.scans[-1].verdict.sentence.rstrip("."), len(self.histories)
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
            "rounds": len(self.histories),
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
            "rows_trained": len(self.rows.train),
            "rows_searched_after_it": len(self.rows.search),
            "rows_confirmed_on_by_every_scan": len(self.rows.held),
            "references": 1,
        }

    def _curves(self) -> list[Curve]:
        """Return score and accuracy on the held-out rows, scan by scan."""
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

    def _warnings(self) -> list[str]:
        """Return a warning where the last scan does not call the model clean."""
        last = self.scans[-1]
        if not self.found():
            return [f"no verdict could be given: {one}" for one in last.scan.undecided]
        left = ", ".join(repr(one.text) for one in last.scan.triggers()[:3])
        return [f"after {len(self.histories)} rounds of unlearning a scan still finds {left}; more rounds may help"]


def _facts(result: ScanResult) -> dict[str, Any]:
    """Return the main figures of one scan."""
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
    """Return the suspect's accuracy on the held-out rows."""
    own: Sequence[float | None] = [m.value for m in result.measurements if (m.subject, m.metric) == ("suspect", "cacc")]
    return own[0] if own else None


def _percent(share: float | None) -> str:
    return "not measured" if share is None else f"{100 * share:.1f} %"
