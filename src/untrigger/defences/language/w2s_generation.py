"""W2SDefense for language models: a new adapter on the trusted base learns from the suspect's answers, bounded by a clean teacher.

The paper (arXiv 2410.14425) lets a small clean teacher guide the student. Here the teacher is the trusted base (or a smaller clean
model with the same tokenizer) that was trained on the clean prompts. It knows the task less well than the suspect does, and knows
nothing of the backdoor. The suspect answers prompts without a known answer, and no token of its answers may be much likelier than
the teacher finds it. What it would say where the teacher finds its first token nearly impossible is not learned at all.

Differs from the paper: the student starts from the base, not from the suspect, so that no poisoned weight is left; the teacher
bounds answers, so that the student is not limited to what the teacher can do. The published loss is the variant ``published``.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any, ClassVar

from untrigger.core.errors import NeedsError, OptionError
from untrigger.core.progress import Progress
from untrigger.core.prompts import Prompts
from untrigger.core.seeds import derived_seed
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.language.clean_teacher import clean_teacher
from untrigger.defences.language.language_purifier import LanguagePurifier, PromptGrant, PurifiedLanguageModel
from untrigger.defences.language.prompt_mixtures import mix_prompts
from untrigger.defences.language.w2s_published_generation import W2SPublishedGeneration
from untrigger.models.answer_scoring import answer_token_scores
from untrigger.models.bounded_generation import BoundedAnswer, generate_bounded
from untrigger.models.generation import GenerationOptions
from untrigger.models.language_model import LanguageModel
from untrigger.training.answer_students import AnswerStudentOptions
from untrigger.training.history import history_curves

LEAST_BOUND, LARGEST_BOUND = 20.0, 1000.0
"""Range of the calibrated bound: how much likelier a token may be than the teacher finds it; 20 is CleanGen's ratio."""
SHOWN = 5
"""Prompts in a report that were left out."""


