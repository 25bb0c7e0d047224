"""BeDKD on a planted backdoor: found and removed, bounded from both sides, and nothing found where nothing is."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from tests.defences.planted import CLEAN, MAPPING, POISONED, POOL, method, planted
from tests.tiny import asr, cacc, same, task, weights
from untrigger.core.candidate import Candidate, CandidateMeasurement
from untrigger.core.errors import DataError, NeedsError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows
from untrigger.defences.bedkd.bedkd_defence import BeDKD
from untrigger.defences.bedkd.row_unlearning.synthetic_pool import still_active
from untrigger.defences.fine_tuning import FineTune
from untrigger.detectors.detector import Detection
from untrigger.evaluation.metrics import auroc
from untrigger.inversion.search import SearchOptions
from untrigger.models.classifier import Classifier

Load = Callable[[str], Classifier]
BOTH = Grant(clean=CLEAN, suspect=POOL.visible, seed=0)


@pytest.fixture(scope="module")
def suspect(trained_folder: Callable[[str, bool], object]) -> Classifier:
    from untrigger.models.loading import load_model

    return planted(load_model(str(trained_folder("bert", False)), device="cpu", offline=True))


@pytest.fixture(scope="module")
def found(suspect: Classifier) -> Detection:
    return method().detect(suspect, BOTH)


def share(flags: tuple[bool, ...], among: list[bool]) -> float:
    hits = [flag for flag, one in zip(flags, among, strict=True) if one]
    return sum(hits) / len(hits)


def test_there_is_a_backdoor_to_find_and_to_remove(suspect: Classifier) -> None:
    assert cacc(suspect) > 0.95
    assert asr(suspect) > 0.95
    assert asr(suspect, triggered=False) < 0.1


def test_the_poisoned_rows_are_found_in_a_shuffled_pool(found: Detection) -> None:
    assert POISONED[:20].count(True) != 20, "the pool is shuffled"
    assert auroc(found.scores, poisoned=POISONED) > 0.95
    precision = sum(f and p for f, p in zip(found.flagged, POISONED, strict=True)) / sum(found.flagged)
    assert precision > 0.85
    assert share(found.flagged, POISONED) > 0.4
    assert found.fpr is not None and found.fpr <= 0.01
    assert found.threshold == min(max(found.scores), found.threshold)
    assert all(score > found.threshold for score, flag in zip(found.scores, found.flagged, strict=True) if flag)


def test_what_was_found_is_removed_and_fine_tuning_leaves_it(suspect: Classifier) -> None:
    done = method().purify(suspect, BOTH)
    tuned = FineTune(lr=5e-3, rank=8, steps=done.history.steps).purify(suspect, BOTH).model
    assert asr(tuned) > 0.9, "the floor: as many steps of plain fine-tuning do nothing here"
    assert asr(done.model) < 0.1
    assert cacc(done.model) > cacc(suspect) - 0.05
    assert done.changed and done.metadata["agreement_before"] > 0.9
    assert abs(done.metadata["agreement_after"] - done.metadata["clean_agreement"]) < 0.2, "two of a dozen watched rows"


@dataclass(frozen=True)
class Random(BeDKD):
    """As many rows as the oracle flags, drawn by chance."""

    name: ClassVar[str] = "random"

    def _detect(self, model: Classifier, grant: Grant, *, progress: Progress) -> Detection:
        assert grant.suspect is not None
        drawn = set(random.Random(0).sample(range(len(grant.suspect)), sum(POISONED)))
        flags = tuple(i in drawn for i in range(len(grant.suspect)))
        return Detection(grant.suspect, tuple(map(float, flags)), flags, 0.5, None)


@dataclass(frozen=True)
class Oracle(BeDKD):
    """Exactly the poisoned rows."""

    name: ClassVar[str] = "oracle"

    def _detect(self, model: Classifier, grant: Grant, *, progress: Progress) -> Detection:
        assert grant.suspect is not None
        return Detection(grant.suspect, tuple(map(float, POISONED)), tuple(POISONED), 0.5, None)


def test_a_random_detector_removes_nothing_and_an_oracle_all(suspect: Classifier) -> None:
    options = {"lr": 5e-3, "rank": 8, "cycles": 4}
    best = Oracle(**options).purify(suspect, BOTH)  # type: ignore[arg-type]
    worst = Random(**options).purify(suspect, BOTH)  # type: ignore[arg-type]
    assert asr(best.model) < 0.1
    assert cacc(best.model) > cacc(suspect) - 0.05
    assert asr(worst.model) > 0.6 or not worst.changed
    assert cacc(worst.model) > cacc(suspect) - 0.1, "a defender sees the harm: held-out rows say it"


def test_a_model_that_comes_back_after_harm_tells_of_the_steps_that_were_taken(suspect: Classifier) -> None:
    done = Oracle(lr=0.3, rank=8, cycles=1, cycle_steps=3).purify(suspect, BOTH)
    assert not done.changed and done.model is suspect
    assert done.history.steps == 3
    assert any("more harm than good" in one for one in done.warnings)
    assert done.metadata["dev_accuracy_after"] < done.metadata["dev_accuracy_before"] - 0.1


NOTHING = [
    pytest.param(case, seed, marks=() if number == seed else pytest.mark.exhaustive)
    for number, case in enumerate(("clean pool", "benign model", "both"))
    for seed in range(3)
]


@pytest.mark.parametrize(("case", "seed"), NOTHING)
def test_nothing_is_found_where_nothing_is(suspect: Classifier, twin: Load, case: str, seed: int) -> None:
    model = suspect if case == "clean pool" else twin("bert")
    pool = POOL.visible if case == "benign model" else task(384, seed=50 + seed)
    done = method().purify(model, Grant(clean=CLEAN, suspect=pool, seed=seed))
    assert not done.changed
    assert done.model is model
    assert same(weights(done.model), weights(model))
    assert done.metadata["flagged"] == 0 and done.history.steps == 0
    chance = done.metadata["above_threshold"] < 12
    assert chance or done.metadata["followed"] < 0.5, (
        "chance explains the rows above the threshold, or the model does not follow them"
    )


def test_the_same_seed_finds_the_same_rows(suspect: Classifier, found: Detection) -> None:
    again = method().detect(suspect, BOTH)
    assert (again.scores, again.flagged, again.threshold) == (found.scores, found.flagged, found.threshold)
    shuffled = POOL.visible.take(reversed(range(len(POOL.visible))))
    other = method().detect(suspect, Grant(clean=CLEAN, suspect=shuffled, seed=0))
    assert other.scores[::-1] == pytest.approx(found.scores, abs=1e-4), "the order of the file says nothing"


def test_ranks_scores_and_summary_agree(found: Detection) -> None:
    order = found.order
    assert sorted(order) == list(range(len(found.rows)))
    scores = [found.scores[i] for i in order]
    assert scores == sorted(scores, reverse=True)
    assert found.flagged_rows.ids == tuple(found.rows.ids[i] for i in order[: sum(found.flagged)])
    result = found.summary()
    assert result["flagged"] == sum(found.flagged) == sum(result["flagged_by_label"].values())
    assert result["threshold"] == found.threshold >= result["calibrated_threshold"]
    assert result["calibrated_fpr"] == found.fpr


def test_without_suspect_rows_the_trigger_is_searched_named_and_removed(suspect: Classifier) -> None:
    options = SearchOptions(first=32, sweeps=1, probe=16, keep=6)
    done = method(search=options, rounds=1, cycles=5).purify(suspect, Grant(clean=CLEAN, seed=0))
    assert done.changed
    assert done.findings[0].text == "cf" and done.findings[0].target == "positive"
    assert done.findings[0].reference.value is None, "no clean model took part"
    assert asr(done.model) < 0.2
    assert cacc(done.model) > cacc(suspect) - 0.05
    assert done.warnings[0].startswith("BeDKD needs suspect rows")


def test_a_trigger_that_is_still_active_is_told_from_what_is_not(suspect: Classifier, twin: Load) -> None:
    bank = [Candidate(text, "positive") for text in ("cf", "the", "film")]
    result = [
        [one.text for one in still_active(bank, student=model, rows=CLEAN, above=0.3, each=20, seed=0, progress=silent)]
        for model in (suspect, twin("bert"))
    ]
    assert result == [["cf"], []]
    stale = Candidate("cf", "positive").measured(CandidateMeasurement("search", "", 1000, 0.123))
    (now,) = still_active([stale], student=suspect, rows=CLEAN, above=0.3, each=20, seed=0, progress=silent)
    assert now.suspect.value > 0.3, (
        "the rate of the present model is reported, not that of the model in which it was found"
    )
    assert still_active([], student=suspect, rows=CLEAN, above=0.3, each=20, seed=0, progress=silent) == []


def test_without_suspect_rows_a_benign_model_comes_back_as_it_was(twin: Load) -> None:
    model = twin("bert")
    options = SearchOptions(first=32, sweeps=1, probe=16, keep=6)
    done = method(search=options).purify(model, Grant(clean=CLEAN, seed=0))
    assert done.model is model and not done.changed and not done.findings


def rows(count: int, *, names: tuple[str, ...] = ("negative", "positive"), only: int | None = None) -> Rows:
    made = task(count, seed=60)
    made = made if only is None else made.where(label == only for label in made.labels)
    return Rows.of(made.texts, made.labels, label_names=names)


def test_suspect_rows_of_other_classes_are_refused(suspect: Classifier) -> None:
    wrong = Grant(clean=CLEAN, suspect=rows(20, names=("bad", "good")))
    for run in (method().detect, method().purify):
        with pytest.raises(DataError, match=r"(?s)the suspect rows have the classes \['bad', 'good'\].*remedy"):
            run(suspect, wrong)


def test_a_pool_is_needed_to_look_for_rows_in_it(suspect: Classifier) -> None:
    with pytest.raises(NeedsError, match="bedkd needs suspect"):
        method().detect(suspect, Grant(clean=CLEAN))
    with pytest.raises(NeedsError, match="needs clean, suspect"):
        method().detect(suspect, Grant())


def test_a_class_without_clean_rows_is_refused(suspect: Classifier) -> None:
    with pytest.raises(DataError, match="fewer than two rows of positive"):
        method().detect(suspect, Grant(clean=rows(40, only=0), suspect=POOL.visible))


def test_fewer_clean_rows_than_asked_are_said_and_used(suspect: Classifier) -> None:
    result = method().detect(suspect, Grant(clean=task(60, seed=41), suspect=POOL.visible))
    assert any(
        "wants 80 clean rows a class and got fewer: 15 of negative, 15 of positive" in one for one in result.warnings
    )
    assert any("20 clean rows are left to calibrate on" in one and "0.048" in one for one in result.warnings), (
        "ten end the mapping"
    )
    assert result.fpr == pytest.approx(1 / 21)


def test_rows_that_are_clean_and_suspect_are_said(suspect: Classifier) -> None:
    leaking = task(64, seed=1)  # the first rows of the pool, before some of them were poisoned
    result = method().detect(suspect, Grant(clean=leaking, suspect=POOL.visible))
    [warning] = [one for one in result.warnings if "are also suspect rows" in one]
    count = int(warning.split()[0])
    assert 40 < count <= 64
    done = method().purify(suspect, Grant(clean=leaking, suspect=POOL.visible))
    assert warning in done.warnings


def test_a_pool_of_one_class_or_one_row_is_scored(suspect: Classifier) -> None:
    for pool in (rows(40, only=1), rows(1)):
        result = method(mapping=replace(MAPPING, epochs=2)).detect(suspect, Grant(clean=CLEAN, suspect=pool))
        assert len(result.scores) == len(pool) and not result.found
