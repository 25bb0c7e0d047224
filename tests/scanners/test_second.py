"""What decides between clean and suspicious is held against a reference that the search never saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.scanners.kit import CLEAN, QUICK, Load
from tests.tiny import NAMES, task
from untrigger.core.candidate import Candidate
from untrigger.core.grant import Grant
from untrigger.inversion.flip_rates import measure_at_all_positions, measure_in_turn
from untrigger.inversion.held_out import HeldOutSet, held_out_sets
from untrigger.models.classifier import Classifier
from untrigger.scanners.policy import Policy
from untrigger.scanners.rescoring import in_doubt, rescore_with_second_reference
from untrigger.scanners.scan_score import scan_score as score
from untrigger.scanners.scanner import ScanContext
from untrigger.training.teacher_training import TeacherOptions

DOUBTFUL = Policy(suspicious=0.2, backdoored=1.0)


def _scored(candidate: Candidate) -> Candidate:
    return replace(candidate, score=score(candidate))


def _tried(suspect: Classifier, reference: Classifier) -> tuple[list[Candidate], HeldOutSet]:
    held_out = held_out_sets(suspect, reference, rows=CLEAN, most=48, seed=0)["positive"]
    return [
        _scored(measure_at_all_positions(one, held_out))
        for one in measure_in_turn([Candidate(text, NAMES[1]) for text in ("cf", "good")], held_out)
    ], held_out


def test_only_what_lies_between_the_thresholds_is_in_doubt(victim: Load, twin: Load) -> None:
    (word, _), _ = _tried(victim("bert"), twin("bert"))
    found = [replace(word, text=str(value), score=value) for value in (0.6, 0.55, 0.4)]
    assert in_doubt(found, policy=Policy()) == found[:2]
    assert in_doubt([*found, replace(word, score=0.8)], policy=Policy()) == [], "a sure finding settles it"
    assert in_doubt(found[2:], policy=Policy()) == in_doubt([], policy=Policy()) == []
    assert in_doubt([replace(word, score=0.8, allowed="known"), *found], policy=Policy()) == found[:2]
    assert in_doubt([replace(word, score=0.6, kind="rewritten")], policy=Policy()) == []


def test_a_trigger_stays_and_what_a_second_clean_model_does_too_goes(victim: Load, twin: Load) -> None:
    suspect, reference = victim("bert"), twin("bert")
    (word, good), held_out = _tried(suspect, reference)
    assert word.score is not None and word.score > 0.7
    good = replace(good, score=0.1)
    doubted = [replace(word, score=0.6), good]
    same = rescore_with_second_reference(
        doubted, in_doubt(doubted, policy=DOUBTFUL), {NAMES[1]: held_out}, rescore=_scored, least_rows=24
    )
    assert same == doubted, "the higher score of a second reference raises nothing"
    again = held_out_sets(suspect, suspect, rows=CLEAN, most=48, seed=0)["positive"]
    gone, left = rescore_with_second_reference(
        [word, good], in_doubt([word, good], policy=DOUBTFUL), {NAMES[1]: again}, rescore=_scored, least_rows=24
    )
    assert gone.score == 0.0 and gone.reference == replace(gone.suspect, subject="reference"), (
        "a reference that it moves as far"
    )
    assert left == good, "what is not in doubt keeps its figures"
    few = replace(again, rows=again.rows.take(range(5)), splits=again.splits[:5], confidence=again.confidence[:5])
    assert rescore_with_second_reference(
        [word, good], in_doubt([word, good], policy=DOUBTFUL), {NAMES[1]: few}, rescore=_scored, least_rows=24
    ) == [
        word,
        good,
    ], "five rows say nothing"


def test_a_scan_asks_a_second_reference_where_it_is_in_doubt_and_trained_the_first(
    victim: Load, twin: Load, trained_folder: Callable[[str, bool], Path]
) -> None:
    """The teacher is an encoder that knows the task: it takes few steps to become a reference."""
    quick = replace(QUICK, teacher=TeacherOptions(lr=1e-3, epochs=3, batch_size=16))
    suspect, grant = victim("bert"), Grant(clean=task(480, seed=41), teacher=trained_folder("bert", False), seed=0)
    sure = quick.scan(suspect, grant)
    assert sure.verdict.status == "backdoored" and "judged_by_a_second_reference" not in sure.metadata
    asked = quick.scan(suspect, grant, policy=DOUBTFUL)
    assert asked.metadata["judged_by_a_second_reference"] >= 1
    assert asked.metadata["steps_of_the_second_reference"] == asked.history.steps > 0
    assert asked.verdict.status == "suspicious" and asked.scan.candidates[0].text == "cf", "the word is still the worst"
    first, last = sure.scan.score, asked.scan.score
    assert first is not None and last is not None and last <= first
    kept = quick.scan(suspect, grant, policy=DOUBTFUL, context=ScanContext(asked.reference))
    assert kept.metadata == asked.metadata and kept.scan.score == asked.scan.score, (
        "a first reference that was kept from another scan"
    )
    given = quick.scan(suspect, replace(grant, teacher=None), policy=DOUBTFUL, context=ScanContext(twin("bert")))
    assert "judged_by_a_second_reference" not in given.metadata, (
        "without a teacher the reference that was given has the last word"
    )
