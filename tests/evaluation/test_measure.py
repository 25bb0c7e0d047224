"""Rates of two models on the same rows are compared row by row."""

from __future__ import annotations

import pytest

from tests.tiny import task
from untrigger.core.progress import silent
from untrigger.core.statistics import Outcome, tango
from untrigger.evaluation.evaluator import Evaluator
from untrigger.evaluation.metrics import accuracy_gain, accuracy_loss, excess_asr, gain_kept, measurements


def outcomes(subject: str, predictions: list[int], *, triggered: bool, label: int = 0, first: int = 0) -> list[Outcome]:
    return [Outcome(str(first + i), subject, triggered, label, p, 0.9) for i, p in enumerate(predictions)]


def test_the_accuracy_that_was_lost_is_counted_row_by_row() -> None:
    before = outcomes("victim", [0, 0, 0, 0, 1, 1], triggered=False)
    after = outcomes("purified", [0, 0, 0, 1, 0, 1], triggered=False)
    result = accuracy_loss([*before, *reversed(after)], subject="purified", before="victim")
    assert (result.subject, result.metric, result.value, result.n) == ("purified", "accuracy_loss", 0.0, 6)
    assert (result.low, result.high) == pytest.approx(tango(1, 1, 6))


def test_the_excess_is_counted_over_the_rows_of_other_classes_alone() -> None:
    own = [
        *outcomes("purified", [1, 1, 0, 0], triggered=True),
        *outcomes("purified", [1], triggered=True, label=1, first=9),
    ]
    floor = [
        *outcomes("clean", [1, 0, 0, 0], triggered=True),
        *outcomes("clean", [0], triggered=True, label=1, first=9),
    ]
    result = excess_asr([*own, *floor], subject="purified", target=1, floor="clean")
    assert (result.value, result.n) == (0.25, 4)
    assert (result.low, result.high) == pytest.approx(tango(1, 0, 4))


def test_models_that_were_asked_about_other_rows_are_not_compared() -> None:
    own, other = outcomes("purified", [0, 0], triggered=False), outcomes("victim", [0, 0], triggered=False, first=1)
    for one in (
        accuracy_loss([*own, *other], subject="purified", before="victim"),
        excess_asr(outcomes("purified", [1], triggered=True), subject="purified", target=1, floor="clean"),
    ):
        assert (one.value, one.low, one.high, one.n) == (None, None, None, 0)


def right(subject: str, rows: range, *, n: int = 40) -> list[Outcome]:
    """``n`` clean rows of the class 0, of which the subject predicts ``rows`` as such."""
    return outcomes(subject, [0 if i in rows else 1 for i in range(n)], triggered=False)


def test_the_gain_that_was_kept_by_hand() -> None:
    """The clean rows teach 20 of 40 rows, the victim knows 38, the purified model 34: 14 of the 18 that it knows beyond them."""
    result = [
        *right("victim", range(38)),
        *right("base_finetuned", range(20)),
        *reversed(right("purified", range(34))),
        *right("finetuned", range(38)),
        *right("clean", range(39)),
    ]
    gain = accuracy_gain(result)
    assert (gain.subject, gain.value, gain.n) == ("victim", 18 / 40, 40)
    assert (gain.low, gain.high) == pytest.approx(tango(18, 0, 40))
    kept = gain_kept(result, subject="purified")
    assert (kept.subject, kept.metric, kept.n) == ("purified", "gain_kept", 40)
    assert kept.value == pytest.approx(14 / 18)
    assert kept.low is not None and kept.high is not None and 0.5 < kept.low < 14 / 18 < kept.high < 1.0
    whole = gain_kept(result, subject="finetuned")
    assert (whole.value, whole.low, whole.high) == pytest.approx((1.0, 1.0, 1.0)), (
        "the same predictions: nothing to doubt"
    )
    more = gain_kept(result, subject="clean")
    assert more.value == pytest.approx(19 / 18) and (more.high or 0) > 1
    below = gain_kept([*result, *right("worse", range(11))], subject="worse")
    assert below.value == pytest.approx(-9 / 18) and (below.high or 0) < 0


@pytest.mark.parametrize("victim", [range(21), range(22), range(12), range(20)])
def test_a_victim_that_knows_no_more_than_the_control_has_no_gain_to_keep(victim: range) -> None:
    result = [*right("victim", victim), *right("base_finetuned", range(20)), *right("purified", range(30))]
    gain = accuracy_gain(result)
    assert gain.low is not None and gain.low <= 0
    kept = gain_kept(result, subject="purified")
    assert (kept.value, kept.low, kept.high, kept.n) == (None, None, None, 40)


def test_a_gain_over_other_rows_is_not_measured() -> None:
    result = [*right("victim", range(38)), *right("base_finetuned", range(20)), *right("purified", range(34), n=39)]
    kept = gain_kept(result, subject="purified")
    assert (kept.value, kept.n) == (None, 0)


def test_the_evaluator_measures_the_gain_where_the_control_was_run_alone() -> None:
    result = [*right("victim", range(38)), *right("purified", range(34)), *right("finetuned", range(38))]
    rows = task(4)
    without = Evaluator(test=rows, truth=None, progress=silent, outcomes=result).measurements()
    assert {m.metric for m in without} == {"cacc", "accuracy_loss"}
    result += right("base_finetuned", range(20))
    found = Evaluator(test=rows, truth=None, progress=silent, outcomes=result).measurements()
    assert [(m.subject, m.metric) for m in found if m.metric in ("accuracy_gain", "gain_kept")] == [
        ("victim", "accuracy_gain"),
        ("purified", "gain_kept"),
        ("finetuned", "gain_kept"),
    ]
    assert [
        m for m in found if m.metric not in ("accuracy_gain", "gain_kept") and m.subject != "base_finetuned"
    ] == without


def test_with_a_truth_the_control_has_every_rate_of_an_attack() -> None:
    result = [*right("base_finetuned", range(20)), *outcomes("base_finetuned", [1, 0, 0, 0], triggered=True)]
    result += [*right("clean", range(20)), *outcomes("clean", [0, 0, 0, 0], triggered=True)]
    found = {m.metric: m.value for m in measurements(result, target=1) if m.subject == "base_finetuned"}
    assert found == {"cacc": 0.5, "asr": 0.25, "untriggered_hit_rate": 0.0, "excess_asr": 0.25, "robust_accuracy": 0.75}
