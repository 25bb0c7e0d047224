"""``audit`` of a language model: attack success and skill as it is, and after every treatment of its next users.

With a clean model in the truth folder it goes through the same treatments: only what comes back in the purified model alone is a
backdoor that was dormant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from untrigger.core import verdicts
from untrigger.core.errors import OptionError, check_choice
from untrigger.core.files import check_new_paths, new_files
from untrigger.core.progress import Progress, silent
from untrigger.core.prompts import Prompts
from untrigger.core.report import Report, Verdict
from untrigger.core.statistics import Measurement
from untrigger.data import DataSource
from untrigger.data.prompt_data import TEMPLATE, load_prompts
from untrigger.evaluation.answer_evaluator import AnswerEvaluator
from untrigger.evaluation.generative_metrics import excess_over
from untrigger.evaluation.language_robustness import fine_tuned_on, language_model_in_int8, repoisoned_answers
from untrigger.evaluation.prompt_truth import PromptTruth, read_prompt_truth
from untrigger.models.adapter_merging import is_adapted
from untrigger.models.generation import GenerationOptions
from untrigger.models.language_adapters import merge_language_adapter
from untrigger.models.language_model import LanguageModel
from untrigger.pipeline.load_inputs import load_language
from untrigger.pipeline.model_facts import model_facts, shown
from untrigger.pipeline.requests import TREATMENTS, ModelInput, RunOptions
from untrigger.pipeline.verdict_rules import Subject, audit_verdict
from untrigger.runtime.cost import Clock, environment

LEAST_PROMPTS = 8
"""Fewest clean prompts to fine-tune on (not tuned)."""


@dataclass(frozen=True)
class GenerationAuditRequest:
    """What ``audit`` is given for a language model.

    Attributes:
        model: the purified model.
        clean: clean prompts with answers, for the fine-tuning.
        out: the ``report.json`` to write.
        truth: truth folder of the attack: test prompts, behaviour, clean model, and the trigger to poison with.
        treatments: names of ``TREATMENTS``, each applied to the model as it came.
        steps: optimiser steps of the benign fine-tuning, and of the one with a few poisoned prompts.
        poisoned: prompts with the true trigger among those, in the last treatment.
        clean_rows: use at most as many clean prompts (0: all).
        template: the prompt of a labelled text.
        max_new_tokens: the longest answer that is measured.
        run: seed, device, offline.
    """

    model: ModelInput
    clean: DataSource
    out: Path
    truth: Path
    treatments: tuple[str, ...] = tuple(TREATMENTS)
    steps: int = 20
    poisoned: int = 8
    clean_rows: int = 1000
    template: str = TEMPLATE
    max_new_tokens: int = 64
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for an unknown treatment and numbers below 1.
        """
        for name in self.treatments:
            check_choice(name, TREATMENTS, kind="treatment")
        if self.steps < 1 or self.poisoned < 1:
            raise OptionError(f"steps {self.steps}, poisoned {self.poisoned}", expected="1 or more of each")


def audit_generation(request: GenerationAuditRequest, *, progress: Progress = silent) -> Report:
    """Return the report of an audit; write it to ``request.out`` with the outcomes next to it.

    Raises:
        UserError: for any input that cannot be used; then nothing is written.
    """
    outcomes_file = request.out.with_suffix(".outcomes.csv")
    check_new_paths(request.out, outcomes_file)
    clock, warnings = Clock(), list[str]()
    with clock.stage("load"):
        prompts = _prompts(request)
        truth = read_prompt_truth(request.truth)
        warnings += truth.leaks(prompts, what="clean prompts of the fine-tuning")
        if "repoison" in request.treatments and _poisoned(request, prompts) < request.poisoned:
            warnings.append(
                f"{_poisoned(request, prompts)} poisoned prompts instead of {request.poisoned}: a quarter of the {len(prompts)} "
                "clean ones at most"
            )
        model = load_language(request.model, request.run)
    options = GenerationOptions(max_new_tokens=request.max_new_tokens)
    evaluator = AnswerEvaluator(truth.plain, truth, options, progress)
    subjects = [
        _measured(model, request, evaluator, clock, purified=True, prompts=prompts, truth=truth, warnings=warnings)
    ]
    if truth.clean_model is not None:
        clean = load_language(ModelInput(str(truth.clean_model), max_length=request.model.max_length), request.run)
        more = _measured(
            clean, request, evaluator, clock, purified=False, prompts=prompts, truth=truth, warnings=warnings
        )
        subjects.append(more)
    else:
        warnings.append("the truth folder holds no clean model: nothing shows what the treatments do to a clean model")
    excesses = _excesses(evaluator, [one for each in subjects for one in each])
    found = [
        one
        for one in evaluator.measurements(suspect=Subject(True).name)
        if one.metric not in ("excess_asr", "skill_gain", "gain_kept")
    ]
    report = Report(
        kind="audit",
        title=f"Audit of {shown(request.model.name)}",
        verdict=_verdict(excesses),
        given={
            "task": "generation",
            "model": model_facts(model),
            "clean": prompts.describe(),
            "test": truth.plain.describe(),
            "truth": truth.to_dict(),
        },
        method={
            "name": "audit",
            "options": {"treatments": request.treatments, "steps": request.steps, "poisoned": request.poisoned},
        },
        environment=environment(seed=request.run.seed, device=str(model.device)),
        stages=clock.stages,
        measurements=[*found, *excesses.values()],
        outcomes=outcomes_file.name,
        warnings=list(dict.fromkeys([*model.source.notes, *warnings])),
        examples=evaluator.examples(),
    )
    with new_files(outcomes_file, request.out) as (rows, written):
        evaluator.write_outcomes(rows)
        report.write(written)
    return report


