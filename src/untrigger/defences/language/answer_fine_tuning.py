"""Plain fine-tuning of a language model on the clean prompts: as a purifier, and as the control of every other one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from untrigger.core.progress import Progress
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.language.language_purifier import LanguagePurifier, PromptGrant, PurifiedLanguageModel
from untrigger.models.language_model import LanguageModel
from untrigger.training.answer_students import AnswerStudentOptions
from untrigger.training.history import history_curves


@dataclass(frozen=True)
class FineTuneAnswers(LanguagePurifier):
    """The suspect's own adapter, or a new one on full weights, trained further with cross-entropy on the clean answers.

    Attributes:
        student: rate, epochs, steps and batch size; the rank only of a new adapter.
        max_steps: optimiser steps at most (0: no bound); to match another budget.
    """

    name: ClassVar[str] = "finetune"
    student: AnswerStudentOptions = field(default_factory=AnswerStudentOptions)
    max_steps: int = 0

    def _purify(self, model: LanguageModel, grant: PromptGrant, *, progress: Progress) -> PurifiedLanguageModel:
        assert grant.clean is not None
        student = self.student.copy_of_suspect(model, seed=grant.seed)
        history = self.student.train(
            student, grant.clean, seed=grant.seed, progress=progress, label="fine-tuning", max_steps=self.max_steps
        )
        return PurifiedLanguageModel(
            student,
            changed=True,
            history=history,
            outcome=PurificationOutcome.TRAINED_ON_CLEAN_ROWS,
            summary="the model was trained on the clean prompts and nothing else, which is known to leave backdoors in place",
            curves=history_curves(history, panel="Fine-tuning"),
            budget=self.student.budget(),
        )


def matched_fine_tuning(purified: PurifiedLanguageModel) -> FineTuneAnswers:
    """Return plain fine-tuning with the rate, batch size and number of steps of ``purified``."""
    steps, budget = purified.history.steps, purified.budget
    student = AnswerStudentOptions(steps=steps)
    if budget is not None:
        student = replace(student, rank=budget.adapter.rank, lr=budget.lr, batch_size=budget.batch_size)
    return FineTuneAnswers(student, max_steps=steps)
