"""W2SDefense's published loss (arXiv 2410.14425) for language models: distillation from a clean teacher on the answers' tokens.

With the logits ``z`` and the last hidden states ``h`` of teacher and student where an answer's tokens are predicted, the loss is
``a * CE(z_S, y) + b * T^2 * KL(softmax(z_T / T) || softmax(z_S / T)) + c * ||g(h_T) - h_S||^2``, each term the mean over rows of
the mean over answer tokens.

Differs from the paper: it classifies texts and has one prediction a row; here every answer token is one. The teacher is trained
with an adapter, not with all its weights. The map ``g`` from the teacher's width to the student's is linear, trained with the
student, and left out where both widths are the same. A suspect with an adapter is trained in a copy of that adapter, so that the
result is one adapter on the suspect's base. Rate, steps and rank are those of the other methods here. The weights are one set for
all attacks, because choosing them per attack uses knowledge that no defender has; that of the alignment is the one of the released
code, as the term is a sum over the width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from untrigger.core.errors import NeedsError, OptionError
from untrigger.core.progress import Progress
from untrigger.core.seeds import derived_seed
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.language.clean_teacher import LIKELIHOOD, clean_teacher
from untrigger.defences.language.language_purifier import LanguagePurifier, PromptGrant, PurifiedLanguageModel
from untrigger.models.answer_scoring import AnswerBatch, answer_logits, token_kl
from untrigger.models.hidden_states import HeadInput
from untrigger.models.language_model import LanguageModel
from untrigger.training.answer_students import AnswerStudentOptions
from untrigger.training.answer_training import AnswerTerm, row_mean
from untrigger.training.history import history_curves


@dataclass(frozen=True)
class W2SPublishedGeneration(LanguagePurifier):
    """The suspect trained on the clean answers with distillation from a clean teacher; needs a teacher or a base.

    The teacher is the smaller model of the grant, else the trusted base; it learns the clean prompts first.

    Attributes:
        student: training of teacher and student; the rank of the teacher's adapter, and of the student's on full weights.
        dev: share of the clean prompts that nobody learns; they choose the epochs.
        temperature: T.
        a: weight of the cross-entropy.
        b: weight of the distillation.
        c: weight of the feature alignment.
    """

    name: ClassVar[str] = "w2sdefense-published"
    needs: ClassVar[frozenset[str]] = frozenset({"clean"})
    uses: ClassVar[frozenset[str]] = frozenset({"base", "teacher"})
    student: AnswerStudentOptions = field(default_factory=AnswerStudentOptions)
    dev: float = 0.2
    temperature: float = 2.0
    a: float = 1.0
    b: float = 1.0
    c: float = 0.001

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: naming what is out of range.
        """
        weights = (self.a, self.b, self.c)
        if not (0 < self.dev < 1 and 0 < self.temperature < math.inf and all(0 <= one < math.inf for one in weights)):
            raise OptionError(
                f"dev {self.dev}, temperature {self.temperature}, a {self.a}, b {self.b}, c {self.c}",
                expected="a share between 0 and 1, a temperature above 0, weights of 0 or more",
            )

    def _purify(self, model: LanguageModel, grant: PromptGrant, *, progress: Progress) -> PurifiedLanguageModel:
        assert grant.clean is not None
        reader = _reader(model, grant)
        taught = clean_teacher(
            reader, grant.clean, options=self.student, dev=self.dev, seed=grant.seed, progress=progress
        )
        student = self.student.copy_of_suspect(model, seed=derived_seed(grant.seed, "student"))
        between = width_map(reader, student, seed=derived_seed(grant.seed, "map of widths"))
        with HeadInput(taught.model) as teacher_input, HeadInput(student) as student_input:
            history = self.student.train(
                replace(student, max_length=reader.max_length),
                taught.rows,
                seed=grant.seed,
                dev=taught.dev,
                extra_loss=self._term(taught.model, teacher_input, student_input, between),
                cross_entropy_weight=self.a,
                map_of_loss=between,
                progress=progress,
                label="distilling",
            )
        return PurifiedLanguageModel(
            student,
            changed=True,
            history=history,
            outcome=PurificationOutcome.NOT_CHECKED,
            summary=f"the suspect was trained on the clean prompts, with distillation from {reader.name} as published",
            curves=[*taught.curves(), *history_curves(history, panel="Training of the student", score=LIKELIHOOD)],
            metadata={"teacher": reader.name},
            budget=self.student.budget(),
            base_tuned=None if grant.teacher is not None else taught.model,
        )

    def _term(
        self, teacher: LanguageModel, teacher_input: HeadInput, student_input: HeadInput, between: nn.Module | None
    ) -> AnswerTerm:
        """Return distillation and alignment of a batch, weighted."""

        def term(_rows: Sequence[int], batch: AnswerBatch, logits: Tensor) -> Tensor:
            with torch.no_grad():
                expected = answer_logits(teacher, batch)
                features = teacher_input.answer_features(batch)
            mapped = features if between is None else between(features)
            kl = distillation(logits, expected, batch, temperature=self.temperature)
            return self.b * kl + self.c * alignment(student_input.answer_features(batch), mapped, batch)

        return term


