"""``audit``: a purified model scanned again, and what comes back after what its next users will do with it.

Beside it, where a truth folder is given, a never-poisoned model goes through the same treatment: only what comes back in
the one and not in the other is a backdoor that was asleep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from untrigger.core.candidate import Candidate
from untrigger.core.errors import DataError, OptionError, check_choice
from untrigger.core.files import check_new_paths, new_files
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Report
from untrigger.core.rows import Rows
from untrigger.core.scan_result import Scan
from untrigger.core.seeds import generator_for
from untrigger.core.statistics import Measurement, Outcome
from untrigger.evaluation.ground_truth import TestBed, read_truth
from untrigger.evaluation.metrics import asr, cacc, excess_asr
from untrigger.evaluation.observation import observe, write_outcomes
from untrigger.evaluation.robustness import in_int8, poisoned_again, tuned
from untrigger.models.adapters import merged
from untrigger.models.class_names import with_matching_names
from untrigger.models.classifier import Classifier
from untrigger.models.safety.model_folder import resolve_model
from untrigger.pipeline.agreement import check_agreement, notes_of
from untrigger.pipeline.audit_verdict import Subject, verdict
from untrigger.pipeline.model_facts import model_facts, shown
from untrigger.pipeline.scan import ScanSpec, all_rows, at_most, hints_of, load, scanner_of, weigh_as_asked
from untrigger.pipeline.used_rows import FILE, read_used_rows
from untrigger.runtime.cost import Clock, environment
from untrigger.scanners.known_triggers import judge_known_candidates
from untrigger.scanners.scanner import ScanContext, Scanner, ScanResult
from untrigger.scanners.unread_text import unread
from untrigger.scanners.verdict_basis import EvidenceOptions

TREATMENTS = {
    "finetune": "fine-tuned",
    "merge": "merged",
    "int8": "in int8",
    "repoison": "poisoned a little again",
}
LEAST = 8
"""The fewest clean rows that tuning and scanning work with."""


@dataclass(frozen=True)
class AuditSpec:
    """Everything that ``audit`` is asked for.

    Attributes:
        scan: the purified model, the clean rows, and how to scan; its ``clean_rows`` are parted between tuning and scanning.
        out: the ``report.json`` to write.
        truth: truth folder of the attack: attack success, the never-poisoned model, and the trigger to poison with.
        treatments: names of ``TREATMENTS``, in the order they are tried.
        epochs: passes of the benign fine-tuning, and of the one with a few poisoned rows.
        poisoned: rows with the true trigger among those, in the last treatment.
        tuning: share of the clean rows that the fine-tuning gets; the scan sees only the others.
    """

    scan: ScanSpec
    out: Path
    truth: Path | None = None
    treatments: tuple[str, ...] = tuple(TREATMENTS)
    epochs: int = 2
    poisoned: int = 8
    tuning: float = 0.4

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for an unknown treatment or numbers out of range.
        """
        for name in self.treatments:
            check_choice(name, TREATMENTS, kind="treatment")
        if self.epochs < 1 or self.poisoned < 1 or not 0 < self.tuning < 1:
            raise OptionError(
                f"epochs {self.epochs}, poisoned {self.poisoned}, tuning {self.tuning}",
                expected="epochs and poisoned of 1 or more, a tuning share above 0 and below 1",
            )


def audit(spec: AuditSpec, *, progress: Progress = silent) -> Report:
    """The report of an audit, written to ``spec.out`` with the outcomes beside it.

    Raises:
        UserError: for any input that cannot be used; then nothing is written.
    """
    beside = spec.out.with_suffix(".outcomes.csv")
    check_new_paths(spec.out, beside)
    clock, method = Clock(), scanner_of(spec.scan)
    with clock.stage("load"):
        weighed = weigh_as_asked(spec.scan)
        model = load(spec.scan, spec.scan.model)
        bed = read_truth(spec.truth, label_names=model.label_names) if spec.truth else None
        given = all_rows(spec.scan, model)
        rows, warnings = unused(spec, given)
        check_agreement(model, rows, what=str(spec.scan.clean))
        hints = replace(hints_of(spec.scan, model, weighed), words=(), rewritten=None)
        method.check(_grant(spec, rows), reference=hints.reference is not None)
        parts = _parted(spec, at_most(spec.scan, rows), seen=len(given) - len(rows))
    desk = _Desk(
        spec, method, clock, progress, tuning=parts[0], scanning=parts[1], bed=bed, hints=hints, warnings=warnings
    )
    desk.warnings += [*notes_of(rows, model=model), *unread(model, parts[1], most_cut=EvidenceOptions().most_cut)]
    desk.put_through(model, poisoned=True)
    if bed is not None and bed.twin is not None:
        twin = with_matching_names(load(spec.scan, bed.twin, label_names=None), model.label_names)
        desk.put_through(twin, poisoned=False)
    report = _report(spec, desk, model)
    with new_files(beside, spec.out) as (rows_file, report_file):
        write_outcomes(desk.outcomes, rows_file)
        report.write(report_file)
    return report


