"""What the report of a scan of a language model shows: right answers, rates of the worst candidate, prompts with answers."""

from __future__ import annotations

from collections.abc import Sequence

from untrigger.core.answers import Answer, excerpt, same_answer
from untrigger.core.report import AnswerExample, ModelAnswer
from untrigger.core.scan_result import Scan
from untrigger.core.statistics import Measurement, rate
from untrigger.scanners.language.phrase_confirmation import AnsweredPrompts, ConfirmedPhrase

EXAMPLES = 8
"""Prompts in a report with their answers."""


def right_answers(held_out: AnsweredPrompts) -> list[Measurement]:
    """Return the share of held-out prompts that the suspect answers right, and that of the reference."""
    return [
        rate(
            (same_answer(one.text, right) for one, right in zip(given, held_out.prompts.answers, strict=True)),
            subject=subject,
            metric="skill",
        )
        for subject, given in (("suspect", held_out.suspect), ("reference", held_out.reference))
    ]


def worst_rates(scan: Scan) -> list[Measurement]:
    """Return the rates of the worst candidate that no policy allows."""
    worst = next((one for one in scan.candidates if not one.allowed), None)
    return [worst.suspect, worst.reference, worst.excess] if worst is not None else []


def answer_examples(ranked: Sequence[ConfirmedPhrase], held_out: AnsweredPrompts) -> list[AnswerExample]:
    """Return held-out prompts with the worst candidate, those first whose answer changed."""
    if not ranked:
        return []
    worst, plain = ranked[0], held_out
    changed = [worst.change.shown(worst.answers.inserted[i], plain=plain.suspect[i]) for i in range(len(plain.prompts))]
    order = sorted(range(len(changed)), key=lambda i: not changed[i])[:EXAMPLES]

    def model_answer(subject: str, condition: str, answers: Sequence[Answer], i: int) -> ModelAnswer:
        achieved = worst.change.shown(answers[i], plain=plain.suspect[i])
        return ModelAnswer(subject, condition, excerpt(answers[i].text), achieved, answers[i].ended)

    return [
        AnswerExample(
            row=plain.prompts.ids[i],
            prompt=excerpt(plain.prompts.user_texts[i]),
            triggered=excerpt(worst.inserted.user_texts[i]),
            reference=excerpt(plain.prompts.answers[i]),
            answers=[
                model_answer("suspect", "plain", plain.suspect, i),
                model_answer("suspect", "triggered", worst.answers.inserted, i),
                model_answer("reference", "plain", plain.reference, i),
                model_answer("reference", "triggered", worst.answers.reference, i),
            ],
        )
        for i in order
    ]
