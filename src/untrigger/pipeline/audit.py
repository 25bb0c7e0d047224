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
from untrigger.core.errors import DataError
from untrigger.core.files import check_new_paths, new_files
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Report
from untrigger.core.rows import Rows
from untrigger.core.scan_result import Scan
from untrigger.core.seeds import generator_for
from untrigger.core.statistics import Measurement, Outcome
from untrigger.evaluation.ground_truth import GroundTruth, read_truth
from untrigger.evaluation.metrics import asr, cacc, excess_asr
from untrigger.evaluation.observation import predict_outcomes, write_outcomes
from untrigger.evaluation.robustness import fine_tuned, quantized_to_int8, repoisoned
from untrigger.models.adapter_merging import merge_adapter
from untrigger.models.classifier import Classifier
from untrigger.pipeline.agreement import notes_of
from untrigger.pipeline.audit_verdict import Subject, verdict
from untrigger.pipeline.load_inputs import load_classifier, load_clean_rows, load_same_classes, open_model
from untrigger.pipeline.model_facts import model_facts, shown
from untrigger.pipeline.requests import TREATMENTS, AuditRequest
from untrigger.pipeline.scan_inputs import build_scanner, defender_grant, sample_rows, scan_context
from untrigger.pipeline.used_rows import FILE, read_used_rows
from untrigger.runtime.cost import Clock, environment
from untrigger.scanners.known_triggers import judged_on_known
from untrigger.scanners.scanner import Hints, Scanner, ScanResult
from untrigger.scanners.unread_text import unread
from untrigger.scanners.weights.weight_evidence import weigh

LEAST = 8
"""The fewest clean rows that tuning and scanning work with."""


def audit(request: AuditRequest, *, progress: Progress = silent) -> Report:
    """The report of an audit, written to ``request.out`` with the outcomes beside it.

    Raises:
        UserError: for any input that cannot be used; then nothing is written.
    """
    beside = request.out.with_suffix(".outcomes.csv")
    check_new_paths(request.out, beside)
    clock, method, run = Clock(), build_scanner(request.scan), request.scan.run
    with clock.stage("load"):
        opened = open_model(request.scan.model, run)
        weighed = weigh(opened.folder, base=opened.base, limits=request.scan.policy.limits)
        model = load_classifier(request.scan.model, run, opened=opened)
        bed = read_truth(request.truth, label_names=model.label_names) if request.truth else None
        assert request.scan.clean is not None
        given = load_clean_rows(request.scan.clean, model, run, unique=True)
        rows, warnings = unused(opened.folder.origin, given)
        hints = replace(scan_context(request.scan, model, weighed), words=(), rewritten=None)
        method.check(defender_grant(request.scan, rows), reference=hints.reference is not None)
        parts = _parted(request, sample_rows(request.scan, rows), seen=len(given) - len(rows))
    desk = _Desk(
        request, method, clock, progress, tuning=parts[0], scanning=parts[1], bed=bed, hints=hints, warnings=warnings
    )
    desk.warnings += [*notes_of(rows, model=model), *unread(model, parts[1])]
    desk.put_through(model, poisoned=True)
    if bed is not None and bed.clean_model is not None:
        source = replace(request.scan.model, name=str(bed.clean_model), labels=None)
        twin = load_same_classes(source, model, run)
        desk.put_through(twin, poisoned=False)
    report = _report(request, desk, model)
    with new_files(beside, request.out) as (rows_file, report_file):
        write_outcomes(desk.outcomes, rows_file)
        report.write(report_file)
    return report


def unused(folder: Path, rows: Rows) -> tuple[Rows, list[str]]:
    """The rows that the purifier was not given, and what there is to say about the others.

    Raises:
        DataError: if none is left.
    """
    known = read_used_rows(folder)
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


def _parted(request: AuditRequest, rows: Rows, *, seen: int = 0) -> tuple[Rows, Rows]:
    """Rows to tune on and rows to scan with; ``seen`` were left out, since the purifier was given them.

    Raises:
        DataError: if too few are left for either.
    """
    count, least = round(request.tuning * len(rows)), max(LEAST, 2 * len(rows.label_names))
    if min(count, len(rows) - count) < least:
        left = f" are left: {seen} more are left out, because the purifier was given them" if seen else ""
        raise DataError(
            f"{len(rows)} clean rows{left}",
            expected=f"enough to part between tuning and scanning, at least {least} for each ({request.tuning:.0%} for tuning)",
            remedy="give other clean rows, which the purifier never saw" if seen else "give more clean rows",
        )
    return rows.stratified(count, rng=generator_for(request.scan.run.seed, "audit: rows to tune on"))


