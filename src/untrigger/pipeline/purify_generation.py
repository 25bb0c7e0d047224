"""``purify`` for language models: a suspect and clean prompts in; a model in the same format and its evidence out."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from untrigger.core.errors import DataError, NeedsError
from untrigger.core.files import check_new_paths, new_folder
from untrigger.core.progress import Progress, silent
from untrigger.core.prompts import Prompts
from untrigger.core.report import Report
from untrigger.core.seeds import generator_for
from untrigger.data.prompt_data import load_prompts, load_questions
from untrigger.data.unlabelled_data import Texts
from untrigger.defences.language.answer_fine_tuning import FineTuneAnswers, matched_fine_tuning
from untrigger.defences.language.language_purifier import (
    LEAST_PROMPTS,
    LanguagePurifier,
    PromptGrant,
    PurifiedLanguageModel,
)
from untrigger.defences.language.prompt_mixtures import framed_prompts
from untrigger.evaluation.answer_evaluator import AnswerEvaluator
from untrigger.evaluation.evaluator import PURIFIED
from untrigger.evaluation.generative_metrics import BASE, CLEAN, FINE_TUNED, not_implanted
from untrigger.evaluation.metrics import BASE_FINE_TUNED
from untrigger.evaluation.prompt_truth import PromptTruth, read_prompt_truth
from untrigger.models.adapter_merging import is_adapted
from untrigger.models.generation import GenerationOptions
from untrigger.models.language_adapters import merge_language_adapter
from untrigger.models.language_model import LanguageModel
from untrigger.models.saved_language_model_check import check_saved_language_model
from untrigger.models.saving import language_loading_text, save_language_model
from untrigger.pipeline.build_method import build_method
from untrigger.pipeline.evaluate_generation import reading_notes
from untrigger.pipeline.generation_request import GenerationPurifyRequest
from untrigger.pipeline.generation_verdict import GENERATION_LIMITS, generation_verdict
from untrigger.pipeline.language_base import TrustedBase, check_is_other, trusted_base_of
from untrigger.pipeline.load_inputs import load_language
from untrigger.pipeline.model_facts import model_facts
from untrigger.pipeline.requests import ModelInput
from untrigger.reporting import write_page
from untrigger.reporting.model_cards import purified_card
from untrigger.runtime.cost import Clock, environment

logger = logging.getLogger(__name__)

VICTIM = "victim"


@dataclass(frozen=True)
class _Inputs:
    """What the request names, loaded: the suspect, the grant, and what only the evaluator sees."""

    suspect: LanguageModel
    grant: PromptGrant
    held: Prompts
    truth: PromptTruth | None
    base: TrustedBase | None
    warnings: list[str] = field(default_factory=list)


def purify_generation(request: GenerationPurifyRequest, *, progress: Progress = silent) -> Report:
    """Return the report of a purification; write the model, its card, the report and its pages to ``request.out``.

    The method gets a ``PromptGrant`` and nothing else; the truth folder is used after it has ended.

    Raises:
        UserError: for any input that cannot be used; then nothing is written.
    """
    check_new_paths(request.out)
    method = build_method("language_defences", request.method, variant=request.variant, options=request.options)
    assert isinstance(method, LanguagePurifier)
    clock = Clock()
    with clock.stage("load"):
        given = _loaded(request, method)
    with clock.stage("purify"):
        purified = method.purify(given.suspect, given.grant, progress=progress)
    clock.steps(purified.history.steps)
    evaluator = AnswerEvaluator(
        given.truth.plain if given.truth else given.held,
        given.truth,
        GenerationOptions(max_new_tokens=request.max_new_tokens),
        progress,
        base=given.base.model if given.base else None,
    )
    _evaluate(request, evaluator, clock, given=given, purified=purified, method=method)
    found = evaluator.measurements(suspect=VICTIM)
    weak = not_implanted(found, subject=VICTIM)
    report = Report(
        kind="purification",
        title=f"{method.name} on {Path(request.model.name).name}",
        verdict=generation_verdict(found, purified),
        given=_given(request, given, evaluator),
        method={
            "name": method.name,
            "options": method.options() | purified.metadata | {"outcome": purified.outcome.value},
        },
        environment=environment(seed=request.run.seed, device=str(given.suspect.device)),
        stages=clock.stages,
        measurements=found,
        outcomes="outcomes.csv",
        warnings=[
            *given.warnings,
            *purified.warnings,
            *([weak] if weak else []),
            *reading_notes(given.suspect, "the suspect", evaluator),
        ],
        curves=purified.curves,
        examples=evaluator.examples(),
    )
    logger.info("verdict: %s: %s", report.verdict.status, report.verdict.sentence)
    with new_folder(request.out) as folder:
        _write_model(request, folder, given=given, purified=purified, report=report)
        evaluator.write_outcomes(folder / "outcomes.csv")
        report.write(folder / "report.json")
        write_page(report, folder / "report.html")
        write_page(report, folder / "report.md")
    return report


def _loaded(request: GenerationPurifyRequest, method: LanguagePurifier) -> _Inputs:
    """Return everything that the request names, checked.

    Raises:
        UserError: for any of it that cannot be used.
    """
    prompts = load_prompts(request.clean, template=request.template, offline=request.run.offline)
    rows, held = split_prompts(prompts, request)
    truth = read_prompt_truth(request.truth) if request.truth else None
    suspect = load_language(request.model, request.run)
    base = trusted_base_of(suspect, request.model, request.run, prompts=rows)
    unlabelled, notes = _unlabelled(request, method, rows=rows, held=held)
    grant = PromptGrant(
        clean=rows,
        unlabelled=unlabelled,
        base=base.model if base is not None and "base" in method.needs | method.uses else None,
        teacher=_teacher(request, method, suspect=suspect),
        seed=request.run.seed,
    )
    if "base" in method.needs and base is None:
        raise NeedsError(
            f"{method.name} needs the model that {request.model.name!r} was made from",
            remedy="name it with --base, if you trust it",
        )
    method.check(grant)
    warnings = [f"{len(held)} of the clean prompts were held out from the method", *rows.notes, *notes]
    warnings += list(base.warnings) if base else []
    if truth is not None:
        warnings += truth.leaks(rows, what="clean prompts given to the method")
        warnings += truth.leaks(unlabelled, what="unlabelled prompts given to the method") if unlabelled else []
    return _Inputs(suspect, grant, held, truth, base, warnings)


def split_prompts(prompts: Prompts, request: GenerationPurifyRequest) -> tuple[Prompts, Prompts]:
    """Return clean prompts for the defender and prompts that are held out from it; a prompt that occurs twice is used once.

    Raises:
        DataError: for too few prompts.
    """
    first = dict[object, int]()
    for i, talk in enumerate(prompts.conversations):
        first.setdefault(talk, i)
    distinct = prompts.take(first.values())
    held = max(2, round(request.held_out * len(distinct)))
    kept = min(request.clean_rows or len(distinct), len(distinct) - held)
    if kept < LEAST_PROMPTS:
        raise DataError(
            f"{len(distinct)} different clean prompts, of which {max(kept, 0)} are left for the method",
            expected=f"at least {LEAST_PROMPTS} for it; {held} more are held out to measure the result",
            remedy="give more clean prompts" if kept == len(distinct) - held else "use more of them (--clean-rows)",
        )
    order = generator_for(request.run.seed, "purify: prompts that are held out").permutation(len(distinct)).tolist()
    return (
        replace(distinct.take(sorted(order[:kept])), notes=prompts.notes),
        distinct.take(sorted(order[kept : kept + held])),
    )


def _unlabelled(
    request: GenerationPurifyRequest, method: LanguagePurifier, *, rows: Prompts, held: Prompts
) -> tuple[Prompts | None, list[str]]:
    """Return the prompts without answers that the method gets, and notes on them; none of them is a clean or held-out prompt."""
    if request.unlabelled is None:
        return None, []
    if "unlabelled" not in method.needs | method.uses:
        return None, [f"the unlabelled prompts were not used: the method {method.name} uses none"]
    read = load_questions(request.unlabelled, offline=request.run.offline)
    prompts = framed_prompts(read.texts, rows) if isinstance(read, Texts) else read
    known = {*rows.conversations, *held.conversations}
    left = prompts.where(one not in known for one in prompts.conversations)
    if not len(left):
        raise DataError(
            f"all {len(prompts)} prompts of {request.unlabelled} are among the clean ones", remedy="give other prompts"
        )
    order = generator_for(request.run.seed, "purify: unlabelled prompts").permutation(len(left)).tolist()
    used = left.take(sorted(order[: request.unlabelled_rows or len(left)]))
    return used, [f"{len(used)} of {len(prompts)} unlabelled prompts were given to the method"]


def _teacher(
    request: GenerationPurifyRequest, method: LanguagePurifier, *, suspect: LanguageModel
) -> LanguageModel | None:
    if request.teacher is None or "teacher" not in method.needs | method.uses:
        return None
    teacher = load_language(ModelInput(request.teacher), request.run)
    check_is_other(teacher, suspect, what=f"the teacher {request.teacher!r}", expected="a clean model")
    return teacher


def _evaluate(
    request: GenerationPurifyRequest,
    evaluator: AnswerEvaluator,
    clock: Clock,
    *,
    given: _Inputs,
    purified: PurifiedLanguageModel,
    method: LanguagePurifier,
) -> None:
    """Measure the suspect, the result and every control."""
    with clock.stage("evaluate"):
        evaluator.evaluate(given.suspect, VICTIM)
        evaluator.evaluate(purified.model, PURIFIED)
        if evaluator.base is not None:
            evaluator.evaluate(evaluator.base, BASE)
    if request.control and purified.history.steps and not isinstance(method, FineTuneAnswers):
        with clock.stage("control: matched-budget fine-tuning"):
            control = matched_fine_tuning(purified).purify(given.suspect, given.grant, progress=evaluator.progress)
            evaluator.evaluate(control.model, FINE_TUNED)
        clock.steps(control.history.steps)
    if request.control and evaluator.base is not None:
        with clock.stage("control: base fine-tuned on the clean prompts"):
            tuned = purified.base_tuned
            if tuned is None:
                tuned = FineTuneAnswers().purify(evaluator.base, given.grant, progress=evaluator.progress).model
            evaluator.evaluate(tuned, BASE_FINE_TUNED)
    if given.truth is not None and given.truth.clean_model is not None:
        with clock.stage("control: clean model"):
            source = replace(request.model, name=str(given.truth.clean_model), labels=None)
            evaluator.evaluate(load_language(source, request.run), CLEAN)


def _given(request: GenerationPurifyRequest, given: _Inputs, evaluator: AnswerEvaluator) -> dict[str, Any]:
    """Return what the report states about its inputs."""
    entry: dict[str, Any] = {
        "task": "generation",
        "model": model_facts(given.suspect),
        "defender": given.grant.describe(),
        "test": evaluator.plain.describe(),
        "held_out": given.held.describe(),
        "max_new_tokens": request.max_new_tokens,
        "limits": asdict(GENERATION_LIMITS),
    }
    return entry | ({"truth": given.truth.to_dict()} if given.truth else {})


def _write_model(
    request: GenerationPurifyRequest,
    folder: Path,
    *,
    given: _Inputs,
    purified: PurifiedLanguageModel,
    report: Report,
) -> None:
    """Write the result in the suspect's format, or merged, and check that plain transformers and peft load the same model.

    Its tokenizer and chat template are those of the trusted base (see ``trusted_base_of``), whatever the method.

    Raises:
        OutputError: if they cannot load what was written.
        ModelError: if it predicts otherwise than the model in memory.
    """
    suspect, model = given.suspect, purified.model
    whole = request.merge or not is_adapted(suspect) or not is_adapted(model)
    model = merge_language_adapter(model) if whole else model
    if given.base is not None:
        reader = given.base.model
        model = replace(model, tokenizer=reader.tokenizer, tokenizer_files=reader.tokenizer_files)
    facts = {
        "input": f"{Path(request.model.name).name} ({suspect.source.kind}), SHA-256 {suspect.source.sha256[:16]}…",
        "method": report.method["name"] if report.method else "",
        "clean prompts": report.given["defender"]["clean"]["prompts"],
        "seed": request.run.seed,
    } | {f"{m.subject}: {m.metric}": m.percent() for m in report.measurements if m.subject in (VICTIM, PURIFIED)}
    card = purified_card(
        {
            "facts": facts,
            "front": "" if whole else "library_name: peft\n",
            "task": "text-generation",
            "status": report.verdict.status,
            "sentence": report.verdict.sentence,
            "warnings": report.warnings,
            "loading": language_loading_text(model, whole=whole),
        }
    )
    save_language_model(model, folder, card=card)
    check_saved_language_model(model, folder, prompts=given.held)
