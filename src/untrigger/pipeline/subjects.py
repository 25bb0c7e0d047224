"""The subjects of an evaluation: what they are called, and what their task is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from untrigger.core.errors import ModelError, OptionError, check_choice
from untrigger.evaluation.evaluator import BENIGN
from untrigger.evaluation.generative_metrics import CLEAN
from untrigger.evaluation.ground_truth import CLASSIFICATION, GENERATION, TASKS, task_of
from untrigger.models.model_task import check_generates_text, generates_text
from untrigger.pipeline.requests import EvaluateRequest, ModelInput
from untrigger.pipeline.task_options import check_task_options


def subjects(models: Sequence[ModelInput], *, taken: Sequence[str] = (CLEAN, *BENIGN)) -> list[str]:
    """Return a short name for each model, all different and none of those ``taken``."""
    short = [Path(one.name).name or one.name for one in models]
    return [
        name if short.count(name) == 1 and name not in taken else f"{name} ({i + 1})" for i, name in enumerate(short)
    ]


def task_of_evaluation(request: EvaluateRequest) -> str:
    """Return the task of an evaluation (see ``task_of_model``): that of the truth folder or of the first model."""
    return task_of_model(request.models[0].name, task=request.task, truth=request.truth, offline=request.run.offline)


def task_of_model(name: str, *, task: str, truth: Path | None, offline: bool) -> str:
    """Return ``classification`` or ``generation``: as the truth folder says, as was requested, or as the model's files say.

    Raises:
        OptionError: for an unknown task, and if the truth folder is about another task than requested.
        DataError: if it is not a truth folder.
        ModelError: if generation was requested of a classifier.
    """
    if task:
        check_choice(task, TASKS, kind="task")
    stated = task_of(truth) if truth else ""
    if task and stated and task != stated:
        raise OptionError(
            f"--task {task} with a truth folder about {stated}",
            remedy="leave out --task, or give another truth folder",
        )
    if task == GENERATION:
        check_generates_text(name, offline=offline)
    if task or stated:
        return task or stated
    try:
        language = generates_text(name, offline=offline)
    except ModelError:  # raised again, with more detail, where the model is loaded
        language = False
    return GENERATION if language else CLASSIFICATION


def checked_task(
    given: Collection[str],
    *,
    model: str,
    task: str,
    truth: Path | None,
    offline: bool,
    of_classifiers: Sequence[str],
    of_language_models: Sequence[str],
) -> bool:
    """Return whether a model generates text (see ``task_of_model``), after ``check_task_options`` with the same arguments."""
    generation = task_of_model(model, task=task, truth=truth, offline=offline) == GENERATION
    check_task_options(
        given,
        model=model,
        offline=offline,
        generation=generation,
        of_classifiers=of_classifiers,
        of_language_models=of_language_models,
    )
    return generation
