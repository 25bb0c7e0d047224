"""Options that belong to one task alone: named, not silently ignored, where the model is of the other one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from untrigger.core.errors import OptionError
from untrigger.models.model_task import generates_text


def check_task_options(
    given: Collection[str],
    *,
    model: str,
    offline: bool,
    generation: bool,
    of_classifiers: Sequence[str],
    of_language_models: Sequence[str],
) -> None:
    """Raise OptionError for options that the task of the model does not have.

    Args:
        given: names of the options on the command line.
        model: its folder or name.
        offline: use only what is on this machine.
        generation: whether the model is a language model.
        of_classifiers: options of classifiers alone.
        of_language_models: options of language models alone.

    Raises:
        ModelError: if there are such options and no such model: its task is not known then.
    """
    wrong = [one for one in (of_classifiers if generation else of_language_models) if one in given]
    if wrong:
        generates_text(model, offline=offline)
        task, other = ("language model", "classifier") if generation else ("classifier", "language model")
        raise OptionError(
            f"{', '.join('--' + one.replace('_', '-') for one in wrong)} with a {task}",
            expected=f"options of a {task}: these belong to a {other}",
            remedy="leave them out, or name the task with --task",
        )