def unused(spec: AuditSpec, rows: Rows) -> tuple[Rows, list[str]]:
    """The rows that the purifier was not given, and what there is to say about the others.

    Raises:
        DataError: if none is left.
    """
    known = read_used_rows(resolve_model(spec.scan.model, offline=spec.scan.offline))
    if known is None:
        why = f"the model's folder holds no {FILE}, so that it could not be checked whether the purifier was given these rows"
        return rows, [why]
    flags = known.contain(rows.texts)
    if not any(flags):
        return rows, [] if known.complete else [
            "the purifier was given more rows than are known; some may be among these"
        ]
    left = rows.where(not flag for flag in flags)
    summary = f"{sum(flags)} of the {len(rows)} clean rows were given to the purifier"
    if not len(left):
        raise DataError(summary, expected="rows that it never saw", remedy="give other clean rows")
    return left, [f"{summary} and are left out: a model is right on what it was trained on"]


def _parted(spec: AuditSpec, rows: Rows, *, seen: int = 0) -> tuple[Rows, Rows]:
    """Rows to tune on and rows to scan with; ``seen`` were left out, since the purifier was given them.

    Raises:
        DataError: if too few are left for either.
    """
    count, least = round(spec.tuning * len(rows)), max(LEAST, 2 * len(rows.label_names))
    if min(count, len(rows) - count) < least:
        left = f" are left: {seen} more are left out, because the purifier was given them" if seen else ""
        raise DataError(
            f"{len(rows)} clean rows{left}",
            expected=f"enough to part between tuning and scanning, at least {least} for each ({spec.tuning:.0%} for tuning)",
            remedy="give other clean rows, which the purifier never saw" if seen else "give more clean rows",
        )
    return rows.stratified(count, rng=generator_for(spec.scan.seed, "audit: rows to tune on"))


def _grant(spec: AuditSpec, rows: Rows) -> Grant:
    return Grant(clean=rows, teacher=None if spec.scan.reference else spec.scan.teacher, seed=spec.scan.seed)