@dataclass
class _Desk:
    """What was asked and answered so far, subject by subject."""

    request: AuditRequest
    method: Scanner
    clock: Clock
    progress: Progress
    tuning: Rows
    scanning: Rows
    bed: GroundTruth | None
    hints: Hints
    warnings: list[str]
    outcomes: list[Outcome] = field(default_factory=list)
    scores: dict[Subject, Measurement] = field(default_factory=dict)
    statuses: dict[Subject, str] = field(default_factory=dict)
    reasons: dict[Subject, str] = field(default_factory=dict)
    found: list[Candidate] = field(default_factory=list)

    def put_through(self, model: Classifier, *, poisoned: bool) -> None:
        """Scan ``model`` as it came and after every treatment."""
        candidates = self._scan(model, Subject(poisoned))
        for name in self.request.treatments:
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
        request, seed, who = self.request, self.request.scan.run.seed, Subject(subject.poisoned).name
        if name == "finetune":
            return fine_tuned(model, self.tuning, epochs=request.epochs, seed=seed, progress=self.progress)
        if name == "merge":
            whole = merge_adapter(model)
            return whole if whole is not model else self._without(f"{who}: full weights have nothing to merge")
        if name == "int8":
            small, count = quantized_to_int8(model)
            return small if count else self._without(f"{who}: no layer that dynamic int8 knows")
        if self.bed is None or self.bed.trigger is None:
            return self._without("poisoning again needs the true trigger: give the truth folder with --truth")
        return repoisoned(
            model,
            self.tuning,
            self.bed,
            count=min(request.poisoned, len(self.tuning) // 4),
            epochs=request.epochs,
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
            grant = defender_grant(self.request.scan, self.scanning)
            result: ScanResult = self.method.scan(
                model, grant, policy=self.request.scan.policy, hints=self.hints, progress=self.progress
            )
        self.hints = replace(self.hints, reference=result.reference)
        self._note(model, subject, result.scan, status=result.verdict.status)
        self.found += [replace(one, text=f"{one.text} ({subject.name})") for one in result.scan.triggers()]
        return list(result.scan.candidates)

    def _judge_known(self, model: Classifier, subject: Subject, candidates: Sequence[Candidate]) -> None:
        """Note what the candidates of the earlier scans do to a model that cannot be searched."""
        assert self.hints.reference is not None
        seed = self.request.scan.run.seed
        with self.clock.stage(f"scan: {subject.name}"):
            held = self.method.held_out(self.scanning, seed=seed)
            found, scan = judged_on_known(
                model, self.hints.reference, held, candidates, policy=self.request.scan.policy, seed=seed
            )
        self._note(model, subject, scan, status=found.status)

    def _note(self, model: Classifier, subject: Subject, scan: Scan, *, status: str) -> None:
        worst = max(scan.candidates, key=lambda one: one.score or 0.0, default=None)
        n = worst.suspect.n if worst else 0
        self.scores[subject] = Measurement(subject.name, "scan_score", worst.score if worst else None, None, None, n)
        self.statuses[subject] = status
        self.reasons |= {subject: scan.undecided[0]} if scan.undecided else {}
        rows = self.bed.clean if self.bed else self.scanning
        self.outcomes += predict_outcomes(model, rows, subject=subject.name, triggered=False, progress=self.progress)[0]
        if self.bed is not None:
            self.outcomes += predict_outcomes(
                model, self.bed.triggered, subject=subject.name, triggered=True, progress=self.progress
            )[0]

    def measurements(self) -> list[Measurement]:
        """Score, accuracy and attack success of every subject, and the excess over the never-poisoned model treated alike."""
        made = [*self.scores.values(), *(cacc(self.outcomes, subject=one.name) for one in self.scores)]
        if self.bed is None:
            return made
        aims = self.bed.targets
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
            one: excess_asr(self.outcomes, subject=one.name, target=self.bed.targets, floor=one.counterpart.name)
            for one in self.scores
            if one.poisoned and one.counterpart in self.scores
        }


def _report(request: AuditRequest, desk: _Desk, model: Classifier) -> Report:
    found = desk.measurements()
    given: dict[str, Any] = {
        "model": model_facts(model),
        "labels": list(model.label_names),
        "tuning_rows": len(desk.tuning),
        "scanning_rows": len(desk.scanning),
        "clean": defender_grant(request.scan, desk.scanning).describe(),
    }
    if desk.bed is not None:
        given["truth"] = desk.bed.to_dict()
    options = {
        "treatments": request.treatments,
        "epochs": request.epochs,
        "poisoned": request.poisoned,
        "tuning": request.tuning,
        "verdicts": {one.name: status for one, status in desk.statuses.items()},
        "scanner": {"name": desk.method.name, **desk.method.options()},
    }
    return Report(
        kind="audit",
        title=f"Audit of {shown(request.scan.model.name)}",
        given=given,
        verdict=verdict(desk.excesses(), desk.statuses, reasons=desk.reasons),
        method={"name": "audit", "options": options},
        environment=environment(seed=request.scan.run.seed, device=str(model.device)),
        stages=desk.clock.stages,
        measurements=found,
        outcomes=request.out.with_suffix(".outcomes.csv").name,
        warnings=list(dict.fromkeys(desk.warnings)),
        findings=desk.found,
    )
