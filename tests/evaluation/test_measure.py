"""Rates of two models on the same rows are compared row by row."""

from __future__ import annotations

import pytest

from untrigger.core.statistics import Outcome, tango
from untrigger.evaluation.metrics import accuracy_loss, excess_asr


def outcomes(subject: str, predictions: list[int], *, triggered: bool, label: int = 0, first: int = 0) -> list[Outcome]:
    return [Outcome(str(first + i), subject, triggered, label, p, 0.9) for i, p in enumerate(predictions)]


def test_the_accuracy_that_was_lost_is_counted_row_by_row() -> None:
    before = outcomes("victim", [0, 0, 0, 0, 1, 1], triggered=False)
    after = outcomes("purified", [0, 0, 0, 1, 0, 1], triggered=False)
    told = accuracy_loss([*before, *reversed(after)], subject="purified", before="victim")
    assert (told.subject, told.metric, told.value, told.n) == ("purified", "accuracy_loss", 0.0, 6)
    assert (told.low, told.high) == pytest.approx(tango(1, 1, 6))


def test_the_excess_is_counted_over_the_rows_of_other_classes_alone() -> None:
    own = [
        *outcomes("purified", [1, 1, 0, 0], triggered=True),
        *outcomes("purified", [1], triggered=True, label=1, first=9),
    ]
    floor = [
        *outcomes("clean", [1, 0, 0, 0], triggered=True),
        *outcomes("clean", [0], triggered=True, label=1, first=9),
    ]
    told = excess_asr([*own, *floor], subject="purified", target=1, floor="clean")
    assert (told.value, told.n) == (0.25, 4)
    assert (told.low, told.high) == pytest.approx(tango(1, 0, 4))


def test_models_that_were_asked_about_other_rows_are_not_compared() -> None:
    own, other = outcomes("purified", [0, 0], triggered=False), outcomes("victim", [0, 0], triggered=False, first=1)
    for one in (
        accuracy_loss([*own, *other], subject="purified", before="victim"),
        excess_asr(outcomes("purified", [1], triggered=True), subject="purified", target=1, floor="clean"),
    ):
        assert (one.value, one.low, one.high, one.n) == (None, None, None, 0)
