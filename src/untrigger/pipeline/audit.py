"""``audit``: scan a purified model, then treat it as its next users will, and scan it after each treatment.

With a truth folder a clean model goes through the same treatments: only what comes back in the purified model alone is a
backdoor that was dormant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from untrigger.core.errors import DataError
from untrigger.core.files import check_new_paths, new_files
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Report
from untrigger.core.rows import Rows
from untrigger.core.seeds import generator_for
from untrigger.evaluation.ground_truth import read_truth
from untrigger.evaluation.observation import write_outcomes
from untrigger.models.classifier import Classifier
from untrigger.pipeline.agreement import notes_of
from untrigger.pipeline.audit_treatments import AuditRun, SubjectResult, audit_excesses, audit_measurements
from untrigger.pipeline.load_inputs import load_classifier, load_clean_rows, load_same_classes, open_model
from untrigger.pipeline.model_facts import model_facts, shown
from untrigger.pipeline.requests import AuditRequest
from untrigger.pipeline.scan_inputs import build_scanner, defender_grant, sample_rows, scan_context
from untrigger.pipeline.used_rows import FILE, read_used_rows
from untrigger.pipeline.verdict_rules import audit_verdict
from untrigger.runtime.cost import Clock, environment
from untrigger.scanners.unread_text import unread
from untrigger.scanners.verdict_basis import EvidenceOptions
from untrigger.scanners.weights.weight_evidence import weigh


def audit(request: AuditRequest, *, progress: Progress = silent) -> Report:
    """Return the report of an audit; write it to ``request.out`` with the outcomes next to it.

    Raises:
        UserError: for any input that cannot be used; then nothing is written.
    """
    outcomes_file = request.out.with_suffix(".outcomes.csv")
    check_new_paths(request.out, outcomes_file)
    clock, method, run = Clock(), build_scanner(request.scan), request.scan.run
    with clock.stage("load"):
        opened = open_model(request.scan.model, run)
        weighed = weigh(opened.folder, base=opened.base, limits=request.scan.policy.limits)
        model = load_classifier(request.scan.model, run, opened=opened)
        truth = read_truth(request.truth, label_names=model.label_names) if request.truth else None
        assert request.scan.clean is not None
        given = load_clean_rows(request.scan.clean, model, run, unique=True)
        rows, warnings = unused(opened.folder.origin, given)
        context = replace(scan_context(request.scan, model, weighed), words=(), rewritten=None)
        method.check(defender_grant(request.scan, rows), reference=context.reference is not None)
        tuning, scanning = _split(request, sample_rows(request.scan, rows), seen=len(given) - len(rows))
    warnings += request.scan.policy.warnings()
    warnings += [*notes_of(rows, model=model), *unread(model, scanning, most_cut=EvidenceOptions().most_cut)]
    steps = AuditRun(request, method, clock, progress, tuning, scanning, truth, context, warnings)
    results = list(steps.results(model, purified=True))
    if truth is not None and truth.clean_model is not None:
        source = replace(request.scan.model, name=str(truth.clean_model), labels=None)
        results += steps.results(load_same_classes(source, model, run), purified=False)
    report = _report(steps, results, model)
    with new_files(outcomes_file, request.out) as (rows_file, report_file):
        write_outcomes([one for result in results for one in result.outcomes], rows_file)
        report.write(report_file)
    return report


def unused(folder: Path, rows: Rows) -> tuple[Rows, list[str]]:
    """Return the rows that the purifier was not given, and warnings about the others.

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


def _split(request: AuditRequest, rows: Rows, *, seen: int = 0) -> tuple[Rows, Rows]:
    """Return rows to tune on and rows to scan with; ``seen`` rows were left out, since the purifier was given them.

    Raises:
        DataError: if too few are left for either.
    """
    count, least = round(request.tuning * len(rows)), max(request.least_rows, 2 * len(rows.label_names))
    if min(count, len(rows) - count) < least:
        left = f" are left: {seen} more are left out, because the purifier was given them" if seen else ""
        raise DataError(
            f"{len(rows)} clean rows{left}",
            expected=f"enough to split between tuning and scanning, at least {least} for each ({request.tuning:.0%} for tuning)",
            remedy="give other clean rows, which the purifier never saw" if seen else "give more clean rows",
        )
    return rows.stratified(count, rng=generator_for(request.scan.run.seed, "audit: rows to tune on"))


def _report(steps: AuditRun, results: Sequence[SubjectResult], model: Classifier) -> Report:
    request, truth = steps.request, steps.truth
    given: dict[str, Any] = {
        "model": model_facts(model),
        "labels": list(model.label_names),
        "tuning_rows": len(steps.tuning),
        "scanning_rows": len(steps.scanning),
        "clean": defender_grant(request.scan, steps.scanning).describe(),
    }
    if truth is not None:
        given["truth"] = truth.to_dict()
    options = {
        "treatments": request.treatments,
        "epochs": request.epochs,
        "poisoned": request.poisoned,
        "tuning": request.tuning,
        "verdicts": {one.subject.name: one.status for one in results},
        "scanner": {"name": steps.method.name, **steps.method.options()},
    }
    statuses = {one.subject: one.status for one in results}
    reasons = {one.subject: one.scan.undecided[0] for one in results if one.scan.undecided}
    return Report(
        kind="audit",
        title=f"Audit of {shown(request.scan.model.name)}",
        given=given,
        verdict=audit_verdict(audit_excesses(results, truth), statuses, reasons=reasons),
        method={"name": "audit", "options": options},
        environment=environment(seed=request.scan.run.seed, device=str(model.device)),
        stages=steps.clock.stages,
        measurements=audit_measurements(results, truth),
        outcomes=request.out.with_suffix(".outcomes.csv").name,
        warnings=list(dict.fromkeys(steps.warnings)),
        findings=[
            replace(one, text=f"{one.text} ({result.subject.name})")
            for result in results
            if result.searched
            for one in result.scan.triggers()
        ],
    )
