"""The models that a purified model is compared with, each measured on the same rows: the controls of ``purify``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from untrigger.core.errors import UserError
from untrigger.core.grant import Grant
from untrigger.core.statistics import Measurement
from untrigger.defences.base_fine_tuning import PURPOSE, BaseFineTuned, BaseFineTuning
from untrigger.defences.fine_tuning import FineTune, matched_control
from untrigger.defences.purifier import Purified, Purifier
from untrigger.evaluation.evaluator import PURIFIED, Evaluator
from untrigger.evaluation.metrics import BASE_FINE_TUNED, find_measurement
from untrigger.models.classifier import Classifier
from untrigger.pipeline.load_inputs import load_same_classes, open_teacher
from untrigger.pipeline.requests import DEFAULT_TEACHER, PurifyRequest
from untrigger.runtime.cost import Clock

NO_GAIN = "the victim knows no more than the control, so there is no gain to keep"


@dataclass(frozen=True)
class BaseControl:
    """What became of the control ``base_finetuned``.

    Attributes:
        facts: what a report states about it.
        failure: why it could not be made; empty where it was.
    """

    facts: dict[str, Any]
    failure: str = ""


def run_controls(
    request: PurifyRequest,
    evaluator: Evaluator,
    clock: Clock,
    *,
    grant: Grant,
    base: str | None,
    victim: Classifier,
    purified: Purified,
    method: Purifier,
) -> BaseControl | None:
    """Evaluate victim, purified model and every control; return what became of ``base_finetuned``, None if not requested.

    ``base`` is the trusted base, also where the method does not use one.
    """
    with clock.stage("evaluate"):
        evaluator.evaluate(victim, "victim")
        evaluator.evaluate(purified.model, PURIFIED)
    if request.control and purified.history.steps and not isinstance(method, FineTune):
        with clock.stage("control: matched-budget fine-tuning"):
            control = matched_control(purified).purify(victim, grant, progress=evaluator.progress)
            evaluator.evaluate(control.model, "finetuned")
        clock.steps(control.history.steps)
        del control
    tuned: BaseControl | None = None
    if request.control and request.base_control:
        known = replace(grant, base=base, teacher=grant.teacher or request.teacher or DEFAULT_TEACHER)
        tuned = _base_fine_tuned(request, evaluator, clock, grant=known, victim=victim)
    if evaluator.truth and evaluator.truth.clean_model:
        source = replace(request.model, name=str(evaluator.truth.clean_model), labels=None)
        with clock.stage("control: clean model"):
            clean_model = load_same_classes(source, victim, request.run)
            evaluator.evaluate(clean_model, "clean")
        if request.benign:
            with clock.stage("control: benign model in"):
                evaluator.copy_outcomes("clean", "benign_in")
                evaluator.evaluate(method.purify(clean_model, grant, progress=evaluator.progress).model, "benign_out")
    return tuned


def _base_fine_tuned(
    request: PurifyRequest, evaluator: Evaluator, clock: Clock, *, grant: Grant, victim: Classifier
) -> BaseControl:
    """Train and evaluate the base on the clean rows; an error is returned and not raised, so that the result is not lost."""
    made: BaseFineTuned | None = None
    failure = ""
    with clock.stage(PURPOSE):
        try:
            if grant.base is None and grant.onto is None and victim.source.kind != "adapter":
                open_teacher(str(grant.teacher), request.run, otherwise=", or the base with --base")
            made = BaseFineTuning().train(victim, grant, progress=evaluator.progress)
            evaluator.evaluate(made.model, BASE_FINE_TUNED)
        except UserError as error:
            failure = error.what
            evaluator.outcomes = [one for one in evaluator.outcomes if one.subject != BASE_FINE_TUNED]
    if made is None or failure:
        return BaseControl({"not_measured": failure}, failure)
    clock.steps(made.history.steps)
    return BaseControl(made.to_dict())


def not_measured(control: BaseControl | None) -> list[Measurement]:
    """Return the measurements that a control that failed leaves open."""
    if control is None or not control.failure:
        return []
    names = ((BASE_FINE_TUNED, "cacc"), (PURIFIED, "gain_kept"))
    return [Measurement(subject, metric, None, None, None, 0) for subject, metric in names]


def control_warnings(control: BaseControl | None, found: list[Measurement]) -> list[str]:
    """Return what to know about the control: that it could not be made, what it was made from, that there is no gain."""
    if control is None:
        return []
    if control.failure:
        return [f"the control {PURPOSE.removeprefix('control: ')} is not measured: {control.failure}"]
    warnings = []
    if control.facts["tuning"] == "teacher":
        warnings.append(
            f"the base of the suspect is not known: the control is the teacher {control.facts['base']}, another model, fine-tuned "
            "on the clean rows"
        )
    kept, gain = (find_measurement(found, *one) for one in ((PURIFIED, "gain_kept"), ("victim", "accuracy_gain")))
    if kept is not None and kept.value is None and gain is not None and gain.value is not None:
        warnings.append(f"gain kept is not measured: {NO_GAIN} (accuracy above the control {gain.percent()})")
    return warnings
