"""``purify``: a suspicious model and clean rows in; a clean model in the same format and its evidence out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from untrigger.core.errors import DataError
from untrigger.core.files import check_new_paths, new_folder
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Report
from untrigger.core.rows import Rows, overlap
from untrigger.core.seeds import generator_for
from untrigger.core.statistics import Measurement
from untrigger.data import DataSource, check_rows, load_data
from untrigger.defences.fine_tuning import FineTune
from untrigger.defences.purifier import Purified, Purifier
from untrigger.evaluation.detection_metrics import detection
from untrigger.evaluation.evaluator import Judge
from untrigger.evaluation.ground_truth import TestBed, read_poisoned, read_truth
from untrigger.evaluation.observation import write_outcomes
from untrigger.evaluation.recovered_triggers import is_part, phrases_of
from untrigger.methods.defender_rows import check_clean
from untrigger.models.adapters import is_adapted
from untrigger.models.class_names import named_alike
from untrigger.models.classifier import Classifier
from untrigger.models.loading import load_model
from untrigger.models.proof import prove
from untrigger.models.saving import loading_text, save_purified
from untrigger.pipeline.agreement import check_agreement, notes_of
from untrigger.pipeline.choose import check_teacher, method_of, refuse_format, scans_result, teacher_of, trusted_base
from untrigger.pipeline.model_facts import model_facts
from untrigger.pipeline.preset_check import strayed
from untrigger.pipeline.spec import DetectSpec, PurifySpec
from untrigger.pipeline.used_rows import unseen, write_used_rows
from untrigger.pipeline.verdict import verdict
from untrigger.pipeline.verify import Verification, verify
from untrigger.reporting import write_page
from untrigger.reporting.model_cards import purified_card
from untrigger.runtime.cost import Clock, environment

HELD_OUT = 0.2


def purify(spec: PurifySpec, *, progress: Progress = silent) -> Report:
    """The report of a purification; the model, its card, the report and its page are written to ``spec.out``.

    The method gets a ``Grant`` and nothing else; what the truth folder holds is used after it has ended.

    Raises:
        UserError: for any input that cannot be used; then nothing is written.
    """
    check_new_paths(spec.out)
    method, clock = method_of(spec), Clock()
    check_teacher(spec, method)
    with clock.stage("load"):
        victim = load(spec, spec.model)
        rows, held, warnings = clean_rows(spec, victim)
        bed = read_truth(spec.truth, label_names=victim.label_names) if spec.truth else None
        suspect = suspect_rows(spec, victim)
        check_agreement(victim, rows, what=spec.clean)
        warnings += notes_of(rows, suspect, model=victim)
    grant = Grant(
        clean=rows,
        suspect=suspect,
        teacher=teacher_of(spec, method),
        base=trusted_base(spec, victim) if "base" in method.uses else None,
        seed=spec.seed,
    )
    method.check(grant)
    refuse_format(spec, victim, method)
    with clock.stage("purify"):
        purified = method.purify(victim, grant, progress=progress)
    clock.steps(purified.history.steps)
    verification = _verification(spec, method, purified, clock, grant=grant, held=held, progress=progress)
    judge = Judge(test=bed.clean if bed else held, bed=bed, progress=progress)
    warnings += [*_idle_teacher(spec, method), *_leaks(rows, bed), *purified.warnings, *_no_twin(spec, bed)]
    _controls(spec, judge, clock, grant=grant, victim=victim, purified=purified, method=method)
    found = [*judge.measurements(), *_detection(spec, purified, warnings=warnings)]
    report = Report(
        kind="purification",
        title=f"{method.name} on {Path(spec.model).name}",
        verdict=verdict(found, purified, verification=verification),
        given=_given(victim, grant, judge) | {"held_out": {"rows": len(held), "sha256": held.content_hash()}},
        method={"name": method.name, "options": method.options() | _extras(purified, verification)},
        environment=environment(seed=spec.seed, device=str(victim.device)),
        stages=clock.stages,
        measurements=found,
        outcomes="outcomes.csv",
        warnings=warnings,
        curves=purified.curves,
        features=judge.features(),
        findings=_marked(purified, bed),
    )
    with new_folder(spec.out) as folder:
        write_model(spec, folder, victim=victim, purified=purified, report=report)
        write_outcomes(judge.outcomes, folder / "outcomes.csv")
        write_used_rows(grant, folder)
        report.write(folder / "report.json")
        write_page(report, folder / "report.html")
        write_page(report, folder / "report.md")
    return report


def load(spec: PurifySpec | DetectSpec, name: str | Path, **more: Any) -> Classifier:
    """A model as the spec asks for it."""
    return load_model(
        name,
        base=more.get("base", spec.base),
        label_names=more.get("label_names", spec.labels),
        allow_pickle=spec.allow_pickle,
        offline=spec.offline,
        device=spec.device,
        max_length=spec.max_length,
    )


def clean_rows(spec: PurifySpec, victim: Classifier) -> tuple[Rows, Rows, list[str]]:
    """Rows for the defender, rows that are held out from it, and what there is to say about them; the same with a truth or without.

    Raises:
        DataError: for rows that cannot be used.
    """
    rows = load_data(
        DataSource(
            spec.clean,
            text_column=spec.text_column,
            label_column=spec.label_column,
            split=spec.split,
            drop_empty=spec.drop_empty,
        ),
        label_names=victim.label_names,
        offline=spec.offline,
    )
    check_rows(rows, require_classes=2, what=spec.clean)
    check_clean(rows, model=victim, least=10)
    held = max(2, round(HELD_OUT * len(rows)))
    kept = min(spec.clean_rows or len(rows), len(rows) - held)
    own, rest = rows.stratified(kept, rng=generator_for(spec.seed, "purify: rows that are held out"))
    return own, rest, [f"{len(rest)} of the clean rows were held out from the method"]


def suspect_rows(spec: PurifySpec | DetectSpec, victim: Classifier) -> Rows | None:
    """The rows that the model may have been trained on, None where the user has none.

    Raises:
        DataError: for rows that cannot be used.
    """
    if spec.suspect is None:
        return None
    return load_data(
        DataSource(
            spec.suspect,
            text_column=spec.text_column,
            label_column=spec.label_column,
            drop_empty=spec.drop_empty,
        ),
        label_names=victim.label_names,
        offline=spec.offline,
    )


def _verification(
    spec: PurifySpec,
    method: Purifier,
    purified: Purified,
    clock: Clock,
    *,
    grant: Grant,
    held: Rows,
    progress: Progress,
) -> Verification | None:
    """The scan of the result, on held-out rows that stand nowhere in the grant; None where a truth says more."""
    if spec.truth is not None:
        return None
    with clock.stage("verify: scan of the result"):
        return verify(spec, method, purified, grant=grant, held=unseen(held, grant), progress=progress)


def _extras(purified: Purified, verification: Verification | None) -> dict[str, Any]:
    """What the method and the scan of its result tell for the report."""
    assert purified.outcome is not None
    extras = purified.metadata | {"outcome": purified.outcome.value}
    return extras | ({"verification": verification.as_dict()} if verification else {})


def _controls(
    spec: PurifySpec,
    judge: Judge,
    clock: Clock,
    *,
    grant: Grant,
    victim: Classifier,
    purified: Purified,
    method: Purifier,
) -> None:
    """Ask victim, purified model and every control about the test rows."""
    with clock.stage("evaluate"):
        judge.ask(victim, "victim")
        judge.ask(purified.model, "purified")
    if spec.control and purified.history.steps and not isinstance(method, FineTune):
        with clock.stage("control: matched-budget fine-tuning"):
            control = matched(method, purified).purify(victim, grant, progress=judge.progress)
            judge.ask(control.model, "finetuned")
        clock.steps(control.history.steps)
        del control
    if judge.bed and judge.bed.twin:
        with clock.stage("control: never poisoned"):
            twin = named_alike(load(spec, judge.bed.twin, label_names=None), victim.label_names)
            judge.ask(twin, "clean")
        if spec.benign:
            with clock.stage("control: benign model in"):
                judge.again("clean", "benign_in")
                judge.ask(method.purify(twin, grant, progress=judge.progress).model, "benign_out")


def _no_twin(spec: PurifySpec, bed: TestBed | None) -> list[str]:
    if not spec.benign or (bed and bed.twin):
        return []
    return ["no benign model was purified: it is the truth folder's twin, which `attack` makes unless told --no-twin"]


def _idle_teacher(spec: PurifySpec, method: Purifier) -> list[str]:
    if spec.teacher is None or teacher_of(spec, method) is not None or scans_result(spec):
        return []
    return [f"the teacher {spec.teacher!r} was used for nothing: the method {method.name} can use none"]


def matched(method: Purifier, purified: Purified) -> FineTune:
    """Plain fine-tuning with the same trainable parameters, learning rate, batch size and number of steps."""
    told, adapter = method.options(), purified.adapter
    if adapter is not None:
        told |= {"peft": adapter.method, "rank": adapter.rank, "targets": adapter.targets, "upper": adapter.upper}
    shared = {
        name: told[name] for name in ("peft", "rank", "targets", "upper", "lr", "batch_size", "dev") if name in told
    }
    return replace(FineTune(), **shared, steps=purified.history.steps)


def write_model(spec: PurifySpec, folder: Path, *, victim: Classifier, purified: Purified, report: Report) -> None:
    """Write the purified model in the format that is wanted, and prove that it answers the same from disk.

    Raises:
        OutputError: if plain transformers and peft cannot load what was written.
        ModelError: if it answers otherwise than the model in memory.
    """
    whole = spec.merge or not is_adapted(purified.model)
    card = purified_card(card_facts(spec, report, victim=victim, whole=whole))
    save_purified(victim, purified.model, folder, card=card, merge=spec.merge)
    prove(purified.model, folder, texts=purified.texts)


def card_facts(spec: PurifySpec, report: Report, *, victim: Classifier, whole: bool) -> dict[str, Any]:
    """What the model card tells; ``whole`` where full weights were written."""
    facts = {
        "input": f"{Path(spec.model).name} ({victim.source.kind}), SHA-256 {victim.source.sha256[:16]}…",
        "method": report.method["name"],
        "clean rows": report.given["defender"]["clean"]["rows"],
        "seed": spec.seed,
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


def _given(victim: Classifier, grant: Grant, judge: Judge) -> dict[str, Any]:
    told: dict[str, Any] = {
        "model": model_facts(victim),
        "labels": list(victim.label_names),
        "defender": grant.describe(),
        "max_length": victim.max_length,
        "test": {"rows": len(judge.test), "sha256": judge.test.content_hash()},
    }
    if judge.bed:
        told["truth"] = judge.bed.facts()
    return told


def _leaks(rows: Rows, bed: TestBed | None) -> list[str]:
    if bed is None:
        return []
    shared = overlap(rows, bed.clean)
    leaks = [f"{shared} of the clean rows also stand among the test rows"] if shared else []
    return [*leaks, *strayed(bed.told, rows)]


def _detection(spec: PurifySpec, purified: Purified, *, warnings: list[str]) -> list[Measurement]:
    """How well a detector within the method found the poisoned rows; ``warnings`` are told where the truth is of other rows."""
    told = purified.detected
    if told is None or spec.truth is None:
        return []
    try:
        poisoned = read_poisoned(spec.truth, rows=told.rows)
    except DataError as error:
        warnings.append(f"how well poisoned rows were found is not measured: {error.what}")
        return []
    return detection(told.scores, flagged=told.flagged, poisoned=poisoned)


def _marked(purified: Purified, bed: TestBed | None) -> list[Any]:
    """The findings, marked as part of the true trigger or not where the truth is known."""
    if bed is None or bed.trigger is None:
        return purified.findings
    phrases = phrases_of(bed.trigger)
    return [replace(one, truth=is_part(one.text, phrases)) for one in purified.findings]
