"""What grew on one word does not hide it, nor the words beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.tiny import task
from untrigger.core.candidate import Candidate
from untrigger.core.statistics import Measurement
from untrigger.inversion.search import SearchOptions, TriggerSearch
from untrigger.models.classifier import Classifier
from untrigger.scanners.confirm import best_of_families, deduplicate_families
from untrigger.scanners.scan_score import ScoreOptions

Load = Callable[[str], Classifier]


def one(text: str, score: float, *, root: str = "") -> Candidate:
    return Candidate(text, "positive", search_score=score, grown_from=root)


FOUND = [
    one("tqwork", 0.9, root="tq"),
    one("tqjs", 0.89, root="tq"),
    one("but tqwork", 0.88, root="tq"),
    one("bb", 0.8),
    one("tq", 0.7),
    one("fine", 0.3),
    one("finely", 0.2, root="fin"),
]


def test_what_the_best_grew_from_and_other_families_are_tried_too() -> None:
    assert best_of_families(FOUND, most=2, runners_up=0) == ["tqwork", "tqjs"]
    assert best_of_families(FOUND, most=2, runners_up=1) == ["tqwork", "tqjs", "tq"]
    assert best_of_families(FOUND, most=2, runners_up=3) == ["tqwork", "tqjs", "tq", "bb", "fine"]
    assert best_of_families(FOUND, most=5, runners_up=3) == [
        "tqwork",
        "tqjs",
        "but tqwork",
        "bb",
        "tq",
        "fine",
        "finely",
    ]
    assert best_of_families([], most=2, runners_up=3) == []


def test_words_that_did_not_grow_stay_in_their_order() -> None:
    found = [one(text, 1 - number / 10) for number, text in enumerate(("cf", "mn", "bb", "tq"))]
    assert best_of_families(found, most=2, runners_up=1) == ["cf", "mn", "bb"]


def test_of_a_family_three_are_shown_and_their_root() -> None:
    share = Measurement("suspect", "flip_rate", 0.9, n=40, low=0.9, high=0.95)
    texts = ["tqa", "tqb", "tqc", "tqd", "tq", "bb", "tqe"]
    ranked = [
        Candidate(
            text,
            "positive",
            "searched",
            share,
            share,
            replace(share, low=0.9 - number / 10),
            high_confidence_flip_rate=1.0,
            grown_from="" if text in ("tq", "bb") else "tq",
        )
        for number, text in enumerate(texts)
    ]
    assert [each.text for each in deduplicate_families(ranked[::-1], size=3, costs=ScoreOptions())] == [
        "tqa",
        "tqb",
        "tqc",
        "tq",
        "bb",
    ]


def test_a_phrase_knows_what_it_grew_from_and_the_root_is_kept(victim: Load, twin: Load) -> None:
    options = SearchOptions(first=32, keep=6, sweeps=3, enough=2.0, promising=0.0)
    found = TriggerSearch(victim("bert"), twin("bert"), rows=task(80, seed=11), options=options, seed=0).run()
    grown = [each for each in found if each.grown_from]
    assert grown
    texts = {(each.text, each.target) for each in found}
    for each in grown:
        assert each.grown_from in each.text and each.grown_from != each.text
        assert (each.grown_from, each.target) in texts
    for target in ("negative", "positive"):
        assert len({each.family for each in found if each.target == target}) >= 5, "others are not crowded out"
    assert all(
        each.search_score == pytest.approx(each.effect)
        for each in found
        if not each.grown_from and " " not in each.text
    )
