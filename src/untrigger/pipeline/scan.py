"""``scan``: a suspicious model and clean rows in; a verdict with its evidence out. Nothing but reports is written."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from untrigger.core.errors import ModelError, OptionError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Report, Verdict
from untrigger.core.rows import Rows, distinct
from untrigger.core.scan_result import Scan
from untrigger.core.seeds import generator_for
from untrigger.data import DataSource, check_rows, load_data
from untrigger.models.class_names import with_matching_names
from untrigger.models.classifier import Classifier
from untrigger.models.loading import load_model
from untrigger.models.safety.model_folder import open_model_folder, resolve_model
from untrigger.models.safety.tokenizer_rules import rewritten_literals
from untrigger.pipeline.agreement import check_agreement, notes_of
from untrigger.pipeline.choose import made
from untrigger.pipeline.model_facts import model_facts, shown
from untrigger.pipeline.reference_check import refuse_suspect_itself
from untrigger.runtime.cost import Clock, environment
from untrigger.scanners.judge import not_looked_for
from untrigger.scanners.policy import Policy
from untrigger.scanners.scanner import ScanContext, Scanner, ScanResult
from untrigger.scanners.weights.weight_evidence import Weighed, weigh
from untrigger.scanners.weights.weight_verdict import by_weights_alone, not_checked, with_weights
from untrigger.training.history import history_curves

MOVED = 4  # words of the weights, and texts of the tokenizer's rules, that are tried beside those of the search


@dataclass(frozen=True)
class ScanSpec:
    """Everything that ``scan`` is asked for.

    Attributes:
        model: folder or hub name of the suspicious model or adapter.
        clean: clean labelled rows of the task; needed unless ``static_only``.
        reference: folder or hub name of a clean classifier of the task; without it one is trained from ``teacher``.
        teacher: the small pre-trained encoder that the defender trusts.
        static_only: read the weights and nothing else.
        rewritten: labelled rows in a style or sentence pattern that shall be tested.
        method: name of a scanner.
        options: further options of the scanner, by field name.
        policy: thresholds, limits and allowed findings.
        base: the model that this one was made from: an adapter's base, or what full weights are held against.
        labels: the model's label names, where its own files do not tell them.
        clean_rows: use at most as many clean rows, the classes in proportion (0: all).
    """

    model: str
    clean: str | None = None
    reference: str | None = None
    teacher: str = "minilm-l6"
    static_only: bool = False
    rewritten: str | None = None
    method: str = "insertions"
    options: dict[str, Any] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    base: str | None = None
    labels: tuple[str, ...] | None = None
    text_column: str | None = None
    label_column: str | None = None
    split: str | None = None
    drop_empty: bool = False
    clean_rows: int = 1000
    seed: int = 0
    max_length: int | None = None
    offline: bool = False
    device: str = "auto"


def scan(spec: ScanSpec, *, progress: Progress = silent) -> Report:
    """The report of a scan: verdict, candidates on held-out rows, weight evidence.

    Raises:
        UserError: for any input that cannot be used.
    """
    clock = Clock()
    if spec.static_only:
        return _weights_alone(spec, clock)
    if spec.clean is None:
        raise OptionError(
            "a scan needs clean labelled rows",
            expected="--clean DATA",
            remedy="or read the weights alone with --static-only",
        )
    method = scanner_of(spec)
    with clock.stage("weights"):
        weighed = weigh_as_asked(spec)
    with clock.stage("load"):
        model = load(spec, spec.model)
        rows = clean_rows(spec, model)
        grant = Grant(clean=rows, teacher=None if spec.reference else spec.teacher, seed=spec.seed)
        check_agreement(model, rows, what=spec.clean)
        hints = hints_of(spec, model, weighed)
        method.check(grant, reference=hints.reference is not None)
    return scanned(spec, model, grant=grant, hints=hints, weighed=weighed, clock=clock, progress=progress)[0]


def scanned(
    spec: ScanSpec,
    model: Classifier,
    *,
    grant: Grant,
    hints: ScanContext,
    weighed: Weighed,
    clock: Clock,
    progress: Progress = silent,
) -> tuple[Report, ScanResult]:
    """The report and the scanner's own result for a model in memory: what ``scan``, ``audit`` and a cure after it share."""
    if weighed.sha256 != model.source.sha256:
        raise ModelError(
            f"the files of {spec.model!r} changed while they were read",
            remedy="wait until nobody writes to them, and scan again",
        )
    method = scanner_of(spec)
    with clock.stage("scan"):
        result = method.scan(model, grant, policy=spec.policy, context=hints, progress=progress)
    clock.steps(result.history.steps)
    full = replace(result.scan, evidence=weighed.evidence, refused=weighed.refused)
    curves = [*history_curves(result.history, panel="Training of the reference"), *result.curves, *weighed.curves]
    warnings = [*notes_of(grant.clean, hints.rewritten, model=model), *result.warnings, *not_checked(weighed.unchecked)]
    verdict = with_weights(result.verdict, full)
    if weighed.unchecked and verdict.status == "clean":  # a limit that was not measured is not met
        verdict = Verdict("undecided", f"No verdict could be given: {not_checked(weighed.unchecked)[0]}.")
    result = replace(result, scan=full, verdict=verdict, curves=curves, warnings=warnings)
    given = _given(model, grant, hints)
    return _report(spec, clock, result, given=given, device=str(model.device), method=method), result


