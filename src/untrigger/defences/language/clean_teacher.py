"""The clean teacher of W2SDefense for language models: a trusted model with a new adapter, trained on the clean prompts."""

from __future__ import annotations

from dataclasses import dataclass

from untrigger.core.progress import Progress
from untrigger.core.prompts import Prompts
from untrigger.core.report import Curve
from untrigger.core.seeds import derived_seed, generator_for
from untrigger.models.language_model import LanguageModel
from untrigger.training.answer_students import AnswerStudentOptions
from untrigger.training.history import history_curves
from untrigger.training.loop import History

LIKELIHOOD = "log-likelihood of held-out answers"


@dataclass(frozen=True)
class CleanTeacher:
    """A teacher and what it was made with.

    Attributes:
        model: the trusted model with its new adapter, frozen.
        history: of its training.
        rows: clean prompts that it was trained on.
        dev: clean prompts that it did not learn; they chose its epoch.
    """

    model: LanguageModel
    history: History
    rows: Prompts
    dev: Prompts

    def curves(self) -> list[Curve]:
        """Return the curves of its training."""
        return history_curves(self.history, panel="Training of the teacher", score=LIKELIHOOD)


def clean_teacher(
    trusted: LanguageModel,
    prompts: Prompts,
    *,
    options: AnswerStudentOptions,
    dev: float,
    seed: int,
    progress: Progress,
) -> CleanTeacher:
    """Return ``trusted`` with a new adapter that learned the clean prompts, but for a share ``dev`` of them (at least two).

    Args:
        trusted: the base, or a smaller clean model; it stays as it is.
        prompts: the clean prompts.
        options: of adapter and training.
        dev: share of the prompts that is held out and chooses the epoch, 0 to 1.
        seed: of the split, the adapter's first values and the order of the prompts.
        progress: gets every step.
    """
    order = generator_for(seed, "clean prompts that calibrate the bound").permutation(len(prompts)).tolist()
    held = max(2, round(dev * len(order)))
    rest, rows = prompts.take(sorted(order[:held])), prompts.take(sorted(order[held:]))
    model, history = options.trained(
        trusted, rows, seed=derived_seed(seed, "teacher"), dev=rest, progress=progress, label="training the teacher"
    )
    return CleanTeacher(model, history, rows, rest)
