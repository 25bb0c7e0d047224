"""The subjects of an evaluation: what they are called, and what their task is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from untrigger.core.errors import ModelError, OptionError
from untrigger.evaluation.evaluator import BENIGN
from untrigger.evaluation.generative_metrics import CLEAN
from untrigger.evaluation.ground_truth import CLASSIFICATION, GENERATION, task_of
from untrigger.models.model_task import generates_text
from untrigger.pipeline.requests import EvaluateRequest, ModelInput, RunOptions


def subjects(models: Sequence[ModelInput], *, taken: Sequence[str] = (CLEAN, *BENIGN)) -> list[str]:
    """Return a short name for each model, all different and none of those ``taken``."""
    short = [Path(one.name).name or one.name for one in models]
    return [
        name if short.count(name) == 1 and name not in taken else f"{name} ({i + 1})" for i, name in enumerate(short)
    ]


def task_of_evaluation(request: EvaluateRequest) -> str:
    """Return ``classification`` or ``generation``: as the truth folder says, as was requested, or as the first model's files say.

    Raises:
        OptionError: if the truth folder is about another task than requested.
        DataError: if it is not a truth folder.
    """
    stated = task_of(request.truth) if request.truth else ""
    if request.task and stated and request.task != stated:
        raise OptionError(
            f"--task {request.task} with a truth folder about {stated}",
            remedy="leave out --task, or give another truth folder",
        )
    return request.task or stated or task_of_model(request.models[0], request.run)


def task_of_model(source: ModelInput, run: RunOptions) -> str:
    """Return ``classification`` or ``generation``, as a model's files say."""
    try:
        language = generates_text(source.name, offline=run.offline)
    except ModelError:  # said again, with more to it, where the model is loaded
        language = False
    return GENERATION if language else CLASSIFICATION
