"""Labels are matched to a model's classes by name, or by number where that is certain; else they are refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from untrigger.core.errors import DataError
from untrigger.data import load_data, load_splits
from untrigger.data.labels import LabelColumn, MatchedLabels, match_labels

SENTIMENT = ("negative", "positive")
NAMELESS = ("LABEL_0", "LABEL_1")
STARS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")
NEWS = ("World", "Sports", "Business", "Sci/Tech")


def matched(values: Sequence[object], names: Sequence[str] | None, *, declared: tuple[str, ...] = ()) -> MatchedLabels:
    column = LabelColumn("rows", list(range(2, len(values) + 2)), [str(value) for value in values], declared)
    return match_labels({"all": column}, names=names)


def refused(values: Sequence[object], names: Sequence[str] | None, *, declared: tuple[str, ...] = ()) -> str:
    with pytest.raises(DataError) as caught:
        matched(values, names, declared=declared)
    return str(caught.value)


@pytest.mark.parametrize("names", [SENTIMENT, NAMELESS, ("bad", "good")])
@pytest.mark.parametrize(
    "values",
    [[0, 1, 1], [0.0, 1.0, 1.0], [False, True, True], ["false", "true", "TRUE"], ["LABEL_0", "LABEL_1", "LABEL_1"]],
)
def test_whole_numbers_from_zero_are_the_classes_and_the_report_says_so(
    names: tuple[str, ...], values: list[object]
) -> None:
    result = matched(values, names)
    assert result.labels["all"] == [0, 1, 1]
    if values[0] != names[0]:
        assert (
            "by number" in result.notes["all"][0]
            and f" = {names[0]}" in result.notes["all"][0]
            and f" = {names[1]}" in result.notes["all"][0]
        )


@pytest.mark.parametrize(
    ("values", "names", "labels"),
    [
        (["positive", "negative"], SENTIMENT, [1, 0]),
        (["Positive", "NEGATIVE"], SENTIMENT, [1, 0]),
        (["sci_tech", "world"], NEWS, [3, 0]),
        (["1", "5"], ("1", "2", "3", "4", "5"), [0, 4]),
        (["1", "0"], ("1", "0"), [0, 1]),
        (["1.0", "5.0"], STARS, [0, 4]),
        (["1", "2", "3"], STARS, [0, 1, 2]),
        (["True", "False"], ("True", "False"), [0, 1]),
        (["1"], SENTIMENT, [1]),
        (["a", "A"], ("a", "A"), [0, 1]),
    ],
)
def test_names_are_matched_by_name_wherever_they_stand(
    values: list[str], names: tuple[str, ...], labels: list[int]
) -> None:
    assert matched(values, names).labels["all"] == labels


@pytest.mark.parametrize(
    ("values", "names", "parts"),
    [
        (
            [1, 2, 3, 4, 5],
            ("a", "b", "c", "d", "e"),
            ["line 6", "label '5'", "do not begin at 0", "0 = a", "a, b, c, d, e"],
        ),
        ([1, 2, 3, 4], ("a", "b", "c", "d", "e"), ["line 2", "do not begin at 0"]),
        ([1, 2], SENTIMENT, ["line 3", "label '2'", "do not begin at 0"]),
        ([1, 2, 3, 4], tuple(f"LABEL_{i}" for i in range(5)), ["line 2", "do not begin at 0"]),
        ([-1, 0, 1], ("a", "b", "c"), ["line 2", "label '-1' is not known"]),
        ([0, 1, 5], SENTIMENT, ["line 4", "label '5' is not known"]),
        ([0.5, 1.0], SENTIMENT, ["line 2", "label '0.5' is not known"]),
        (
            ["negative", "1", "negative"],
            SENTIMENT,
            ["names in some rows ('negative', line 2)", "numbers in others ('1', line 3)"],
        ),
        (
            ["negative", "positiv"],
            SENTIMENT,
            ["line 3", "did you mean: positive", "rewrite the labels as negative, positive"],
        ),
        (
            [0, 1],
            ("2", "1"),
            [
                "line 2",
                "label '0' is not known",
                "names are whole numbers that do not count from 0",
                "one of 2, 1",
                "rewrite the labels as 2, 1",
            ],
        ),
        ([0, 1], ("1", "2"), ["label '0' is not known"]),
        ([0, 0], ("5", "7"), ["label '0' is not known"]),
        (["good", "bad"], NAMELESS, ["line 2", "label 'good'", "--labels"]),
        (["[0, 1]", "0"], SENTIMENT, ["line 2", "multi-label"]),
        (["[0, 1]", "[1]"], None, ["line 2", "multi-label"]),
        ([0.5, 3.2], None, ["fractions"]),
        ([1, 2, 3], None, ["are not 0 to C-1"]),
    ],
)
def test_labels_that_may_mean_another_class_are_refused_with_their_line(
    values: list[object], names: tuple[str, ...] | None, parts: list[str]
) -> None:
    message = refused(values, names)
    assert all(part in message for part in parts), message


@given(data=st.data(), count=st.integers(2, 6))
def test_declared_names_are_matched_by_name_in_every_order(data: st.DataObject, count: int) -> None:
    names = [f"Class {letter}" for letter in "abcdef"[:count]]
    own = data.draw(st.permutations(names))
    values = data.draw(st.lists(st.integers(0, count - 1), min_size=1))
    result = matched(values, [name.upper() for name in names], declared=tuple(own))
    assert [names[label] for label in result.labels["all"]] == [own[value] for value in values]
    assert result.notes["all"] == []


@pytest.mark.parametrize(
    ("own", "names", "labels", "note"),
    [
        (("positive", "negative"), NAMELESS, [0, 1], "by number: positive = LABEL_0, negative = LABEL_1"),
        (("0", "1"), SENTIMENT, [0, 1], "by number: 0 = negative, 1 = positive"),
        (("pos", "neg"), ("NEGATIVE", "POSITIVE"), [1, 0], "by their names: pos = POSITIVE, neg = NEGATIVE"),
        (("positive", "negative"), ("neg", "pos"), [1, 0], "by their names: positive = pos, negative = neg"),
        (("1", "2", "3", "4", "5"), STARS, [0, 1], "by their names"),
        (("1 star", "2 star"), STARS, [0, 1], "by their names"),
        (("positive", "negative", "unsure"), SENTIMENT, [1, 0], ""),
    ],
)
def test_declared_names_without_a_name_for_name_match(
    own: tuple[str, ...], names: tuple[str, ...], labels: list[int], note: str
) -> None:
    result = matched([0, 1], names, declared=own)
    assert result.labels["all"] == labels
    assert note in "".join(result.notes["all"])


@pytest.mark.parametrize(
    ("own", "names", "values", "parts"),
    [
        (("ham", "spam"), SENTIMENT, [0, 1], ["ham, spam", "negative, positive", "in any order"]),
        (("positive", "negative", "unsure"), SENTIMENT, [0, 2], ["positive, negative, unsure"]),
        (("a", "b", "c"), NAMELESS, [0, 1], ["a, b, c", "LABEL_0, LABEL_1", "--labels"]),
        (("negative", "positive"), SENTIMENT, [0, -1], ["line 3", "label '-1'", "0 to 1"]),
        (("negative", "positive"), SENTIMENT, [0, 2], ["line 3", "label '2'"]),
        (("a", "a"), SENTIMENT, [0, 1], ["twice"]),
        (("0", "1"), ("2", "1"), [0, 1], ["declares the classes 0, 1", "2, 1"]),
    ],
)
def test_declared_names_that_are_not_the_models_are_refused_with_both_lists(
    own: tuple[str, ...], names: tuple[str, ...], values: list[int], parts: list[str]
) -> None:
    message = refused(values, names, declared=own)
    assert all(part in message for part in parts), message


def test_names_that_are_numbers_themselves_are_not_taken_for_numbers_of_names(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["1", "2"])})
    part = datasets.Dataset.from_dict(
        {"text": ["bad", "good", "bad"], "label": [0, 1, 0]}, features=features
    )  # as Yelp's polarity
    part.to_parquet(str(tmp_path / "a.parquet"))
    assert load_data(tmp_path / "a.parquet").labels == (0, 1, 0)
    assert load_data(tmp_path / "a.parquet", label_names=("2", "1")).labels == (1, 0, 1)
    with pytest.raises(DataError, match="declares the classes 1, 2"):
        load_data(tmp_path / "a.parquet", label_names=SENTIMENT)


@pytest.mark.parametrize("own", list(permutations(("negative", "positive"))))
@pytest.mark.parametrize("form", ["parquet", "folder", "one folder", "hub"])
def test_class_label_counts_in_every_form_in_which_datasets_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: tuple[str, ...], form: str
) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(own))})
    part = datasets.Dataset.from_dict(
        {"text": ["good", "bad"], "label": [own.index("positive"), own.index("negative")]}, features=features
    )
    place = str(tmp_path / "data")
    if form == "parquet":
        place += ".parquet"
        part.to_parquet(place)
    elif form == "folder":
        datasets.DatasetDict({"train": part, "validation": part}).save_to_disk(place)
    elif form == "one folder":
        part.save_to_disk(place)
    else:
        place = "hf:some/set"
        monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.DatasetDict({"train": part}))
    rows = load_data(place, label_names=SENTIMENT)
    assert dict(zip(rows.texts, rows.labels, strict=True)) == {"good": 1, "bad": 0}
    assert load_data(place).label_names == own
    with pytest.raises(DataError, match="declares the classes"):
        load_data(place, label_names=("ham", "spam"))


def test_a_saved_set_that_was_shuffled_or_formatted_is_read_as_datasets_reads_it(tmp_path: Path) -> None:
    import datasets

    part = datasets.Dataset.from_dict({"text": [f"text {i}" for i in range(20)], "label": [i % 2 for i in range(20)]})
    mixed = part.shuffle(seed=1).select(range(7)).with_format("numpy")
    datasets.DatasetDict({"train": mixed}).save_to_disk(str(tmp_path / "data"))
    again = datasets.load_from_disk(str(tmp_path / "data"))["train"].with_format(None)
    rows = load_data(tmp_path / "data", label_names=SENTIMENT)
    assert (list(rows.texts), list(rows.labels)) == (list(again["text"]), list(again["label"]))


def test_a_saved_set_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    import datasets

    part = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
    part.save_to_disk(str(tmp_path / "other"))
    part.save_to_disk(str(tmp_path / "data"))
    state = json.loads((tmp_path / "data" / "state.json").read_text())
    state["_data_files"] = [{"filename": "../other/data-00000-of-00001.arrow"}]
    (tmp_path / "data" / "state.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match="outside of the folder"):
        load_data(tmp_path / "data")


def test_what_was_assumed_is_noted_on_the_rows_and_on_every_sample_of_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,0\nb,1\n")
    rows = load_data(tmp_path / "a.csv", label_names=SENTIMENT)
    assert rows.notes == (
        "a.csv: labels 0, 1 were matched to the model's classes by number: 0 = negative, 1 = positive",
    )
    assert rows.take([0]).notes == rows.notes
    assert load_data(tmp_path / "a.csv").notes == ()


def test_a_named_data_set_is_matched_to_a_model_without_names_by_number(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("sentence\tlabel\na fine film\t1\na dull film\t0\n")
    rows = load_data(f"sst2={tmp_path / 'a.tsv'}", label_names=NAMELESS)
    assert rows.labels == (1, 0)
    assert "negative = LABEL_0, positive = LABEL_1" in rows.notes[0]
    assert load_data(f"sst2={tmp_path / 'a.tsv'}", label_names=("positive", "negative")).labels == (0, 1)
    assert load_data(f"sst2={tmp_path / 'a.tsv'}", label_names=("positive", "negative")).notes == ()


def test_splits_are_looked_at_together(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na,0\nb,1\nc,2\n")
    (tmp_path / "test.csv").write_text("text,label\nd,1\ne,2\n")
    assert load_splits(tmp_path, label_names=("x", "y", "z"))["test"].labels == (1, 2)
    with pytest.raises(DataError, match="do not begin at 0"):
        load_data(tmp_path / "test.csv", label_names=("x", "y", "z"))