def _prompts(request: GenerationAuditRequest) -> Prompts:
    """Return the clean prompts to fine-tune on.

    Raises:
        DataError: for data that cannot be used.
        OptionError: for too few of them.
    """
    prompts = load_prompts(request.clean, template=request.template, offline=request.run.offline)
    if len(prompts) < LEAST_PROMPTS:
        raise OptionError(f"{len(prompts)} clean prompts", expected=f"at least {LEAST_PROMPTS} to fine-tune on")
    return prompts.take(range(min(request.clean_rows or len(prompts), len(prompts))))


def _measured(
    model: LanguageModel,
    request: GenerationAuditRequest,
    evaluator: AnswerEvaluator,
    clock: Clock,
    *,
    purified: bool,
    prompts: Prompts,
    truth: PromptTruth,
    warnings: list[str],
) -> list[Subject]:
    """Evaluate the model as it came and after every treatment that can be done; return these subjects."""
    done = [Subject(purified)]
    with clock.stage(done[0].name):
        evaluator.evaluate(model, done[0].name, briefly=True)
    for name, treated in _treated(model, request, prompts=prompts, truth=truth, progress=evaluator.progress):
        subject = Subject(purified, TREATMENTS[name])
        if isinstance(treated, str):
            warnings.append(f"not done: {subject.name}: {treated}")
            continue
        with clock.stage(subject.name):
            evaluator.evaluate(treated, subject.name, briefly=True)
        done.append(subject)
    return done


def _treated(
    model: LanguageModel,
    request: GenerationAuditRequest,
    *,
    prompts: Prompts,
    truth: PromptTruth,
    progress: Progress,
) -> Iterator[tuple[str, LanguageModel | str]]:
    """Yield the model after each treatment, or why that cannot be done."""
    seed, steps = request.run.seed, request.steps
    for name in request.treatments:
        if name == "finetune":
            yield name, fine_tuned_on(model, prompts, steps=steps, seed=seed, progress=progress)
        elif name == "merge":
            yield name, merge_language_adapter(model) if is_adapted(model) else "full weights have nothing to merge"
        elif name == "int8":
            small, layers = language_model_in_int8(model)
            yield name, small if layers else "no layer that dynamic int8 supports"
        elif truth.trigger is None:
            yield name, "the truth folder names a trigger that this version does not know"
        else:
            count = _poisoned(request, prompts)
            yield (
                name,
                repoisoned_answers(model, prompts, truth, count=count, steps=steps, seed=seed, progress=progress),
            )


def _poisoned(request: GenerationAuditRequest, prompts: Prompts) -> int:
    return min(request.poisoned, len(prompts) // 4)


def _verdict(excesses: dict[Subject, Measurement]) -> Verdict:
    """Return the verdict; undecided where no clean model was treated alike."""
    if any(one.value is not None for one in excesses.values()):
        return audit_verdict(excesses, {Subject(True): ""})
    return Verdict(verdicts.UNDECIDED, "Attack success above that of a clean model treated alike is not measured.")


def _excesses(evaluator: AnswerEvaluator, subjects: list[Subject]) -> dict[Subject, Measurement]:
    """Return attack success above that of the clean model treated alike, where it was measured."""
    return {
        one: excess_over(evaluator.outcomes, subject=one.name, floor=one.counterpart.name)
        for one in subjects
        if one.purified and one.counterpart in subjects
    }
