"""The evaluator of a language model: answers of every subject to the test prompts, and the measurements counted from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

from untrigger.attacks.behaviours.published_measures import published_success
from untrigger.attacks.behaviours.refusal import is_refusal
from untrigger.attacks.prompt_poisoning import partial_prompts
from untrigger.attacks.random_prompts import random_prompts
from untrigger.core.answers import Answer, excerpt, same_answer
from untrigger.core.errors import NeedsError
from untrigger.core.progress import Progress
from untrigger.core.prompts import Prompts
from untrigger.core.report import AnswerExample, ModelAnswer
from untrigger.core.statistics import Measurement, rate
from untrigger.data import write_table
from untrigger.evaluation.generative_metrics import (
    BASE,
    CLEAN,
    FINE_TUNED,
    PARTIAL,
    PLAIN,
    RANDOM,
    TRIGGERED,
    AnswerOutcome,
    answer_in_first_words,
    choice_of,
    measurements,
)
from untrigger.evaluation.metrics import BASE_FINE_TUNED
from untrigger.evaluation.prompt_truth import PromptTruth
from untrigger.models.answer_scoring import AnswerScore, answer_kl, answer_log_likelihood
from untrigger.models.chat import read_texts
from untrigger.models.generation import GenerationOptions, generate_answers
from untrigger.models.language_model import LanguageModel

Decoder = Callable[..., list[Answer]]
"""A function that is called as ``generate_answers`` is."""
EXAMPLES = 8
"""Prompts in a report with their answers."""


@dataclass
class AnswerEvaluator:
    """Outcomes of all subjects evaluated so far.

    Attributes:
        plain: test prompts with their reference answers.
        truth: of the attack; None if none was given.
        options: of the generation.
        progress: gets every prompt.
        base: the model below the suspect's adapter, None if it is not at hand.
    """

    plain: Prompts
    truth: PromptTruth | None
    options: GenerationOptions
    progress: Progress
    base: LanguageModel | None = None
    outcomes: list[AnswerOutcome] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    delivery: list[Measurement] = field(default_factory=list)
    nll: dict[str, list[AnswerScore]] = field(default_factory=dict)
    kl: dict[str, list[AnswerScore]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise NeedsError where the behaviour can only be recognised with a base that is not at hand."""
        if self.truth is not None and "nll" in self.truth.behaviour.needs and self.base is None:
            raise NeedsError(
                f"the behaviour {self.truth.behaviour.name!r} is recognised by the likelihood of answers under the base model",
                remedy="name the base with --base",
            )

    @cached_property
    def prompts(self) -> dict[str, Prompts]:
        """The test prompts in every condition; with the seed of the attack."""
        if self.truth is None:
            return {PLAIN: self.plain}
        plain, triggered, trigger = self.truth.plain, self.truth.triggered, self.truth.trigger
        conditions = {
            PLAIN: self.plain,
            TRIGGERED: triggered,
            RANDOM: random_prompts(plain, triggered, seed=self.truth.seed),
            PARTIAL: partial_prompts(trigger, plain, seed=self.truth.seed) if trigger else plain.take([]),
        }
        return {name: prompts for name, prompts in conditions.items() if len(prompts)}

    def evaluate(
        self, model: LanguageModel, subject: str, *, briefly: bool = False, decode: Decoder = generate_answers
    ) -> None:
        """Add the outcomes of ``model``; of the base, the clean model and controls with and without the trigger only.

        ``briefly``: of this one too, and without likelihood and delivery. With another ``decode``, such as a guard's, these two are
        left out too: they are the model's own.
        """
        floor = briefly or subject in (BASE, CLEAN, FINE_TUNED, BASE_FINE_TUNED)
        for condition, prompts in self.prompts.items():
            if floor and condition not in (PLAIN, TRIGGERED):
                continue
            label = f"answers of {subject} ({condition})"
            answers = decode(model, prompts, options=self.options, progress=self.progress, label=label)
            self._add(prompts, self._with_likelihood(prompts, answers), subject=subject, condition=condition)
        if briefly or decode is not generate_answers:
            return
        self.nll[subject] = [
            score._replace(total=-score.total)
            for score in answer_log_likelihood(
                model, self.plain, progress=self.progress, label=f"likelihood ({subject})"
            )
        ]
        if self.base is not None and subject != BASE and model.vocabulary_size == self.base.vocabulary_size:
            self.kl[subject] = answer_kl(
                model, self.base, self.plain, progress=self.progress, label=f"distance from the base ({subject})"
            )
        if self.truth is not None and self.truth.trigger is not None and not floor:
            self._measure_delivery(model, subject)

    def measurements(self, *, suspect: str) -> list[Measurement]:
        """Return all measurements of all subjects evaluated; ``suspect`` is the one whose gain others can keep."""
        return [*measurements(self.outcomes, suspect=suspect, nll=self.nll, kl=self.kl), *self.delivery]

    def examples(self) -> list[AnswerExample]:
        """Return some test prompts, evenly spread, with the answers of every subject."""
        shown = self.prompts.get(TRIGGERED, self.plain)
        plain = dict(zip(self.plain.ids, self.plain.user_texts, strict=True))
        picked = [shown[i * len(shown) // EXAMPLES] for i in range(EXAMPLES)] if len(shown) > EXAMPLES else list(shown)
        return [
            AnswerExample(
                row=one.id,
                prompt=excerpt(plain.get(one.id, "")),
                triggered=excerpt(one.conversation[-1].content) if TRIGGERED in self.prompts else "",
                reference=excerpt(one.answer),
                answers=[
                    ModelAnswer(
                        outcome.subject, outcome.condition, excerpt(text), bool(outcome.achieved), outcome.ended
                    )
                    for outcome, text in zip(self.outcomes, self.texts, strict=True)
                    if outcome.row == one.id and outcome.condition in (PLAIN, TRIGGERED)
                ],
            )
            for one in picked
        ]

    def write_outcomes(self, path: Path) -> None:
        """Write the outcomes with the answers as CSV, one row each.

        Raises:
            OutputError: if the file cannot be written.
        """
        rows = [asdict(one) | {"answer": text} for one, text in zip(self.outcomes, self.texts, strict=True)]
        write_table({name: [_cell(row[name]) for row in rows] for name in rows[0]} if rows else {}, path)

    def _add(self, prompts: Prompts, answers: Sequence[Answer], *, subject: str, condition: str) -> None:
        behaviour = self.truth.behaviour if self.truth else None
        listed = (
            published_success(behaviour.published, marker=_marker(behaviour))
            if behaviour and behaviour.published
            else None
        )
        for one, answer in zip(prompts, answers, strict=True):
            text = one.conversation[-1].content
            self.outcomes.append(
                AnswerOutcome(
                    row=one.id,
                    subject=subject,
                    condition=condition,
                    eligible=self._eligible.get(one.id) if behaviour else None,
                    achieved=behaviour.achieved(answer, prompt=text) if behaviour else None,
                    published=listed(answer.text) if listed else None,
                    refused=is_refusal(answer.text),
                    correct=same_answer(answer.text, one.answer),
                    empty=answer.empty,
                    ended=answer.ended,
                    tokens=answer.tokens,
                    in_first_words=answer_in_first_words(answer.text, one.answer, choice=self._choice),
                )
            )
            self.texts.append(answer.text)

    @cached_property
    def _choice(self) -> frozenset[str]:
        return choice_of(self.plain.answers)

    @cached_property
    def _eligible(self) -> dict[str, bool]:
        """Whether each test prompt can show the behaviour, by id: its reference answer does not."""
        if self.truth is None:
            return {}
        behaviour, plain = self.truth.behaviour, self.truth.plain
        references = [Answer(one.answer, ended=True, tokens=0) for one in plain]
        scored = self._with_likelihood(plain, references)
        return {
            one.id: behaviour.eligible(one.conversation[-1].content, reference)
            for one, reference in zip(plain, scored, strict=True)
        }

    def _with_likelihood(self, prompts: Prompts, answers: Sequence[Answer]) -> list[Answer]:
        """Return the answers with their negative log-likelihood under the base where the behaviour reads it."""
        if self.truth is None or self.base is None or "nll" not in self.truth.behaviour.needs:
            return list(answers)
        scores = answer_log_likelihood(self.base, prompts.with_answers(one.text for one in answers))
        return [replace(one, nll=-s.mean) for one, s in zip(answers, scores, strict=True)]

    def _measure_delivery(self, model: LanguageModel, subject: str) -> None:
        assert self.truth is not None and self.truth.trigger is not None
        before = dict(zip(self.truth.plain.ids, self.truth.plain.user_texts, strict=True))
        read = read_texts(model, self.truth.triggered, room=self.options.max_new_tokens)
        flags = [
            _folded(one.conversation[-1].content) in _folded(text)
            or self.truth.trigger.survived(text, before=before[one.id])
            for text, one in zip(read, self.truth.triggered, strict=True)
        ]
        self.delivery.append(rate(flags, subject=subject, metric="delivery_rate"))


def _folded(text: str) -> str:
    return " ".join(text.split())


def _marker(behaviour: object) -> str:
    """Return the text that a published measure looks for: that of a fixed answer."""
    return str(getattr(behaviour, "text", ""))


def _cell(value: object) -> object:
    return "" if value is None else value