def _weights_alone(spec: ScanSpec, clock: Clock) -> Report:
    """The report of the weights without a forward pass.

    Raises:
        OptionError: for what only a forward pass could use.
    """
    unused = [f"--{name}" for name in ("clean", "reference", "rewritten") if getattr(spec, name)] + ["--set"] * bool(
        spec.options
    )
    if unused:
        raise OptionError(
            f"--static-only together with {', '.join(unused)}",
            expected="the weights alone, with --base and --policy if you like",
            remedy="leave it out, or leave out --static-only for a scan that reads texts",
        )
    with clock.stage("weights"):
        weighed = weigh_as_asked(spec)
    blind = ["words and phrases: nothing was tried on any text", *not_looked_for(rewritten=False)]
    found = Scan(
        None,
        spec.policy.suspicious,
        spec.policy.backdoored,
        evidence=weighed.evidence,
        not_looked_for=blind,
        refused=weighed.refused,
    )
    told = _given_weights(spec, weighed)
    verdict = by_weights_alone(found, unchecked=weighed.unchecked)
    return _report(spec, clock, ScanResult(verdict, found, curves=weighed.curves), given=told, device="cpu")


def scanner_of(spec: ScanSpec) -> Scanner:
    """The scanner that the spec names, with its options.

    Raises:
        OptionError: for an unknown scanner or option.
    """
    method = made("scanners", spec.method, options=spec.options)
    assert isinstance(method, Scanner)
    return method


def weigh_as_asked(spec: ScanSpec) -> Weighed:
    """The weight evidence of the spec's model, held against its base where one is given."""
    folder = open_model_folder(resolve_model(spec.model, offline=spec.offline))
    base = open_model_folder(resolve_model(spec.base, offline=spec.offline)) if spec.base is not None else None
    return weigh(folder, base=base, limits=spec.policy.limits)


def load(spec: ScanSpec, name: str | Path, **more: Any) -> Classifier:
    """A model as the spec asks for it; nothing that could run code is ever opened."""
    adapter = (resolve_model(name, offline=spec.offline) / "adapter_config.json").exists()
    base = more.get("base", spec.base) if adapter else None
    return load_model(
        name,
        base=base,
        label_names=more.get("label_names", spec.labels),
        offline=spec.offline,
        device=spec.device,
        max_length=spec.max_length,
    )


def clean_rows(spec: ScanSpec, model: Classifier) -> Rows:
    """The clean rows that the scanner gets.

    Raises:
        DataError: for rows that cannot be used.
    """
    return at_most(spec, all_rows(spec, model))


def all_rows(spec: ScanSpec, model: Classifier) -> Rows:
    """The clean rows of the spec, as many as there are with a text of their own.

    Raises:
        DataError: for rows that cannot be used.
    """
    assert spec.clean is not None
    loaded = load_data(
        DataSource(
            spec.clean,
            text_column=spec.text_column,
            label_column=spec.label_column,
            split=spec.split,
            drop_empty=spec.drop_empty,
        ),
        label_names=model.label_names,
        offline=spec.offline,
    )
    rows = distinct(loaded)
    check_rows(rows, require_classes=2, what=spec.clean)
    return rows