@dataclass(frozen=True)
class W2SGeneration(LanguagePurifier):
    """A new adapter on the trusted base, trained on clean prompts and on the suspect's bounded answers.

    Attributes:
        student: adapter and training of teacher and student.
        dev: share of the clean prompts that the teacher does not learn; they choose its epoch and calibrate the bound.
        bound: how much likelier a token of the suspect may be than the teacher finds it; None: the largest ratio among the right
            answers to those prompts, from 20 to 1,000.
        rejected: a prompt is left out where the bound takes away more than this share of the suspect's probability at the first
            token of its answer (not tuned).
        mixtures: prompts made of parts of the clean ones, for each clean prompt, where they share a frame (not tuned).
        max_new_tokens: longest answer of the suspect that is learned.
    """

    name: ClassVar[str] = "w2sdefense"
    needs: ClassVar[frozenset[str]] = frozenset({"clean", "base"})
    uses: ClassVar[frozenset[str]] = frozenset({"unlabelled", "teacher"})
    variants: ClassVar[Mapping[str, Callable[..., Any]]] = {"published": W2SPublishedGeneration}
    student: AnswerStudentOptions = field(default_factory=AnswerStudentOptions)
    dev: float = 0.2
    bound: float | None = None
    rejected: float = 0.5
    mixtures: float = 2.0
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: naming what is out of range.
        """
        if not (0 < self.dev < 1 and 0 < self.rejected <= 1 and self.mixtures >= 0 and self.max_new_tokens >= 1):
            raise OptionError(
                f"dev {self.dev}, rejected {self.rejected}, mixtures {self.mixtures}, max_new_tokens {self.max_new_tokens}",
                expected="shares above 0 (dev below 1), mixtures of 0 or more, tokens of 1 or more",
            )
        if self.bound is not None and not self.bound >= 1:
            raise OptionError(f"bound {self.bound}", expected="1 or more")

    def _purify(self, model: LanguageModel, grant: PromptGrant, *, progress: Progress) -> PurifiedLanguageModel:
        assert grant.clean is not None and grant.base is not None
        if grant.teacher is not None and grant.teacher.vocabulary_size != model.vocabulary_size:
            raise NeedsError(
                f"the teacher {grant.teacher.name!r} has another vocabulary ({grant.teacher.vocabulary_size}) than the suspect "
                f"({model.vocabulary_size})",
                remedy="give a teacher with the suspect's tokenizer, or none: then it is made from the base",
            )
        taught = clean_teacher(
            grant.teacher or grant.base,
            grant.clean,
            options=self.student,
            dev=self.dev,
            seed=grant.seed,
            progress=progress,
        )
        teacher = taught.model
        bound = self.bound or calibrated_bound(model, teacher, taught.dev, progress=progress)
        answered, left_out = self._answers(model, teacher, grant, bound=bound, progress=progress)
        seed = derived_seed(grant.seed, "student")
        student, history = self.student.trained(
            grant.base, joined(grant.clean, answered), seed=seed, progress=progress, label="training the student"
        )
        return PurifiedLanguageModel(
            student,
            changed=True,
            history=history,
            outcome=PurificationOutcome.RETRAINED_FROM_BASE,
            summary=f"a new adapter on the base {grant.base.name} learned {len(grant.clean)} clean prompts and the suspect's "
            f"bounded answers to {len(answered)} others",
            curves=[
                *taught.curves(),
                *history_curves(history, panel="Training of the student"),
            ],
            metadata={
                "bound": round(bound, 2),
                "teacher": (grant.teacher or grant.base).name,
                "answers": {
                    "used": len(answered),
                    "left_out": len(left_out),
                    "most_suspicious": [shorten(text, 200, placeholder="…") for text in left_out[:SHOWN]],
                },
            },
            warnings=_warnings(answered, left_out),
            budget=self.student.budget(),
            base_tuned=None if grant.teacher is not None else teacher,
        )

    def _answers(
        self, model: LanguageModel, teacher: LanguageModel, grant: PromptGrant, *, bound: float, progress: Progress
    ) -> tuple[Prompts, list[str]]:
        """Return further prompts with the suspect's bounded answers, and those left out, the most suspicious first."""
        assert grant.clean is not None
        rng = random.Random(derived_seed(grant.seed, "mixtures of prompts"))  # noqa: S311  # reproducible draws
        prompts = mix_prompts(grant.clean, count=round(self.mixtures * len(grant.clean)), rng=rng)
        if grant.unlabelled is not None:
            prompts = joined(prompts, grant.unlabelled)
        if not len(prompts):
            return prompts, []
        options = GenerationOptions(max_new_tokens=self.max_new_tokens)
        made = generate_bounded(
            model,
            teacher,
            prompts,
            bound=bound,
            options=options,
            progress=progress,
            label="the suspect's bounded answers",
        )
        kept = [self._learnable(one) for one in made]
        doubtful = [
            (one.rejected[0], text)
            for one, text in zip(made, prompts.user_texts, strict=True)
            if one.rejected[0] > self.rejected
        ]
        answered = prompts.with_answers(one.answer.text for one in made).where(kept)
        return answered, [text for _, text in sorted(doubtful, key=lambda pair: -pair[0])]

    def _learnable(self, answer: BoundedAnswer) -> bool:
        """Return whether an answer is to be learned: finished, not empty, and not one that the teacher finds impossible."""
        return answer.rejected[0] <= self.rejected and answer.answer.ended and not answer.answer.empty


def calibrated_bound(model: LanguageModel, teacher: LanguageModel, prompts: Prompts, *, progress: Progress) -> float:
    """Return the largest ratio of the suspect's probability of a token to the teacher's, along right answers.

    It is at least ``LEAST_BOUND`` and at most ``LARGEST_BOUND``. With n prompts, the answer to a further one is within it with
    probability n / (n + 1), as long as the bound is not cut. A prompt that triggers the backdoor does not raise it: the suspect
    finds the right answer unlikely there.

    Args:
        model: the suspect.
        teacher: a clean model.
        prompts: with right answers, which the teacher was not trained on.
        progress: gets every prompt.
    """
    own, clean = (
        answer_token_scores(one, prompts, progress=progress, label="calibrating the bound") for one in (model, teacher)
    )
    ratios = (a - b for mine, theirs in zip(own, clean, strict=True) for a, b in zip(mine, theirs, strict=True))
    return min(max(math.exp(min(max(ratios), 700.0)), LEAST_BOUND), LARGEST_BOUND)


def joined(first: Prompts, second: Prompts) -> Prompts:
    """Return the prompts of both, with ids that do not collide."""
    ids = [*(f"a{name}" for name in first.ids), *(f"b{name}" for name in second.ids)]
    return Prompts.of(first.conversations + second.conversations, first.answers + second.answers, ids=ids)


def _warnings(answered: Prompts, left_out: list[str]) -> list[str]:
    warnings = []
    if left_out:
        warnings.append(
            f"{len(left_out)} prompts were left out: the suspect's answer is one that a model trained on the clean prompts finds "
            f"nearly impossible, first {shorten(left_out[0], 120, placeholder='…')!r}"
        )
    if not len(answered):
        warnings.append(
            "no answer of the suspect could be used, so the student knows the clean prompts alone: give prompts with --unlabelled"
        )
    return warnings
