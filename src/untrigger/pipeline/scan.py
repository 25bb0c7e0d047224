"""``scan``: a suspect model and clean rows in; a verdict with its evidence out. Nothing but reports is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from untrigger.core.errors import OptionError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress, silent
from untrigger.core.report import MethodRecord, Report
from untrigger.core.scan_result import Scan
from untrigger.models.classifier import Classifier
from untrigger.pipeline.agreement import notes_of
from untrigger.pipeline.load_inputs import OpenedModel, load_classifier, load_clean_rows, open_model
from untrigger.pipeline.model_facts import given_entry, shown
from untrigger.pipeline.requests import ScanRequest
from untrigger.pipeline.scan_baseline import compare_scans, read_baseline
from untrigger.pipeline.scan_generation import scan_generation
from untrigger.pipeline.scan_guide import missing_rows
from untrigger.pipeline.scan_inputs import build_scanner, defender_grant, policy_entry, sample_rows, scan_context
from untrigger.pipeline.subjects import checked_task
from untrigger.pipeline.verdict_rules import scan_verdict
from untrigger.runtime.cost import Clock, environment
from untrigger.scanners.judge import not_looked_for
from untrigger.scanners.scanner import ScanContext, Scanner, ScanResult
from untrigger.scanners.weights.weight_evidence import Weighed, weigh
from untrigger.scanners.weights.weight_verdict import by_weights_alone, not_checked
from untrigger.training.history import history_curves

FOR_CLASSIFIERS = ("reference", "teacher", "rewritten", "method", "labels", "set")
"""Options that a scan of a language model does not have."""
FOR_LANGUAGE_MODELS = ("template",)
"""Options that a scan of a classifier does not have."""


def scan(request: ScanRequest, *, progress: Progress = silent) -> Report:
    """Return the report of a scan: verdict, candidates on held-out rows, weight evidence.

    Raises:
        UserError: for any input that cannot be used.
    """
    last = read_baseline(request.baseline) if request.baseline is not None else None
    generation = checked_task(
        _given(request),
        model=request.model.name,
        task=request.task,
        truth=None,
        offline=request.run.offline,
        of_classifiers=FOR_CLASSIFIERS,
        of_language_models=FOR_LANGUAGE_MODELS,
    )
    report = _scanned(request, generation=generation, progress=progress)
    if last is None or report.scan is None:
        return report
    return replace(report, scan=replace(report.scan, baseline=compare_scans(report, last)))


def _scanned(request: ScanRequest, *, generation: bool, progress: Progress) -> Report:
    """Return the report of a scan that is compared with no other."""
    clock = Clock()
    if request.static_only:
        return _scan_weights(request, clock, generation=generation)
    if generation:
        return scan_generation(request, clock, progress=progress)
    if request.clean is None:
        raise missing_rows(request)
    method = build_scanner(request)
    with clock.stage("weights"):
        opened = open_model(request.model, request.run)
        weighed = weigh(opened.folder, base=opened.base, limits=request.policy.limits)
    with clock.stage("load"):
        model = load_classifier(request.model, request.run, opened=opened)
        clean = load_clean_rows(request.clean, model, request.run, unique=True)
        grant = defender_grant(request, sample_rows(request, clean))
        context = scan_context(request, model, weighed)
        method.check(grant, reference=context.reference is not None)
    return scan_model(
        request, model, method=method, grant=grant, context=context, weighed=weighed, clock=clock, progress=progress
    )[0]


def _given(request: ScanRequest) -> set[str]:
    """Return the options of one task alone that the request has."""
    usual = ScanRequest(request.model)
    own = ("reference", "teacher", "rewritten", "method", "template")
    given = {name for name in own if getattr(request, name) != getattr(usual, name)}
    return given | {name for name, there in (("labels", request.model.labels), ("set", request.options)) if there}


def scan_model(
    request: ScanRequest,
    model: Classifier,
    *,
    method: Scanner,
    grant: Grant,
    context: ScanContext,
    weighed: Weighed,
    clock: Clock,
    progress: Progress = silent,
) -> tuple[Report, ScanResult]:
    """Return the report and the scanner's own result for a loaded model."""
    with clock.stage("scan"):
        result = method.scan(model, grant, policy=request.policy, context=context, progress=progress)
    clock.steps(result.history.steps)
    full = replace(result.scan, evidence=weighed.evidence, refused=weighed.refused)
    curves = [*history_curves(result.history, panel="Training of the reference"), *result.curves, *weighed.curves]
    warnings = [*notes_of(grant.clean, context.rewritten, model=model), *result.warnings]
    warnings += not_checked(weighed.unchecked)
    verdict = scan_verdict(result.verdict, full, unchecked=weighed.unchecked)
    result = replace(result, scan=full, verdict=verdict, curves=curves, warnings=warnings)
    given = given_entry(model, grant) | _context_entry(context)
    given["model"] = _base_entry(request, weighed) | given["model"]
    given["model"]["files"] = {**weighed.files, **given["model"]["files"]}
    options = {**method.options(), **result.metadata}
    return _report(
        request, result, clock, given=given, method={"name": method.name, "options": options}, device=str(model.device)
    ), result


