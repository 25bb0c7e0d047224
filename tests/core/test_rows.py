"""Rows keep what they are given, and samples of them keep the classes in proportion."""

from __future__ import annotations

from collections import Counter
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from untrigger.core.errors import DataError
from untrigger.core.grant import Grant
from untrigger.core.rows import Rows, distinct, overlap, texts_among, texts_with_a_part_among

LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=80)


def rows_of(labels: list[int]) -> Rows:
    return Rows.of([f"text {i}" for i in range(len(labels))], labels, label_names=("a", "b", "c", "d"))


@given(labels=LABELS, share=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_a_stratified_sample_has_its_size_its_order_and_its_proportions(
    labels: list[int], share: float, seed: int
) -> None:
    rows = rows_of(labels)
    count = int(share * len(rows))
    taken, rest = rows.stratified(count, rng=np.random.default_rng(seed))
    assert (len(taken), len(rest)) == (count, len(rows) - count)
    assert sorted([*taken.ids, *rest.ids], key=int) == list(rows.ids)
    assert list(taken.ids) == sorted(taken.ids, key=int)
    assert list(rest.ids) == sorted(rest.ids, key=int)
    size, got = Counter(labels), Counter(taken.labels)
    for label, n in size.items():
        exact = n * count / len(rows)
        slack = len(size)  # a class that is too small for its share takes one row of others'
        assert exact - slack <= got[label] <= exact + slack


SIZES = st.lists(st.integers(0, 12), min_size=1, max_size=60).filter(lambda sizes: sum(sizes) > 0)


def sized(sizes: list[int]) -> Rows:
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    names = tuple(f"class {i}" for i in range(len(sizes)))
    return Rows.of([f"text {i}" for i in range(len(labels))], labels, label_names=names)


@given(sizes=SIZES, share=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_any_number_of_classes_gives_the_count_and_leaves_no_class_of_two_rows_on_one_side(
    sizes: list[int], share: float, seed: int
) -> None:
    rows = sized(sizes)
    count = round(share * len(rows))
    taken, rest = (Counter(part.labels) for part in rows.stratified(count, rng=np.random.default_rng(seed)))
    assert (taken.total(), rest.total()) == (count, len(rows) - count)
    several = [label for label, size in enumerate(sizes) if size > 1]
    for side in (taken, rest):
        found = [label for label in several if side[label]]
        assert len(found) == len(several) if side.total() >= len(several) else side.total() == len(found)


@pytest.mark.parametrize(
    ("sizes", "count", "taken"),
    [
        ([5] * 150, 240, None),
        ([100, 2], 97, [96, 1]),
        ([100, 2], 5, [4, 1]),
        ([100, 2, 2], 2, [1, 1, 0]),
        ([100, 2, 2], 102, [99, 1, 2]),
        ([50, 50], 31, [16, 15]),
        ([1, 1, 1, 9], 4, None),
    ],
)
def test_small_classes_and_small_samples(sizes: list[int], count: int, taken: list[int] | None) -> None:
    part, rest = sized(sizes).stratified(count, rng=np.random.default_rng(3))
    assert (len(part), len(rest)) == (count, sum(sizes) - count)
    assert taken is None or list(part.class_counts().values()) == taken


def test_a_sample_is_a_function_of_its_seed() -> None:
    rows = rows_of([0, 1, 2, 3] * 10)
    one, again, other = (rows.stratified(12, rng=np.random.default_rng(s))[0] for s in (1, 1, 2))
    assert one == again != other


def test_more_rows_than_there_are_is_an_error() -> None:
    with pytest.raises(DataError, match="3 rows are requested of 2"):
        rows_of([0, 1]).stratified(3, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("ids", "texts", "labels", "says"),
    [
        (("1",), ("x", "y"), (0, 1), "differ in length"),
        (("1", "1"), ("x", "y"), (0, 1), "'1' occurs more than once"),
        (("1", "2"), ("x", "y"), (0, 2), "label 2 is not among 2"),
        (("1", "2"), ("x", "y"), (0, -1), "label -1"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    ids: tuple[str, ...], texts: tuple[str, ...], labels: tuple[int, ...], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        Rows(ids, texts, labels, ("n", "p"))


def test_the_hash_sees_every_cell_and_their_order() -> None:
    base = Rows.of(["x", "y"], [0, 1], label_names=("n", "p"))
    others = [
        base.with_texts(["x", "z"]),
        base.with_labels([1, 1]),
        base.take([1, 0]),
        base.take([0]),
        Rows.of(["x", "y"], [0, 1], label_names=("n", "q")),
        Rows.of(["x", "y"], [0, 1], label_names=("n", "p"), ids="ab"),
    ]
    hashes = {rows.content_hash() for rows in [base, *others]}
    assert len(hashes) == 7
    assert base.content_hash() == Rows.of(["x", "y"], [0, 1], label_names=("n", "p")).content_hash()
    assert Rows.of(["\ud800"], [0], label_names=("n",)).content_hash()  # a lone surrogate from a careless export


def test_overlap_folds_case_and_white_space_only() -> None:
    left = Rows.of(["A  Good film", "bad film", "dull"], [0, 0, 0], label_names=("n",))
    right = Rows.of([" a good\nfilm ", "a bad film"], [0, 0], label_names=("n",))
    assert overlap(left, right) == 1
    assert overlap(left, left) == 3


def test_rows_neither_change_nor_show_their_texts() -> None:
    rows = Rows.of(["a secret"], [0], label_names=("n", "p"))
    assert repr(rows) == "Rows(1 rows, n=1, p=0)"
    with pytest.raises(FrozenInstanceError):
        rows.texts = ()  # type: ignore[misc]


def test_a_grant_has_no_place_for_what_a_defender_cannot_know() -> None:
    names = {"clean", "unlabelled", "suspect", "teacher", "base", "onto", "seed"}
    assert {one.name for one in fields(Grant)} == names
    with pytest.raises(TypeError):
        Grant(trigger="cf")  # type: ignore[call-arg]


def test_a_grant_tells_what_it_holds() -> None:
    rows = rows_of([0, 1])
    grant = Grant(clean=rows, teacher="/somewhere/minilm", unlabelled=("x",), seed=3)
    assert grant.has() == {"clean", "teacher", "unlabelled"}
    assert Grant().has() == frozenset()
    result = grant.describe()
    assert result["clean"]["sha256"] == rows.content_hash()
    assert (result["teacher"], result["unlabelled"]["rows"], result["seed"]) == ("minilm", 1, 3)
    hashes = [Grant(unlabelled=texts).describe()["unlabelled"]["sha256"] for texts in (("x",), ("x", "y"), ("y", "x"))]
    assert result["unlabelled"]["sha256"] == hashes[0] and len(set(hashes)) == 3
    assert "text 0" not in str(result)


def test_a_text_counts_once_whatever_its_case_and_white_space() -> None:
    rows = Rows.of(
        ["A film", "a  film\n", "dull", "a film", "DULL"], [1, 0, 0, 1, 0], label_names=("negative", "positive")
    )
    kept = distinct(rows)
    assert (kept.ids, kept.texts, kept.labels) == (("0", "2"), ("A film", "dull"), (1, 0))
    assert kept.notes == ("3 of 5 rows repeat the text of an earlier row and are left out: 2 are used",)
    assert distinct(kept) is kept


def test_copies_of_a_text_are_known_by_all_but_case_spaces_and_punctuation() -> None:
    known = ["It's a film.", "``great``", "दिन"]
    copies = ["it 's a film", "IT'S A FILM!", "great", " दिन "]
    assert all(texts_among(copies, known))
    assert not any(texts_among(["its a film b", "grea", "दान", "", "..."], known))
    assert texts_among(["...", ":)"], ["..."]) == [True, False]


def test_a_copy_in_other_unicode_forms_is_the_same_text() -> None:
    known = ["Un caf\u00e9 fin\u00e9"]
    assert texts_among(["un cafe\u0301 fine\u0301", "\uff35n caf\u00e9 \ufb01n\u00e9"], known) == [True, True]
    assert not any(texts_among(["un cafe fine"], known))


def test_a_text_that_quotes_a_known_one_is_found_and_a_short_quotation_does_not_count() -> None:
    known = ["A film that nobody will forget.", "so good"]
    texts = ["They said: “a film that NOBODY will forget”!", "it was so good", "a film that nobody will remember", ""]
    assert texts_with_a_part_among(texts, known) == [True, False, False, False]