def distillation(logits: Tensor, teacher: Tensor, batch: AnswerBatch, *, temperature: float) -> Tensor:
    """Return ``T^2 * KL(softmax(z_T / T) || softmax(z_S / T))`` of the answers' tokens, a mean over rows.

    Args:
        logits: of the student ``(B, K, V)``.
        teacher: logits of the teacher ``(B, K, V')``; rows of the head beyond the shorter one belong to no token and are left out.
        batch: which tokens are of the answers.
        temperature: T.
    """
    shared = min(logits.shape[2], teacher.shape[2])
    own, expected = (one[:, :, :shared] / temperature for one in (logits, teacher))
    return temperature**2 * row_mean(token_kl(own, expected, batch), batch)


def alignment(features: Tensor, teacher: Tensor, batch: AnswerBatch) -> Tensor:
    """Return ``||h_T - h_S||^2`` summed over the width, of the answers' tokens, a mean over rows; both are ``(B, K, d)``."""
    squared = (teacher - features).pow(2).sum(dim=2)
    return row_mean(squared.masked_fill(~batch.is_answer, 0.0), batch)


def width_map(teacher: LanguageModel, student: LanguageModel, *, seed: int) -> nn.Linear | None:
    """Return a new linear map from the teacher's width to the student's, drawn from the seed; None where they are the same."""
    widths = [one.module.get_output_embeddings().weight.shape[1] for one in (teacher, student)]
    if widths[0] == widths[1]:
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(*widths).to(student.device)


def _reader(model: LanguageModel, grant: PromptGrant) -> LanguageModel:
    """Return the trusted model that becomes the teacher; it reads the prompts as the suspect does.

    Raises:
        NeedsError: where there is none, or one with another tokenizer.
    """
    trusted = grant.teacher or grant.base
    if trusted is None:
        raise NeedsError(
            f"{W2SPublishedGeneration.name} needs a clean teacher or the suspect's base",
            remedy="give a clean model with the suspect's tokenizer with --teacher, or the base with --base",
        )
    if trusted.tokenizer.get_vocab() != model.tokenizer.get_vocab():
        raise NeedsError(
            f"the teacher {trusted.name!r} has another tokenizer than the suspect {model.name!r}",
            expected="a model with the same tokens: distillation compares the probabilities of each",
            remedy="give a teacher with the suspect's tokenizer, or none: then it is made from the base",
        )
    return replace(
        trusted,
        tokenizer=model.tokenizer,
        tokenizer_files=model.tokenizer_files,
        max_length=min(trusted.max_length, model.max_length),
    )
