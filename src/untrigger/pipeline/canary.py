"""``canary``: a model and two pinned sets in; whether its accuracy and attack success are within stated bounds out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from untrigger.core import verdicts
from untrigger.core.errors import DataError, check_choice
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Report, Verdict
from untrigger.core.rows import Rows
from untrigger.core.statistics import Measurement, wilson
from untrigger.evaluation.evaluator import Evaluator
from untrigger.evaluation.ground_truth import GroundTruth
from untrigger.models.classifier import Classifier
from untrigger.pipeline.agreement import notes_of
from untrigger.pipeline.load_inputs import load_classifier, load_rows
from untrigger.pipeline.model_facts import model_facts, shown
from untrigger.pipeline.requests import CanaryRequest
from untrigger.runtime.cost import Clock, environment

SUBJECT = "suspect"


def canary(request: CanaryRequest, *, progress: Progress = silent) -> Report:
    """Return the report of the accuracy on the clean set and the attack success on the triggered set, each with its bound.

    Raises:
        UserError: for any input that cannot be used, and for a set that is not the pinned one.
    """
    clock = Clock()
    with clock.stage("load"):
        model = load_classifier(request.model, request.run)
        target = model.label_names.index(check_choice(request.target, model.label_names, kind="label"))
        clean, triggered = (load_rows(one, model, request.run, classes=1) for one in (request.clean, request.triggered))
        sets = {"clean": clean, "triggered": triggered}
        _check_pins(request, sets)
    targets = {label: target for label in range(len(model.label_names)) if label != target}
    truth = GroundTruth(clean, triggered, target, targets, trigger=None, clean_model=None, metadata={})
    evaluator = Evaluator(test=clean, truth=truth, progress=progress)
    with clock.stage("evaluate"):
        evaluator.evaluate(model, SUBJECT)
    found = {one.metric: one for one in evaluator.measurements()}
    accuracy, asr = found["cacc"], found["asr"]
    return Report(
        kind="evaluation",
        title=f"Canary of {shown(request.model.name)}",
        verdict=canary_verdict(accuracy, asr, request=request),
        given=_given(request, model, sets),
        method={"name": "canary", "options": {"min_accuracy": request.min_accuracy, "max_asr": request.max_asr}},
        environment=environment(seed=request.run.seed, device=str(model.device)),
        stages=clock.stages,
        measurements=[accuracy, asr],
        warnings=notes_of(clean, triggered, model=model),
    )


def canary_verdict(accuracy: Measurement, asr: Measurement, *, request: CanaryRequest) -> Verdict:
    """Return *held* if both bounds hold at the worse end of their intervals, *bound not met* or *undecided* otherwise.

    A bound is undecided where even a perfect result on as many rows would not show it, and the better end does not break it.
    """
    wrong = replace(accuracy, value=_not(accuracy.value), low=_not(accuracy.high), high=_not(accuracy.low))
    checks = [
        (
            _status(wrong, bound=1 - request.min_accuracy),
            f"accuracy {accuracy.percent()}, at least {request.min_accuracy:.0%}",
        ),
        (_status(asr, bound=request.max_asr), f"attack success {asr.percent()}, at most {request.max_asr:.0%}"),
    ]
    statuses = [status for status, _ in checks]
    worst = next((s for s in (verdicts.NOT_MET, verdicts.UNDECIDED) if s in statuses), verdicts.HELD)
    sentence = "; ".join(f"{what}: {status}" for status, what in checks)
    return Verdict(worst, sentence[0].upper() + sentence[1:] + ".")


def _status(rate: Measurement, *, bound: float) -> str:
    """Return whether a rate is shown to be at most ``bound`` by the worse end of its interval."""
    if rate.low is None or rate.high is None:
        return verdicts.UNDECIDED
    if rate.high <= bound:
        return verdicts.HELD
    _, best = wilson(0, rate.n)
    assert best is not None
    return verdicts.UNDECIDED if best > bound >= rate.low else verdicts.NOT_MET


def _not(share: float | None) -> float | None:
    return None if share is None else 1 - share


def pinned_hash(rows: Rows) -> str:
    """Return the content hash of the rows with the label names in alphabetical order: the same whatever the model's order."""
    names = sorted(rows.label_names)
    labels = tuple(names.index(rows.label_names[label]) for label in rows.labels)
    return replace(rows, label_names=tuple(names), labels=labels).content_hash()


def _check_pins(request: CanaryRequest, sets: dict[str, Rows]) -> None:
    """Raise DataError unless both sets have the hashes that were given, if any were."""
    for (name, rows), pin in zip(sets.items(), request.pins, strict=False):
        if pinned_hash(rows) != pin.lower():
            raise DataError(
                f"the {name} set has the hash {pinned_hash(rows)}",
                expected=f"{pin}, as --pin says",
                remedy="use the rows that were pinned, or review the new ones and pin them",
            )


def _given(request: CanaryRequest, model: Classifier, sets: dict[str, Rows]) -> dict[str, Any]:
    return {
        "model": model_facts(model),
        "labels": list(model.label_names),
        "max_length": model.max_length,
        "target": request.target,
        "pinned": bool(request.pins),
        **{name: {"rows": len(rows), "sha256": pinned_hash(rows)} for name, rows in sets.items()},
    }