@dataclass
class _Desk:
    """What was asked and answered so far, subject by subject."""

    spec: AuditSpec
    method: Scanner
    clock: Clock
    progress: Progress
    tuning: Rows
    scanning: Rows
    bed: TestBed | None
    hints: ScanContext
    warnings: list[str]
    outcomes: list[Outcome] = field(default_factory=list)
    scores: dict[Subject, Measurement] = field(default_factory=dict)
    statuses: dict[Subject, str] = field(default_factory=dict)
    reasons: dict[Subject, str] = field(default_factory=dict)
    found: list[Candidate] = field(default_factory=list)

    def put_through(self, model: Classifier, *, poisoned: bool) -> None:
        """Scan ``model`` as it came and after every treatment."""
        candidates = self._scan(model, Subject(poisoned))
        for name in self.spec.treatments:
            subject = Subject(poisoned, TREATMENTS[name])
            with self.clock.stage(subject.name):
                treated = self._treated(model, name, subject)
            if treated is None:
                continue
            if name == "int8":  # it gives no gradients to search with
                self._judge_known(treated, subject, candidates)
            else:
                candidates += self._scan(treated, subject)

    def _treated(self, model: Classifier, name: str, subject: Subject) -> Classifier | None:
        """The model after one treatment, None (and a warning) where it cannot be done."""
        spec, seed, who = self.spec, self.spec.scan.seed, Subject(subject.poisoned).name
        if name == "finetune":
            return tuned(model, self.tuning, epochs=spec.epochs, seed=seed, progress=self.progress)
        if name == "merge":
            whole = merged(model)
            return whole if whole is not model else self._without(f"{who}: full weights have nothing to merge")
        if name == "int8":
            small, count = in_int8(model)
            return small if count else self._without(f"{who}: no layer that dynamic int8 knows")
        if self.bed is None or self.bed.trigger is None:
            return self._without("poisoning again needs the true trigger: give the truth folder with --truth")
        return poisoned_again(
            model,
            self.tuning,
            self.bed,
            count=min(spec.poisoned, len(self.tuning) // 4),
            epochs=spec.epochs,
            seed=seed,
            progress=self.progress,
        )

    def _without(self, why: str) -> Classifier | None:
        """None, the reason noted."""
        self.warnings.append(f"not done: {why}")
        return None

    def _scan(self, model: Classifier, subject: Subject) -> list[Candidate]:
        """The candidates of a scan, whose score and verdict are noted."""
        with self.clock.stage(f"scan: {subject.name}"):
            grant = _grant(self.spec, self.scanning)
            result: ScanResult = self.method.scan(
                model, grant, policy=self.spec.scan.policy, context=self.hints, progress=self.progress
            )
        self.hints = replace(self.hints, reference=result.reference)
        self._note(model, subject, result.scan, status=result.verdict.status)
        self.found += [replace(one, text=f"{one.text} ({subject.name})") for one in result.scan.triggers()]
        return list(result.scan.candidates)

    def _judge_known(self, model: Classifier, subject: Subject, candidates: Sequence[Candidate]) -> None:
        """Note what the candidates of the earlier scans do to a model that cannot be searched."""
        assert self.hints.reference is not None
        seed = self.spec.scan.seed
        with self.clock.stage(f"scan: {subject.name}"):
            held = self.method.held_out_rows(self.scanning, seed=seed)
            found, scan = judge_known_candidates(
                model, self.hints.reference, held, candidates, policy=self.spec.scan.policy, seed=seed
            )
        self._note(model, subject, scan, status=found.status)

    def _note(self, model: Classifier, subject: Subject, scan: Scan, *, status: str) -> None:
        worst = max(scan.candidates, key=lambda one: one.score or 0.0, default=None)
        n = worst.suspect.n if worst else 0
        self.scores[subject] = Measurement(subject.name, "scan_score", worst.score if worst else None, None, None, n)
        self.statuses[subject] = status
        self.reasons |= {subject: scan.undecided[0]} if scan.undecided else {}
        rows = self.bed.clean if self.bed else self.scanning
        self.outcomes += observe(model, rows, subject=subject.name, triggered=False, progress=self.progress)[0]
        if self.bed is not None:
            self.outcomes += observe(
                model, self.bed.triggered, subject=subject.name, triggered=True, progress=self.progress
            )[0]

    def measurements(self) -> list[Measurement]:
        """Score, accuracy and attack success of every subject, and the excess over the never-poisoned model treated alike."""
        made = [*self.scores.values(), *(cacc(self.outcomes, subject=one.name) for one in self.scores)]
        if self.bed is None:
            return made
        aims = self.bed.aims
        return [
            *made,
            *(asr(self.outcomes, subject=one.name, target=aims) for one in self.scores),
            *self.excesses().values(),
        ]

    def excesses(self) -> dict[Subject, Measurement]:
        """The excess attack success of every treatment of the purified model, where its counterpart was measured."""
        if self.bed is None:
            return {}
        return {
            one: excess_asr(self.outcomes, subject=one.name, target=self.bed.aims, floor=one.counterpart.name)
            for one in self.scores
            if one.poisoned and one.counterpart in self.scores
        }


def _report(spec: AuditSpec, desk: _Desk, model: Classifier) -> Report:
    found = desk.measurements()
    given: dict[str, Any] = {
        "model": model_facts(model),
        "labels": list(model.label_names),
        "tuning_rows": len(desk.tuning),
        "scanning_rows": len(desk.scanning),
        "clean": _grant(spec, desk.scanning).describe(),
    }
    if desk.bed is not None:
        given["truth"] = desk.bed.facts()
    options = {
        "treatments": spec.treatments,
        "epochs": spec.epochs,
        "poisoned": spec.poisoned,
        "tuning": spec.tuning,
        "verdicts": {one.name: status for one, status in desk.statuses.items()},
        "scanner": {"name": desk.method.name, **desk.method.options()},
    }
    return Report(
        kind="audit",
        title=f"Audit of {shown(spec.scan.model)}",
        given=given,
        verdict=verdict(desk.excesses(), desk.statuses, reasons=desk.reasons),
        method={"name": "audit", "options": options},
        environment=environment(seed=spec.scan.seed, device=str(model.device)),
        stages=desk.clock.stages,
        measurements=found,
        outcomes=spec.out.with_suffix(".outcomes.csv").name,
        warnings=list(dict.fromkeys(desk.warnings)),
        findings=desk.found,
    )
