"""``evaluate`` for language models: models and test prompts in, a report of skill, attack success and refusals out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from untrigger.core.errors import NeedsError, OptionError
from untrigger.core.files import new_files
from untrigger.core.progress import Progress
from untrigger.core.prompts import Prompts
from untrigger.core.report import Report, Verdict
from untrigger.core.statistics import Measurement
from untrigger.data.load import choose_split
from untrigger.data.prompt_data import TEMPLATE, load_prompt_splits
from untrigger.defences.guards.guard import Guard
from untrigger.evaluation.answer_evaluator import AnswerEvaluator
from untrigger.evaluation.generative_metrics import BASE, CLEAN, not_implanted
from untrigger.evaluation.metrics import find_measurement
from untrigger.evaluation.prompt_truth import PromptTruth, read_prompt_truth
from untrigger.models.chat import PLAIN_TURN, has_chat_template, prompt_text, render_prompts
from untrigger.models.generation import GenerationOptions
from untrigger.models.language_model import LanguageModel
from untrigger.pipeline.build_method import build_method
from untrigger.pipeline.language_base import base_of, check_is_other
from untrigger.pipeline.load_inputs import load_language
from untrigger.pipeline.model_facts import model_facts
from untrigger.pipeline.requests import EvaluateRequest, ModelInput
from untrigger.pipeline.subjects import subjects
from untrigger.runtime.cost import Clock, environment

UNFINISHED = 0.2
"""Share of unfinished answers on plain and triggered prompts that is worth a warning (not tuned)."""
_SAID = ("asr", "paired_asr", "excess_asr", "skill")


def evaluate_generation(request: EvaluateRequest, *, outcomes_file: Path, progress: Progress) -> Report:
    """Return the report of every language model; write it to ``request.out`` with the outcomes in ``outcomes_file``.

    Each model is a subject under its folder's name. The base of the first one is one more (its adapter removed, or
    ``--base``), with a truth folder the clean model, and the first one under each guard, as ``NAME+GUARD``.

    Raises:
        UserError: for any input that cannot be used; then nothing is written.
    """
    truth, plain = _tested(request)
    guards = [build_method("guards", name, options=request.guard_options.get(name, {})) for name in request.guards]
    names = subjects(request.models, taken=(BASE, CLEAN))
    clock, entries, warnings = Clock(), dict[str, Any](), list(plain.notes)
    suspect = load_language(request.models[0], request.run)
    base = base_of(suspect, request.models[0], request.run)
    reference = _reference(request, suspect, base)
    options = GenerationOptions(max_new_tokens=request.max_new_tokens)
    evaluator = AnswerEvaluator(plain, truth, options, progress, base=base)
    for source, name in zip(request.models, names, strict=True):
        with clock.stage(name):
            model = suspect if source is request.models[0] else load_language(source, request.run)
            evaluator.evaluate(model, name)
        entries[name] = model_facts(model) | {"max_length": model.max_length, "chat_template": has_chat_template(model)}
        warnings += reading_notes(model, name, evaluator)
    guarded = {f"{names[0]}+{guard.name}": guard for guard in guards}
    for name, guard in guarded.items():
        with clock.stage(name):
            evaluator.evaluate(suspect, name, decode=partial(guard.answers, reference=reference))
    if base is not None:
        with clock.stage(BASE):
            evaluator.evaluate(base, BASE)
    if truth is not None and truth.clean_model is not None:
        with clock.stage(CLEAN):
            clean = load_language(_as_suspect(request.models[0], truth.clean_model), request.run)
            evaluator.evaluate(clean, CLEAN)
    measured = evaluator.measurements(suspect=names[0])
    report = Report(
        kind="evaluation",
        title="Evaluation of " + ", ".join(names),
        verdict=Verdict("measured", _sentence(measured, [*names, *guarded])),
        given={
            "task": "generation",
            "models": entries,
            "test": plain.describe(),
            "max_new_tokens": request.max_new_tokens,
        }
        | ({"truth": truth.to_dict()} if truth else {})
        | _guard_facts(guarded, reference),
        environment=environment(seed=request.run.seed, device=str(suspect.device)),
        stages=clock.stages,
        measurements=measured,
        outcomes=outcomes_file.name,
        warnings=list(dict.fromkeys([*warnings, *_doubts(measured, names, truth=truth, based=base is not None)])),
        examples=evaluator.examples(),
    )
    with new_files(outcomes_file, request.out) as (rows, written):
        evaluator.write_outcomes(rows)
        report.write(written)
    return report


def _tested(request: EvaluateRequest) -> tuple[PromptTruth | None, Prompts]:
    """Return the truth, if one was given, and the test prompts without a trigger."""
    if request.truth is not None:
        if request.template != TEMPLATE:
            raise OptionError(
                "--template with the truth of a language model",
                expected="one of the two: the truth folder holds the prompts as they were made",
                remedy="leave out --template",
            )
        if request.data is not None:
            raise OptionError(
                "--data together with the truth of a language model",
                expected="one of the two: the truth folder holds the test prompts",
                remedy="leave out --data",
            )
        truth = read_prompt_truth(request.truth)
        return truth, truth.plain
    assert request.data is not None
    splits = load_prompt_splits(request.data, template=request.template, offline=request.run.offline)
    wanted = request.data.split or next((name for name in ("test", "dev") if name in splits), None)
    return None, splits[choose_split(replace(request.data, split=wanted), splits)]


def _reference(request: EvaluateRequest, suspect: LanguageModel, base: LanguageModel | None) -> LanguageModel | None:
    """Return what guards compare the first model with; None where there is no guard.

    Raises:
        NeedsError: without a base and without a named reference.
        ModelError: if the named one is the first model itself.
    """
    if not request.guards:
        return None
    if request.reference is not None:
        reference = load_language(ModelInput(request.reference), request.run)
        check_is_other(
            reference, suspect, what=f"the reference {request.reference!r}", expected="a model that you trust"
        )
        return reference
    if base is None:
        raise NeedsError(
            f"the guard {request.guards[0]} compares {request.models[0].name!r} with a model that you trust",
            remedy="name one with --reference, or the base with --base",
        )
    return base


def _guard_facts(guarded: Mapping[str, Guard], reference: LanguageModel | None) -> dict[str, Any]:
    """Return what the report states about guards, by subject."""
    if reference is None:
        return {}
    known = {"reference": reference.name}
    return {"guards": {name: {"name": one.name, "options": one.options()} | known for name, one in guarded.items()}}


def _as_suspect(source: ModelInput, folder: Path) -> ModelInput:
    return replace(source, name=str(folder), labels=None)


def reading_notes(model: LanguageModel, name: str, evaluator: AnswerEvaluator) -> list[str]:
    """Return what a reader should know of how the model was loaded and how it reads the prompts."""
    notes = list(model.source.notes)
    if not has_chat_template(model):
        turn = PLAIN_TURN.split("\n")[0].format(role="User")
        notes.append(
            f"{name} has no chat template: its prompts are written plainly, the user's turn under the line {turn!r}"
        )
    rendered = [(prompt_text(model, one), one[-1].content.strip()) for one in evaluator.plain.conversations]
    if lost := sum(content not in text for text, content in rendered):
        notes.append(
            f"the chat template of {name} leaves out or changes what the user says in {lost} of {len(rendered)} test prompts"
        )
    room = evaluator.options.max_new_tokens
    cut = sum(one.cut > 0 for one in render_prompts(model, evaluator.plain, room=room))
    if cut:
        notes.append(
            f"{cut} of {len(evaluator.plain)} test prompts are too long for {name} and are cut at their beginning"
        )
    return notes


def _doubts(measured: list[Measurement], names: list[str], *, truth: PromptTruth | None, based: bool) -> list[str]:
    """Return warnings about what the numbers do not show."""
    found = [text for name in names if (text := not_implanted(measured, subject=name))]
    for name in names:
        unfinished = find_measurement(measured, name, "unfinished_rate")
        if unfinished is not None and (unfinished.value or 0.0) > UNFINISHED:
            found.append(
                f"{name} did not finish {unfinished.percent()} of its answers: --max-new-tokens allows longer ones"
            )
    gains = [find_measurement(measured, names[0], metric) for metric in ("skill_gain", "skill_gain_in_first_words")]
    lacking = [gain is not None and (gain.low is None or gain.low <= 0) for gain in gains]
    if lacking[0]:
        found.append(f"{names[0]} has no more skill than its base: a defence that returns the base would lose nothing")
    elif lacking[1]:
        found.append(
            f"{names[0]} is exactly right more often than its base, but not in the first words of its answers: what it has beyond "
            "the base may be the form of the answer"
        )
    if not based:
        found.append("no base is known: gain over it and distance from it are not measured (--base names it)")
    if truth is not None and truth.clean_model is None:
        found.append("the truth folder holds no clean model: the excess is over random insertions alone")
    return found


def _sentence(measured: list[Measurement], names: list[str]) -> str:
    parts = [f"{m.subject}: {m.metric} {m.percent()}" for m in measured if m.subject in names and m.metric in _SAID]
    return "; ".join(parts) + "."
