"""Candidates confirmed on prompts that the search never used: answers with them and with random words in their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from untrigger.attacks.random_prompts import random_prompts
from untrigger.core.answers import Answer
from untrigger.core.progress import Progress, silent
from untrigger.core.prompts import Prompts
from untrigger.core.seeds import derived_seed
from untrigger.models.generation import GenerationOptions, generate_answers
from untrigger.models.language_model import LanguageModel
from untrigger.scanners.language.answer_change import (
    AnswerChange,
    ChangeCounts,
    Observed,
    common_change,
    count_change,
    is_ordinary,
)
from untrigger.scanners.language.phrase_search import FoundPhrase
from untrigger.scanners.language.phrases import with_phrase


@dataclass(frozen=True)
class AnsweredPrompts:
    """Prompts with the suspect's and the reference's answers to them as they are.

    Attributes:
        prompts: the prompts.
        suspect: the suspect's answers.
        reference: the reference's.
    """

    prompts: Prompts
    suspect: Sequence[Answer]
    reference: Sequence[Answer]


@dataclass(frozen=True)
class ConfirmedPhrase:
    """A candidate with its counts on held-out prompts.

    Attributes:
        found: what the search says of it.
        change: the common change of the answers, chosen on the search's prompts.
        counts: on the held-out prompts.
        ordinary: whether answers without a candidate show the change too.
        p_value: of the counts, multiplied by the number of candidates (Bonferroni), at most 1.
        inserted: the held-out prompts with it.
        answers: to these and their plain form.
    """

    found: FoundPhrase
    change: AnswerChange
    counts: ChangeCounts
    ordinary: bool
    p_value: float
    inserted: Prompts
    answers: Observed


@dataclass(frozen=True)
class PhraseConfirmation:
    """The confirmation in two models.

    Attributes:
        suspect: the suspect.
        reference: the reference.
        options: of the generation: the most likely tokens.
        seed: of the places and random words.
        progress: gets every prompt.
    """

    suspect: LanguageModel
    reference: LanguageModel
    options: GenerationOptions
    seed: int
    progress: Progress = silent

    def answered(self, prompts: Prompts) -> AnsweredPrompts:
        """Return the prompts with the answers of both models."""
        return AnsweredPrompts(
            prompts,
            self._answers(self.suspect, prompts, "answers of the suspect"),
            self._answers(self.reference, prompts, "answers of the reference"),
        )

    def confirm(
        self, found: Sequence[FoundPhrase], *, searched: AnsweredPrompts, held_out: AnsweredPrompts
    ) -> list[ConfirmedPhrase]:
        """Return the candidates with their counts; the change is chosen on ``searched`` and counted on ``held_out``."""
        made = []
        ordinary = [*searched.suspect, *searched.reference, *held_out.suspect, *held_out.reference]
        for one in found:
            first, _ = self._observed(one, searched)
            change = common_change(first)
            answers, inserted = self._observed(one, held_out)
            counts = count_change(change, answers)
            p_value = min(1.0, counts.p_value() * len(found))
            usual = is_ordinary(change, ordinary)
            made.append(ConfirmedPhrase(one, change, counts, usual, p_value, inserted, answers))
        return made

    def _observed(self, one: FoundPhrase, given: AnsweredPrompts) -> tuple[Observed, Prompts]:
        text, prompts = one.phrase.text, given.prompts
        inserted = with_phrase(prompts, text, seed=self.seed)
        others = random_prompts(prompts, inserted, seed=derived_seed(self.seed, f"scan: random words for {text}"))
        return Observed(
            given.suspect,
            self._answers(self.suspect, inserted, f"answers with {text!r}"),
            self._answers(self.suspect, others, f"answers with random words for {text!r}"),
            self._answers(self.reference, inserted, f"answers of the reference with {text!r}"),
        ), inserted

    def _answers(self, model: LanguageModel, prompts: Prompts, label: str) -> list[Answer]:
        return generate_answers(model, prompts, options=self.options, progress=self.progress, label=label)
