"""Pages of a language model's evaluation: answers are untrusted text, and a classifier's page stays as it is."""

from __future__ import annotations

import pytest

from untrigger.core.report import AnswerExample, ModelAnswer, Report, Verdict
from untrigger.core.statistics import Measurement
from untrigger.reporting.page import render

HOSTILE = "<script>alert(1)</script> [link](http://x) \u202eabc\n| cell |"


def report(*, measured: bool = True) -> Report:
    numbers = [
        Measurement("victim", "asr", 0.9, 0.8, 0.95, 100),
        Measurement("victim", "paired_asr", 0.85, 0.7, 0.9, 100),
        Measurement("victim", "excess_asr", 0.8, 0.7, 0.9, 100),
        Measurement("base", "skill", 0.1, 0.05, 0.2, 100),
    ]
    skill = [
        Measurement("victim", "skill", 0.75, 0.7, 0.8, 100),
        Measurement("victim", "answer_nll", 1.5, 1.2, 1.8, 100),
    ]
    answers = [
        ModelAnswer("victim", "plain", HOSTILE, achieved=False, ended=False),
        ModelAnswer("victim", "triggered", "I cannot help with that.", achieved=True, ended=True),
        ModelAnswer("base", "plain", "yes", achieved=False, ended=True),
    ]
    return Report(
        kind="evaluation",
        title="Evaluation of victim",
        verdict=Verdict("measured", "victim: asr 90 %."),
        given={"task": "generation"},
        measurements=[*skill, *(numbers if measured else [])],
        examples=[AnswerExample("0", "good or bad?", HOSTILE, "good", answers)],
    )


@pytest.mark.parametrize("format", ["html", "md"])
def test_answers_stand_side_by_side_and_do_nothing(format: str) -> None:
    page = render(report(), format=format)
    assert "Prompts and answers" in page and "With the trigger" in page
    assert "I cannot help with that." in page and "behaviour" in page and "unfinished" in page
    assert "not measured" in page, "the base has no answer with the trigger"
    assert "<script>alert" not in page and (format == "html" or "[link](http" not in page)
    assert "\u202e" not in page and "⟨U+202E⟩" in page
    assert "Skill" in page and "75.0" in page and "1.500" in page


def test_headline_numbers_are_those_of_generation() -> None:
    page = render(report(), format="md")
    first = page.split("##")[0]
    assert "Attack success rate" in first and "Skill" in first and "Refusals" in first
    assert "Clean accuracy" not in page and "CACC" not in page
    assert "not measured: no truth file was given" in render(report(measured=False), format="md")


def test_a_page_about_classifiers_explains_none_of_it() -> None:
    other = Report(kind="evaluation", title="t", verdict=Verdict("measured", "s"))
    page = render(other, format="md")
    assert "Prompts and answers" not in page and "Published measure" not in page
    both = render([other, report()], format="md")
    assert "CACC" in both and "Published measure" in both
