"""``purify``: a suspect model and clean rows in; a clean model in the same format and its evidence out."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from untrigger.core.errors import DataError
from untrigger.core.files import check_new_paths, new_folder
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Report
from untrigger.core.rows import Rows, overlap
from untrigger.core.statistics import Measurement
from untrigger.defences.purifier import Purified, Purifier
from untrigger.evaluation.evaluator import Evaluator
from untrigger.evaluation.ground_truth import GroundTruth, read_poisoned, read_truth
from untrigger.evaluation.metrics import BASE_FINE_TUNED, detection_metrics
from untrigger.evaluation.observation import write_outcomes
from untrigger.evaluation.recovered_triggers import is_part, trigger_phrases
from untrigger.models.adapter_merging import is_adapted
from untrigger.models.classifier import Classifier
from untrigger.models.saved_model_check import check_saved_model
from untrigger.models.saving import loading_text, save_purified
from untrigger.pipeline.agreement import notes_of
from untrigger.pipeline.apply_preset import preset_deviations
from untrigger.pipeline.build_method import build_purifier, teacher_of
from untrigger.pipeline.load_inputs import load_classifier, load_rows
from untrigger.pipeline.model_facts import given_entry, model_facts, shown
from untrigger.pipeline.purify_controls import control_warnings, not_measured, run_controls
from untrigger.pipeline.purify_inputs import (
    check_onto,
    check_output_format,
    check_teacher,
    refuse_suspect_as_trusted,
    split_rows,
    trusted_base,
)
from untrigger.pipeline.requests import PurifyRequest
from untrigger.pipeline.unlabelled import check_corpora, unlabelled_leaks, unlabelled_texts
from untrigger.pipeline.used_rows import unseen, write_used_rows
from untrigger.pipeline.verdict_rules import LIMITS, Verification, purification_verdict
from untrigger.pipeline.verify import verify
from untrigger.reporting import write_page
from untrigger.reporting.model_cards import purified_card
from untrigger.runtime.cost import Clock, environment

logger = logging.getLogger(__name__)

ONTO = "This is another pre-trained model than the input: what the input could do was carried into it, without its weights."


def purify(request: PurifyRequest, *, progress: Progress = silent) -> Report:
    """Return the report of a purification; write the model, its card, the report and its pages to ``request.out``.

    The method gets a ``Grant`` and nothing else; the truth folder is used after it has ended.

    Raises:
        UserError: for any input that cannot be used; then nothing is written.
    """
    check_new_paths(request.out)
    method, clock = build_purifier(request), Clock()
    check_teacher(request, method)
    check_corpora(request)
    with clock.stage("load"):
        victim = load_classifier(request.model, request.run)
        rows, held = split_rows(request, victim)
        refuse_suspect_as_trusted(request, victim, method)
        check_onto(request, victim, method)
        truth = read_truth(request.truth, label_names=victim.label_names) if request.truth else None
        suspect = load_rows(request.suspect, victim, request.run) if request.suspect else None
    unlabelled = unlabelled_texts(request, method, rows=rows, held=held, clock=clock, progress=progress)
    warnings = [f"{len(held)} of the clean rows were held out from the method", *notes_of(rows, suspect, model=victim)]
    warnings += [*unlabelled.warnings, *unlabelled_leaks(unlabelled.texts, truth)]
    base = (
        trusted_base(request, victim) if (request.control and request.base_control) or "base" in method.uses else None
    )
    grant = Grant(
        clean=rows,
        unlabelled=unlabelled.texts,
        suspect=suspect,
        teacher=teacher_of(request, method),
        base=base if "base" in method.uses else None,
        onto=request.onto,
        seed=request.run.seed,
    )
    method.check(grant)
    check_output_format(request, victim, method)
    with clock.stage("purify"):
        purified = method.purify(victim, grant, progress=progress)
    clock.steps(purified.history.steps)
    verification = _verification(request, method, purified, clock, grant=grant, held=held, progress=progress)
    evaluator = Evaluator(test=truth.clean if truth else held, truth=truth, progress=progress)
    warnings += [
        *_idle_teacher(request, method),
        *_idle_base(request),
        *_leaks(rows, truth),
        *purified.warnings,
        *_no_clean_model(request, truth),
    ]
    control = run_controls(
        request, evaluator, clock, grant=grant, base=base, victim=victim, purified=purified, method=method
    )
    found = [*evaluator.measurements(), *not_measured(control), *_detection(request, purified, warnings=warnings)]
    warnings += control_warnings(control, found)
    decided = purification_verdict(found, purified, verification=verification)
    logger.info("verdict: %s: %s", decided.status, decided.sentence)
    report = Report(
        kind="purification",
        title=f"{method.name} on {Path(request.model.name).name}",
        verdict=decided,
        given=_given(victim, grant, evaluator, held=held, unlabelled=unlabelled.facts)
        | ({BASE_FINE_TUNED: control.facts} if control else {}),
        method={"name": method.name, "options": method.options() | _extras(purified, verification)},
        environment=environment(seed=request.run.seed, device=str(victim.device)),
        stages=clock.stages,
        measurements=found,
        outcomes="outcomes.csv",
        warnings=warnings,
        curves=purified.curves,
        features=evaluator.features(),
        findings=_marked(purified, truth),
    )
    with new_folder(request.out) as folder:
        write_model(request, folder, victim=victim, purified=purified, report=report)
        write_outcomes(evaluator.outcomes, folder / "outcomes.csv")
        write_used_rows(grant, folder)
        report.write(folder / "report.json")
        write_page(report, folder / "report.html")
        write_page(report, folder / "report.md")
    return report


def _verification(
    request: PurifyRequest,
    method: Purifier,
    purified: Purified,
    clock: Clock,
    *,
    grant: Grant,
    held: Rows,
    progress: Progress,
) -> Verification | None:
    """Return the scan of the result on held-out rows that are not in the grant; None if a truth gives better evidence."""
    if request.truth is not None:
        return None
    with clock.stage("verify: scan of the result"):
        return verify(request, method, purified, grant=grant, held=unseen(held, grant), progress=progress)


def _extras(purified: Purified, verification: Verification | None) -> dict[str, Any]:
    """Return the metadata of the method and of the scan of its result, for the report."""
    assert purified.outcome is not None
    extras = purified.metadata | {"outcome": purified.outcome.value}
    return extras | ({"verification": verification.to_dict()} if verification else {})


def _no_clean_model(request: PurifyRequest, truth: GroundTruth | None) -> list[str]:
    if not request.benign or (truth and truth.clean_model):
        return []
    return [
        "no benign model was purified: it is the truth folder's clean model, which `attack` trains unless --no-clean-model is given"
    ]


def _idle_teacher(request: PurifyRequest, method: Purifier) -> list[str]:
    if request.teacher is None or teacher_of(request, method) is not None or request.scans_result:
        return []
    return [f"the teacher {request.teacher!r} was not used: the method {method.name} uses none"]


def _idle_base(request: PurifyRequest) -> list[str]:
    if request.onto is None or request.model.base is None:
        return []
    return [f"the base {request.model.base!r} was not retrained: --onto names another model, {request.onto!r}"]


def write_model(
    request: PurifyRequest, folder: Path, *, victim: Classifier, purified: Purified, report: Report
) -> None:
    """Write the purified model in the requested format, and check that it predicts the same from disk.

    Raises:
        OutputError: if plain transformers and peft cannot load what was written.
        ModelError: if its predictions differ from those of the model in memory.
    """
    merge = request.merge or purified.onto
    whole = merge or not is_adapted(purified.model)
    facts = card_facts(request, report, victim=victim, whole=whole)
    if purified.onto:
        facts["facts"] |= {"carried onto": f"{shown(str(request.onto))}, {model_facts(purified.model)['architecture']}"}
        facts["loading"] = f"{ONTO} {loading_text(purified.model, whole=True)}"
    save_purified(victim, purified.model, folder, card=purified_card(facts), merge=merge)
    check_saved_model(purified.model, folder, texts=purified.texts)


def card_facts(request: PurifyRequest, report: Report, *, victim: Classifier, whole: bool) -> dict[str, Any]:
    """Return the content of the model card; ``whole`` if full weights were written."""
    facts = {
        "input": f"{Path(request.model.name).name} ({victim.source.kind}), SHA-256 {victim.source.sha256[:16]}…",
        "method": report.method["name"],
        "clean rows": report.given["defender"]["clean"]["rows"],
        "seed": request.run.seed,
    } | {f"{m.subject}: {m.metric}": m.percent() for m in report.measurements}
    front = "" if whole else "library_name: peft\n"
    return {
        "facts": facts,
        "front": front,
        "status": report.verdict.status,
        "sentence": report.verdict.sentence,
        "warnings": report.warnings,
        "loading": loading_text(victim, whole=whole),
    }


def _given(
    victim: Classifier, grant: Grant, evaluator: Evaluator, *, held: Rows, unlabelled: dict[str, Any]
) -> dict[str, Any]:
    entry = given_entry(victim, grant) | {
        "test": {"rows": len(evaluator.test), "sha256": evaluator.test.content_hash()}
    }
    if grant.unlabelled is not None:
        entry["defender"]["unlabelled"] |= unlabelled
    if evaluator.truth:
        entry["truth"] = evaluator.truth.to_dict()
    return entry | {"held_out": {"rows": len(held), "sha256": held.content_hash()}, "limits": asdict(LIMITS)}


def _leaks(rows: Rows, truth: GroundTruth | None) -> list[str]:
    if truth is None:
        return []
    shared = overlap(rows, truth.clean)
    leaks = [f"{shared} of the clean rows are also test rows"] if shared else []
    return [*leaks, *preset_deviations(truth.metadata, rows)]


def _detection(request: PurifyRequest, purified: Purified, *, warnings: list[str]) -> list[Measurement]:
    """Return how well the method's own detector found the poisoned rows; add a warning if the truth is of other rows."""
    detected = purified.detected
    if detected is None or request.truth is None:
        return []
    try:
        poisoned = read_poisoned(request.truth, rows=detected.rows)
    except DataError as error:
        warnings.append(f"how well poisoned rows were found is not measured: {error.what}")
        return []
    return detection_metrics(detected.scores, flagged=detected.flagged, poisoned=poisoned)


def _marked(purified: Purified, truth: GroundTruth | None) -> list[Any]:
    """Return the findings, marked as part of the true trigger or not if the truth is known."""
    if truth is None or truth.trigger is None:
        return purified.findings
    phrases = trigger_phrases(truth.trigger)
    return [replace(one, truth=is_part(one.text, phrases)) for one in purified.findings]
