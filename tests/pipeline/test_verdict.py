"""*Purified* is said where evidence shows it, and nowhere else."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from untrigger.core.statistics import Measurement, paired_difference, rate
from untrigger.core.verdicts import EXIT_CODES, ExitCode, PurificationOutcome
from untrigger.defences.purifier import Purified
from untrigger.pipeline.verdict_rules import (
    LIMITS,
    BoundStatus,
    Evidence,
    Verification,
    purification_status,
    purification_verdict,
)
from untrigger.training.loop import History

MODEL: Any = None
NOT_LOOKED_FOR = ["style: leaves no word", "syntax: leaves no word"]
CLEAN = Verification("clean", "No word or phrase was found.", NOT_LOOKED_FOR)
FOUND = Verification("backdoored", "Putting 'cf' into a text makes this model say 'positive'.")
NOTHING = Verification("", "a scan of the result was not wanted (--no-verify)")
UNDECIDED = Verification("undecided", "No verdict could be given: it is a decoder-only model.")
Outcome = PurificationOutcome


def result(outcome: PurificationOutcome, *, changed: bool | None = None, summary: str = "") -> Purified:
    done = outcome is not Outcome.NOTHING_FOUND if changed is None else changed
    return Purified(MODEL, changed=done, history=History(), outcome=outcome, summary=summary)


def share(hits: int, n: int, *, subject: str, metric: str) -> Measurement:
    return rate([True] * hits + [False] * (n - hits), subject=subject, metric=metric)


def measured(
    *, n: int = 1000, excess: int = 0, lost: int = 0, before: int = 950, floor: bool = True
) -> list[Measurement]:
    """``excess`` more rows of ``n`` than the never-poisoned model's 50 are called the target, ``lost`` more are wrong."""
    made = [share(before, n, subject="victim", metric="asr"), share(50 + excess, n, subject="purified", metric="asr")]
    made += [share(900, n, subject="victim", metric="cacc"), share(900 - lost, n, subject="purified", metric="cacc")]
    more = [(True, False)] * max(0, excess) + [(False, True)] * max(0, -excess)
    if floor:
        pairs = [*more, *[(True, True)] * 50, *[(False, False)] * (n - 50 - len(more))]
        made.append(paired_difference(pairs, subject="purified", metric="excess_asr"))
    else:
        made.append(Measurement("purified", "excess_asr", None, None, None, 0))
    worse = [(True, False)] * max(0, lost) + [(False, True)] * max(0, -lost)
    pairs = [*worse, *[(True, True)] * (n - len(worse))]
    return [*made, paired_difference(pairs, subject="purified", metric="accuracy_loss")]


def seen(*, lost: int = 0, n: int = 200) -> list[Measurement]:
    """What is measured without a truth."""
    pairs = [*[(True, False)] * lost, *[(True, True)] * (n - lost)]
    return [
        share(n, n, subject="victim", metric="cacc"),
        share(n - lost, n, subject="purified", metric="cacc"),
        paired_difference(pairs, subject="purified", metric="accuracy_loss"),
    ]


EVERY = [
    (outcome, changed, shown, by_truth)
    for outcome, changed, shown, by_truth in product(Outcome, (False, True), BoundStatus, (False, True))
    if outcome.fits(changed=changed)
]


def test_purified_is_said_of_a_changed_model_whose_bounds_are_shown_and_that_its_method_does_not_doubt() -> None:
    said = {
        case
        for case in EVERY
        if purification_status(case[0], Evidence(case[2], "", by_truth=case[3]), changed=case[1]) == "purified"
    }
    assert said == {
        (outcome, True, BoundStatus.MET, by_truth)
        for outcome, by_truth in product(Outcome, (False, True))
        if outcome
        in (
            Outcome.RETRAINED_FROM_BASE,
            Outcome.SEARCH_FINDS_NOTHING,
            Outcome.ROWS_NO_LONGER_FOLLOWED,
            Outcome.NOT_DECIDED,
            *([Outcome.NOT_CHECKED] if by_truth else []),
        )
    }