def at_most(spec: ScanSpec, rows: Rows) -> Rows:
    """The rows, or as many of them as the spec allows, the classes in proportion."""
    few = 0 < spec.clean_rows < len(rows)
    return (
        rows.stratified(spec.clean_rows, rng=generator_for(spec.seed, "scan: rows that are taken"))[0] if few else rows
    )


def hints_of(spec: ScanSpec, model: Classifier, weighed: Weighed) -> ScanContext:
    """The reference and the rewritten rows that were given, and what the weights and the tokenizer's rules point at.

    Raises:
        ModelError: if reference or teacher cannot be used, or is the suspicious model itself.
    """
    reference = None
    if spec.reference is not None:
        loaded = load(spec, spec.reference, base=None, label_names=None)
        refuse_suspect_itself(
            model,
            option="--reference",
            name=spec.reference,
            sha256=loaded.source.sha256,
            files=loaded.source.files,
            expected="a clean classifier of the task that you trust",
        )
        reference = with_matching_names(loaded, model.label_names)
    if reference is None:
        try:
            teacher = open_model_folder(resolve_model(spec.teacher, offline=spec.offline))
        except ModelError as error:
            raise ModelError(
                f"the teacher {spec.teacher!r} cannot be used: {error.what}",
                expected=error.expected,
                nearest=error.nearest,
                remedy="give a small pre-trained encoder that you trust with --teacher, or a clean classifier with --reference",
            ) from error
        refuse_suspect_itself(
            model,
            option="--teacher",
            name=spec.teacher,
            sha256=teacher.sha256,
            files=teacher.to_dict(),
            expected="a small pre-trained encoder that you trust",
        )
    rewritten = None
    if spec.rewritten is not None:
        source = DataSource(spec.rewritten, drop_empty=spec.drop_empty)
        loaded_rows = load_data(source, label_names=model.label_names, offline=spec.offline)
        rewritten = distinct(loaded_rows)
        check_rows(rewritten, require_classes=1, what=spec.rewritten)
    moved = [word for word in weighed.moved if word and not word.startswith("##") and not word.startswith("[")]
    words = [*rewritten_literals(model.tokenizer)[:MOVED], *moved[:MOVED]]
    return ScanContext(reference, words, rewritten, Path(spec.rewritten).name if spec.rewritten else "")


def _report(
    spec: ScanSpec,
    clock: Clock,
    result: ScanResult,
    *,
    given: dict[str, Any],
    device: str,
    method: Scanner | None = None,
) -> Report:
    """The report of what a scanner, or the weights alone, said."""
    options = {**method.options(), **result.metadata} if method else {}
    return Report(
        kind="scan",
        title=f"Scan of {shown(spec.model)}",
        verdict=result.verdict,
        given={**given, "policy": policy_facts(spec.policy)},
        method={"name": method.name if method else "weights", "options": options},
        environment=environment(seed=spec.seed, device=device),
        stages=clock.stages,
        measurements=result.measurements,
        warnings=[*(f"not opened: {one}" for one in result.scan.refused), *result.scan.undecided[1:], *result.warnings],
        curves=result.curves,
        scan=result.scan,
        findings=result.scan.triggers(),
    )


def policy_facts(policy: Policy) -> dict[str, Any]:
    """The policy as the report tells it."""
    return {
        "fail_on": policy.fail_on,
        "allow_undecided": policy.allow_undecided,
        "suspicious": policy.suspicious,
        "backdoored": policy.backdoored,
        "limits": policy.limits,
        "allowed": [f"{one.text}: {one.reason}" for one in policy.allow],
    }


def _given_weights(spec: ScanSpec, weighed: Weighed) -> dict[str, Any]:
    return {
        "model": {
            "name": shown(spec.model),
            "kind": weighed.kind,
            "sha256": weighed.sha256,
            "base": shown(spec.base) if spec.base else None,
            "files": dict(weighed.files),
        }
    }


def _given(model: Classifier, grant: Grant, hints: ScanContext) -> dict[str, Any]:
    told: dict[str, Any] = {
        "model": model_facts(model),
        "labels": list(model.label_names),
        "defender": grant.describe(),
        "max_length": model.max_length,
    }
    if hints.reference is not None:
        told["reference"] = {"name": shown(hints.reference.source.name), "sha256": hints.reference.source.sha256}
    if hints.rewritten is not None:
        told["rewritten"] = {"rows": len(hints.rewritten), "sha256": hints.rewritten.content_hash()}
    return told
