"""What grew on one word does not hide it, nor the words beside it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.tiny import task
from untrigger.models.classifier import Classifier
from untrigger.scanning.insertions import families
from untrigger.search.insertions import Insertion, InsertionSearch, SearchOptions

Load = Callable[[str], Classifier]


def one(text: str, surprise: float, *, root: str = "", target: int = 1) -> Insertion:
    return Insertion(text, target, surprise + 0.1 * (len(text.split()) - 1), 0.0, 1.0, 0.0, root=root)


def test_each_family_begins_with_its_best_and_its_root() -> None:
    found = [
        one("tqwork", 0.9, root="tq"), one("tqjs", 0.89, root="tq"), one("but tqwork", 0.88, root="tq"),
        one("bb", 0.8), one("tq", 0.7), one("awful", 0.6, target=0), one("fine", 0.3), one("finely", 0.2, root="fin"),
    ]  # fmt: skip
    assert families(found, 1) == ["tqwork", "tq", "bb", "fine", "finely", "tqjs", "but tqwork"]
    assert families(found, 0) == ["awful"]
    assert families([], 1) == []


def test_words_that_did_not_grow_stay_in_their_order() -> None:
    found = [one(text, 1 - number / 10) for number, text in enumerate(("cf", "mn", "bb", "tq"))]
    assert families(found, 1) == ["cf", "mn", "bb", "tq"]


def test_a_phrase_knows_what_it_grew_from_and_the_root_is_kept(victim: Load, twin: Load) -> None:
    options = SearchOptions(first=32, keep=6, sweeps=3, enough=2.0, promising=0.0)
    found = InsertionSearch(victim("bert"), twin("bert"), rows=task(80, seed=11), options=options, seed=0).run()
    grown = [each for each in found if each.root]
    assert grown
    texts = {(each.text, each.target) for each in found}
    for each in grown:
        assert each.root in each.text and each.root != each.text
        assert (each.root, each.target) in texts
    for target in (0, 1):
        assert len({each.family for each in found if each.target == target}) >= 5, "others are not crowded out"
    assert all(each.surprise == pytest.approx(each.excess) for each in found if not each.root and " " not in each.text)