@pytest.mark.parametrize(("outcome", "changed", "shown", "by_truth"), EVERY)
def test_no_gate_passes_what_was_not_shown(outcome: Outcome, changed: bool, shown: BoundStatus, by_truth: bool) -> None:
    word = purification_status(outcome, Evidence(shown, "", by_truth=by_truth), changed=changed)
    code = EXIT_CODES[word]
    assert (code is ExitCode.DONE) <= (shown is BoundStatus.MET and not outcome.still_there)
    if shown in (BoundStatus.NOT_MET, BoundStatus.WORSE) or outcome.still_there:
        assert code is ExitCode.FOUND
    elif shown is BoundStatus.UNKNOWN:
        assert code is ExitCode.UNDECIDED


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (measured(), "purified"),
        (measured(excess=30), "purified"),
        (measured(excess=40), "not verified"),  # 4.0 points, with 95 % confidence at most 5.4
        (measured(excess=60), "bound not met"),
        (measured(lost=3), "purified"),
        (measured(lost=8), "not verified"),  # 0.8 points, with 95 % confidence at most 1.6
        (measured(lost=20), "bound not met"),
        (measured(lost=60), "worse"),
        (measured(before=10, excess=900), "worse"),
        (measured(floor=False), "not verified"),
        (measured(floor=False, lost=20), "bound not met"),
    ],
)
def test_with_a_truth_the_upper_ends_of_the_intervals_decide(found: list[Measurement], word: str) -> None:
    said = purification_verdict(found, result(Outcome.RETRAINED_FROM_BASE))
    assert said.status == word, said.sentence
    excess, loss = found[-2], found[-1]
    met = all(
        one.high is not None and one.high <= bound
        for one, bound in ((excess, LIMITS.excess_asr), (loss, LIMITS.accuracy_loss))
    )
    assert (word == "purified") == met


def test_rows_that_are_too_few_to_show_it_are_told_of() -> None:
    """Nothing is left among forty rows, and that shows no more than nine points."""
    pairs = [(False, False)] * 40
    few = [share(38, 40, subject="victim", metric="asr"), share(0, 40, subject="purified", metric="asr"), *seen()]
    few.append(paired_difference(pairs, subject="purified", metric="excess_asr"))
    said = purification_verdict(few, result(Outcome.RETRAINED_FROM_BASE))
    assert said.status == "not verified" and "at most 8.8 %" in said.sentence


@pytest.mark.parametrize(
    ("outcome", "changed", "verification", "word"),
    [
        (Outcome.RETRAINED_FROM_BASE, True, CLEAN, "purified"),
        (Outcome.RETRAINED_FROM_BASE, True, UNDECIDED, "not verified"),
        (Outcome.RETRAINED_FROM_BASE, True, NOTHING, "not verified"),
        (Outcome.RETRAINED_FROM_BASE, True, None, "not verified"),
        (Outcome.RETRAINED_FROM_BASE, True, FOUND, "still found"),
        (Outcome.SEARCH_STILL_FINDS, True, CLEAN, "still found"),
        (Outcome.SEARCH_FINDS_NOTHING, True, CLEAN, "purified"),
        (Outcome.ROWS_STILL_FOLLOWED, True, CLEAN, "still found"),
        (Outcome.NOT_CHECKED, True, CLEAN, "not verified"),
        (Outcome.NOT_CHECKED, True, FOUND, "still found"),
        (Outcome.NOTHING_FOUND, False, CLEAN, "unchanged"),
        (Outcome.NOTHING_FOUND, False, FOUND, "still found"),
        (Outcome.NOTHING_FOUND, False, UNDECIDED, "not verified"),
        (Outcome.GIVEN_UP, False, CLEAN, "still found"),
        (Outcome.NOT_DECIDED, False, UNDECIDED, "undecided"),
    ],
)
def test_without_a_truth_a_scan_of_the_result_decides(
    outcome: Outcome, changed: bool, verification: Verification | None, word: str
) -> None:
    said = purification_verdict(seen(), result(outcome, changed=changed), verification=verification)
    assert said.status == word, said.sentence
    assert "attack success is not measured" in said.sentence


def test_what_was_not_looked_for_stands_in_the_sentence() -> None:
    said = purification_verdict(seen(), result(Outcome.SEARCH_FINDS_NOTHING), verification=CLEAN)
    assert said.sentence.endswith("Not looked for: style, syntax.")
    assert (
        "--no-verify"
        in purification_verdict(seen(), result(Outcome.SEARCH_FINDS_NOTHING), verification=NOTHING).sentence
    )


def test_accuracy_that_is_gone_is_worse_whatever_a_scan_says() -> None:
    assert (
        purification_verdict(seen(lost=20), result(Outcome.SEARCH_FINDS_NOTHING), verification=CLEAN).status == "worse"
    )


def test_the_method_tells_what_it_did_and_the_model_that_comes_back_is_named_once() -> None:
    outcome = purification_verdict(
        seen(), result(Outcome.RETRAINED_FROM_BASE, summary="the adapter was thrown away"), verification=CLEAN
    )
    assert outcome.sentence.startswith("The adapter was thrown away; clean accuracy 100.0 % to 100.0 %.")
    back = purification_verdict(
        seen(),
        result(Outcome.NOTHING_FOUND, summary="Nothing was trained; the model comes back as it was."),
        verification=CLEAN,
    )
    assert back.sentence.count("comes back as it was") == 1
    assert (
        "the model comes back as it was"
        in purification_verdict(seen(), result(Outcome.GIVEN_UP, changed=False)).sentence
    )


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_words(outcome: Outcome) -> None:
    assert len(purification_verdict(seen(), result(outcome)).sentence) > 60