def _scan_weights(request: ScanRequest, clock: Clock, *, generation: bool) -> Report:
    """Return the report of the weights without a forward pass.

    Raises:
        OptionError: for options that only a forward pass could use.
    """
    unused = [f"--{name}" for name in ("clean", "reference", "rewritten") if getattr(request, name)]
    unused += ["--set"] * bool(request.options)
    if unused:
        raise OptionError(
            f"--static-only together with {', '.join(unused)}",
            expected="the weights alone, with --base and --policy if you like",
            remedy="leave it out, or leave out --static-only for a scan that runs the model",
        )
    with clock.stage("weights"):
        opened = open_model(request.model, request.run, task="CAUSAL_LM" if generation else "SEQ_CLS")
        weighed = weigh(opened.folder, base=opened.base, limits=request.policy.limits)
    found = Scan(
        None,
        request.policy.suspicious,
        request.policy.backdoored,
        evidence=weighed.evidence,
        not_looked_for=["words and phrases: nothing was tried on any text", *not_looked_for(rewritten=False)],
        refused=weighed.refused,
    )
    result = ScanResult(by_weights_alone(found, unchecked=weighed.unchecked), found, curves=weighed.curves)
    method: MethodRecord = {"name": "weights", "options": {}}
    return _report(request, result, clock, given=_weights_entry(request, opened, weighed), method=method, device="cpu")


def _report(
    request: ScanRequest,
    result: ScanResult,
    clock: Clock,
    *,
    given: dict[str, Any],
    method: MethodRecord,
    device: str,
) -> Report:
    found = result.scan
    return Report(
        kind="scan",
        title=f"Scan of {shown(request.model.name)}",
        verdict=result.verdict,
        given={**given, "policy": policy_entry(request.policy)},
        method=method,
        environment=environment(seed=request.run.seed, device=device),
        stages=clock.stages,
        measurements=result.measurements,
        warnings=[*(f"not opened: {one}" for one in found.refused), *found.undecided[1:], *result.warnings],
        curves=result.curves,
        scan=found,
        findings=found.triggers(),
    )


def _weights_entry(request: ScanRequest, opened: OpenedModel, weighed: Weighed) -> dict[str, Any]:
    model = {
        "name": shown(request.model.name),
        "kind": weighed.kind,
        "architecture": weighed.architecture,
        "sha256": weighed.sha256,
        "base": None,
        "files": dict(weighed.files),
        **_base_entry(request, weighed),
    }
    commits = {"revision": opened.folder.commit, "base_revision": opened.base.commit if opened.base else None}
    return {"model": model | {name: commit for name, commit in commits.items() if commit}}


def _base_entry(request: ScanRequest, weighed: Weighed) -> dict[str, Any]:
    """Return the base that the user named, empty where none was."""
    base = request.model.base
    return {"base": shown(base), "base_sha256": weighed.base_sha256} if base else {}


def _context_entry(context: ScanContext) -> dict[str, Any]:
    """Return reference and rewritten rows as the report has them."""
    entry: dict[str, Any] = {}
    if context.reference is not None:
        source = context.reference.source
        entry["reference"] = {"name": shown(source.name), "sha256": source.sha256}
        if source.commit:
            entry["reference"]["revision"] = source.commit
    if context.rewritten is not None:
        entry["rewritten"] = {"rows": len(context.rewritten), "sha256": context.rewritten.content_hash()}
    return entry
