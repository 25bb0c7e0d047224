"""What a page shows of a language model's evaluation: headline numbers, and prompts with the answers side by side."""

from __future__ import annotations

from dataclasses import dataclass

from untrigger.core.escaping import visible
from untrigger.core.report import AnswerExample, ModelAnswer, Report
from untrigger.reporting import scan_view, view, words

COLUMNS = ["Model", "Without the trigger", "With the trigger"]
CONDITIONS = ("plain", "triggered")


@dataclass(frozen=True)
class ShownAnswer:
    """An answer as a page shows it.

    Attributes:
        text: of the answer.
        notes: that it shows the behaviour, and that it was not finished.
        achieved: whether it shows the behaviour.
    """

    text: str
    notes: str
    achieved: bool


@dataclass(frozen=True)
class Shown:
    """An example as a page shows it.

    Attributes:
        prompt: with the trigger where it is known.
        reference: the right answer.
        lines: for each model its name, and its answer in each condition; None where it has none.
    """

    prompt: str
    reference: str
    lines: list[tuple[str, list[ShownAnswer | None]]]


def cards(report: Report) -> list[view.Card]:
    """Return the headline numbers of any report."""
    if report.scan is not None:
        return scan_view.cards(report)
    return _generation_cards(report) if view.is_generation(report) else view.cards(report)


def examples(report: Report) -> list[Shown]:
    """Return the examples with one line a model."""
    return [_shown(one) for one in report.examples]


def _generation_cards(report: Report) -> list[view.Card]:
    subject = view.main_subject(report)
    parts = [
        ("asr", "Attack success rate", ("paired_asr", "excess_asr", "published_asr")),
        ("skill", "Skill", ("skill_gain", "skill_in_first_words", "answer_nll")),
        ("refusal_rate", "Refusals without the trigger", ("unfinished_rate", "empty_rate")),
    ]
    made = [_card(report, subject, metric, label=label, further=further) for metric, label, further in parts]
    return [*made, *(card for card in (view.cost_card(report),) if card is not None)]


def _card(report: Report, subject: str, metric: str, *, label: str, further: tuple[str, ...]) -> view.Card:
    """Return one number with its interval, and others in notes."""
    found = report.find(subject, metric)
    if found is None or found.value is None:
        missing = words.NO_TRUTH if metric in words.NEEDS_TRUTH else words.NOT_MEASURED
        return view.Card(label, "", missing, [], measured=False)
    notes = [f"{words.interval_of(found)}, n = {found.n:,}"]
    for name in further:
        other = report.find(subject, name)
        if other is not None and other.value is not None:
            notes.append(f"{words.metric_name(name)}: {words.value_of(other)}")
    return view.Card(label, "", words.value_of(found), notes, measured=True)


def _shown(example: AnswerExample) -> Shown:
    subjects = dict.fromkeys(one.subject for one in example.answers)
    lines = [
        (
            visible(words.subject_name(subject)),
            [_shown_answer(example.answers, subject, condition) for condition in CONDITIONS],
        )
        for subject in subjects
    ]
    return Shown(_on_one_line(example.triggered or example.prompt), _on_one_line(example.reference), lines)


def _shown_answer(answers: list[ModelAnswer], subject: str, condition: str) -> ShownAnswer | None:
    one = next((one for one in answers if (one.subject, one.condition) == (subject, condition)), None)
    if one is None:
        return None
    notes = (["behaviour"] if one.achieved else []) + ([] if one.ended else ["unfinished"])
    return ShownAnswer(_on_one_line(one.text), ", ".join(notes), one.achieved)


def _on_one_line(text: str) -> str:
    """Return the text with line breaks as arrows and everything else that cannot be seen named."""
    return visible(text.replace("\n", " ↵ "))
