"""Loading: files of every form are read right, and labels keep their names."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from untrigger.core.errors import AssetError, DataError
from untrigger.core.rows import Rows, overlap
from untrigger.data import DataSource, check_rows, embedded_names, load_data, load_splits, write_rows

SHARED = Path(os.environ.get("UNTRIGGER_SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data")
ROWS = Rows.of(["a, b", 'quo"te', "two\nlines"], [1, 0, 1], label_names=("negative", "positive"), ids=["x", "y", "z"])


def _save(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


@given(
    st.lists(
        st.tuples(st.text(min_size=1).filter(lambda t: bool(t.strip()) and "\x00" not in t), st.booleans()),
        min_size=2,
        max_size=8,
    )
)
def test_csv_round_trip_keeps_every_text(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, bool]]
) -> None:
    texts, labels = zip(*cells, strict=True)
    if any("\ud800" <= letter <= "\udfff" for text in texts for letter in text):
        return
    rows = Rows.of(texts, labels, label_names=("no", "yes"))
    file = write_rows(rows, tmp_path_factory.mktemp("round") / "rows.csv")
    assert load_data(file, label_names=("no", "yes")) == rows


def test_written_rows_come_back_with_ids_and_names(tmp_path: Path) -> None:
    file = write_rows(ROWS, tmp_path / "new" / "rows.csv")
    assert load_data(file) == ROWS
    assert [one.name for one in file.parent.iterdir()] == ["rows.csv"]


def test_a_tab_file_is_split_at_its_last_tab_and_knows_no_quotes(tmp_path: Path) -> None:
    file = _save(tmp_path, "a.tsv", 'sentence \t label \nan "open quote\t1\nwith\ttab inside \t0\r\n\n')
    assert load_data(file).texts == ('an "open quote', "with\ttab inside")
    assert load_data(file).labels == (1, 0)


def test_json_lines_and_parquet_give_the_same_rows(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = [{"review": "fine", "sentiment": "positive"}, {"review": "poor", "sentiment": "negative"}]
    lines = _save(tmp_path, "a.jsonl", "\n".join(json.dumps(cell) for cell in cells))
    pq.write_table(pa.Table.from_pylist(cells), tmp_path / "a.parquet")
    assert load_data(lines) == load_data(tmp_path / "a.parquet")
    assert load_data(lines).label_names == ("negative", "positive")


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbftext,label\nx,0\ny,1\n")
    assert load_data(tmp_path / "a.csv").texts == ("x", "y")


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        (["1", "0"], None, ((1, 0), ("0", "1"))),
        (["1.0", "0.0"], None, ((1, 0), ("0", "1"))),
        (["pos", "neg"], None, ((1, 0), ("neg", "pos"))),
        (["pos", "neg"], ("pos", "neg"), ((0, 1), ("pos", "neg"))),
        (["POS", "Neg"], ("pos", "neg"), ((0, 1), ("pos", "neg"))),
        (["1", "0"], ("pos", "neg"), ((1, 0), ("pos", "neg"))),
        (["1", "2"], ("1", "2", "3"), ((0, 1), ("1", "2", "3"))),
    ],
)
def test_labels_keep_their_names(
    tmp_path: Path, labels: list[str], names: tuple[str, ...] | None, expected: tuple[tuple[int, ...], tuple[str, ...]]
) -> None:
    file = _save(tmp_path, "a.csv", f"text,label\na,{labels[0]}\nb,{labels[1]}\n")
    rows = load_data(file, label_names=names)
    assert (rows.labels, rows.label_names) == expected


def test_a_folder_gives_splits_that_share_label_names(tmp_path: Path) -> None:
    _save(tmp_path, "train.csv", "text,label\na,x\nb,y\nc,z\n")
    _save(tmp_path, "validation.jsonl", '{"text": "d", "label": "z"}\n')
    _save(tmp_path, "notes.txt", "not data")
    splits = load_splits(tmp_path)
    assert list(splits) == ["train", "dev"]
    assert splits["dev"].label_names == ("x", "y", "z")
    assert splits["dev"].labels == (2,)
    assert load_data(DataSource(str(tmp_path), split="validation")) == splits["dev"]
    assert load_data(tmp_path) == splits["train"]


def test_named_columns_win_over_guesses(tmp_path: Path) -> None:
    file = _save(tmp_path, "a.csv", "text,body,label,kind\na,b,0,p\nc,d,1,q\n")
    rows = load_data(DataSource(str(file), text_column="body", label_column="kind"))
    assert rows.texts == ("b", "d")
    assert rows.label_names == ("p", "q")


def test_empty_texts_can_be_dropped_and_ids_stay(tmp_path: Path) -> None:
    file = _save(tmp_path, "a.csv", "text,label\na,0\n  ,1\nc,1\n")
    rows = load_data(DataSource(str(file), drop_empty=True))
    assert rows.ids == ("0", "2")


def test_rows_of_one_class_fail_the_check_and_others_pass_through() -> None:
    assert check_rows(ROWS) is ROWS
    with pytest.raises(DataError, match="1 of the classes negative, positive"):
        check_rows(ROWS.take([0, 2]))
    assert check_rows(ROWS.take([0, 2]), require_classes=1)
    with pytest.raises(DataError, match="has 3 rows"):
        check_rows(ROWS, require_rows=4)


@pytest.mark.parametrize("name", embedded_names())
def test_embedded_sets_hold_their_promises(name: str) -> None:
    try:
        splits = load_splits(name, offline=True)
    except AssetError:
        pytest.skip(f"{name} is not on this machine (untrigger assets fetch {name})")
    from untrigger.assets import asset
    from untrigger.assets import path as asset_path

    assert {key: rows.content_hash() for key, rows in splits.items()} == asset(name).splits
    assert overlap(splits["train"], splits["test"]) == 0
    assert splits["test"].content_hash() in (asset_path(name) / "README.md").read_text(encoding="utf-8")
    names = splits["train"].label_names
    turned = load_data(DataSource(name, split="test"), label_names=names[::-1], offline=True)
    assert turned.labels == tuple(len(names) - 1 - label for label in splits["test"].labels)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no folder {SHARED}")
@pytest.mark.parametrize(
    ("folder", "sizes", "classes"),
    [
        ("sst2/clean", {"train": 6920, "dev": 872, "test": 1821}, 2),
        ("sst2/syntactic", {"train": 6920, "dev": 427, "test": 912}, 2),
        ("agnews/clean", {"train": 11106, "test": 7600}, 4),
    ],
)
def test_the_shared_files_load_whole(folder: str, sizes: dict[str, int], classes: int) -> None:
    splits = load_splits(SHARED / folder)
    assert {name: len(rows) for name, rows in splits.items()} == sizes
    assert len(splits["train"].label_names) == classes
    assert not any("\t" in text for rows in splits.values() for text in rows.texts)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no folder {SHARED}")
def test_rows_that_a_rewriter_emptied_are_refused_and_dropping_them_keeps_the_ids_paired() -> None:
    file = SHARED / "sst2" / "bible" / "test.tsv"
    with pytest.raises(DataError, match="5 rows without text"):
        load_data(file)
    rows = load_data(DataSource(str(file), drop_empty=True))
    assert len(rows) == 1821 - 5
    assert rows.ids[250] == "250"
    assert "251" not in rows.ids
