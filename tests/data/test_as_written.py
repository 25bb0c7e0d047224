"""Files are read as the program that wrote them meant them, or refused with the line; never a shifted row or label."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.test_load import SHARED
from untrigger.core.errors import DataError
from untrigger.data import DataSource, load_data

HARD = st.text(alphabet=st.sampled_from(list("ab \",'\t\n;\\.é")), min_size=1, max_size=12).filter(
    lambda text: bool(text.strip())
)


def save(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def refused(place: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_data(place, **options)
    return str(caught.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    cells=st.lists(st.tuples(HARD, st.integers(0, 1)), min_size=1, max_size=6),
    quoting=st.sampled_from([0, 1, 2]),
    tabs=st.booleans(),
)
def test_what_pandas_writes_is_read_back_or_refused_as_ambiguous(
    tmp_path: Path, cells: list[tuple[str, int]], quoting: int, tabs: bool
) -> None:
    import pandas

    frame = pandas.DataFrame({"text": [text for text, _ in cells], "label": [label for _, label in cells]})
    file = tmp_path / ("rows.tsv" if tabs else "rows.csv")
    frame.to_csv(file, sep="\t" if tabs else ",", index=False, quoting=quoting)
    try:
        rows = load_data(file, label_names=("no", "yes"))
    except DataError as error:
        if tabs and "one way only" in str(error):
            return
        raise
    texts = [text for text, _ in cells]
    bare = [tabs and quoting == 0 and not set(text) & set('\t\n"') for text in texts]
    assert list(rows.texts) == [text.strip() if one else text for text, one in zip(texts, bare, strict=True)]
    assert list(rows.labels) == [label for _, label in cells]


def test_a_carriage_return_that_pandas_leaves_unquoted_is_refused_and_not_dropped(tmp_path: Path) -> None:
    assert "line 3: a carriage return" in refused(save(tmp_path, "a.csv", "text,label\na,0\nb\rc,1\n"))
    assert load_data(save(tmp_path, "a.csv", 'text,label\na,0\n"b\rc",1\n')).texts == ("a", "b\rc")


@pytest.mark.parametrize("writer", ["csv", "spreadsheet", "all", "header"])
def test_quoted_tab_files_of_every_kind_of_writer(tmp_path: Path, writer: str) -> None:
    texts = ['he "said" it, twice', "one\ttab", "two\nlines", "plain , film", "plain"]

    def cell(text: str) -> str:
        quoted = '"' + text.replace('"', '""') + '"'
        needs = any(c in text for c in '\t\n"' + ("," if writer == "spreadsheet" else ""))
        return quoted if needs or writer in ("all", "header") else text

    lines = [f"{cell(text)}\t{i % 2}" for i, text in enumerate(texts)]
    header = '"text"\t"label"' if writer == "header" else "text\tlabel"
    assert list(load_data(save(tmp_path, "a.tsv", "\n".join([header, *lines]) + "\n")).texts) == texts


@pytest.mark.parametrize(
    "texts",
    [
        ['"a fine film" , they say', "a dull film"],
        ['" a fine film "', "a dull film", "another , and another"],
        ['"', '"" a', 'b " c'],
        ['5" screen', '"quoted" and not', '"whole"'],
        ["`` quoted ''", 'it \'s "" odd'],
        ['"open', 'close"', 'in "the" middle'],
        ['"a , b"', "c , d"],
    ],
)
def test_in_the_files_of_releases_a_quote_is_a_letter(tmp_path: Path, texts: list[str]) -> None:
    content = "sentence\tlabel\n" + "".join(f"{text}\t{i % 2}\n" for i, text in enumerate(texts))
    rows = load_data(save(tmp_path, "a.tsv", content), label_names=("no", "yes"))
    assert list(rows.texts) == texts
    assert list(rows.labels) == [i % 2 for i in range(len(texts))]


def test_a_quote_that_may_swallow_a_row_is_refused_with_its_line(tmp_path: Path) -> None:
    message = refused(save(tmp_path, "a.tsv", 'text\tlabel\nfine\t1\n"open\t1\nclose"\t0\n'))
    assert "line 3" in message and "remedy" in message


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no folder {SHARED}")
@pytest.mark.parametrize("file", sorted(SHARED.rglob("*.tsv")), ids=lambda file: "/".join(file.parts[-3:]))
def test_real_releases_are_read_line_by_line(file: Path) -> None:
    lines = [line for line in file.read_text(encoding="utf-8").split("\n")[1:] if line.strip()]
    cells = [line.rsplit("\t", 1) for line in lines]
    if file.parent.name == "syntactic":  # written by csv: OLID's training rows have doubled quotes
        cells = [[text[1:-1].replace('""', '"') if text.startswith('"') else text, label] for text, label in cells]
    labels = {int(label) for _, label in cells}
    rows = load_data(DataSource(str(file), drop_empty=True), label_names=[str(i) for i in range(max(labels) + 1)])
    assert [text.strip() for text in rows.texts] == [text.strip() for text, _ in cells if text.strip()]
    assert list(rows.labels) == [int(label) for text, label in cells if text.strip()]


@pytest.mark.skipif(not (SHARED / "olid").is_dir(), reason=f"no folder {SHARED}/olid")
def test_a_release_that_quotes_and_one_that_does_not_hold_the_same_texts() -> None:
    clean, quoted = (load_data(SHARED / "olid" / kind / "train.tsv") for kind in ("clean", "syntactic"))
    same = [" ".join(text.split()) for text in clean.texts if '"' in text and set(text.split()) & {"@USER"}]
    found = {" ".join(text.split()) for text in quoted.texts}
    assert sum(text in found for text in same) > 0.6 * len(same) > 100


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json"])
def test_a_byte_order_mark_says_how_a_file_is_encoded(tmp_path: Path, encoding: str, name: str) -> None:
    form = {
        "a.csv": "text,label\ncafé,1\nb,0\n",
        "a.tsv": "text\tlabel\ncafé\t1\nb\t0\n",
        "a.jsonl": '{"text": "café", "label": 1}\n{"text": "b", "label": 0}\n',
        "a.json": '[{"text": "café", "label": 1}, {"text": "b", "label": 0}]',
    }[name]
    rows = load_data(save(tmp_path, name, form.encode(encoding)))
    assert (rows.texts, rows.labels) == (("café", "b"), (1, 0))


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_utf_16_without_a_mark_and_nul_characters_are_refused_with_the_line(tmp_path: Path, name: str) -> None:
    form = '{"text": "a", "label": 0}\n' if name == "a.jsonl" else "text,label\na,0\n"
    assert "line 1: a NUL character" in refused(save(tmp_path, name, form.encode("utf-16-le")))
    assert "line 2: a NUL character" in refused(
        save(tmp_path, name, f"{form}\0".encode()[: -1 or None].replace(b"\n", b"\n\0", 1))
    )


def test_a_file_that_ends_within_a_character_is_refused(tmp_path: Path) -> None:
    assert "is not UTF-16" in refused(save(tmp_path, "a.csv", "text,label\na,0\n".encode("utf-16")[:-1]))


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_every_line_end_is_a_line_end(tmp_path: Path, end: str) -> None:
    for name, lines in (
        ("a.csv", ["text,label", "a,0", '"b, c",1']),
        ("a.tsv", ["text\tlabel", "a\t0", "b, c\t1"]),
        ("a.jsonl", ['{"text": "a", "label": 0}', '{"text": "b, c", "label": 1}']),
    ):
        rows = load_data(save(tmp_path, name, end.join([*lines, ""])))
        assert (rows.texts, rows.labels) == (("a", "b, c"), (0, 1))


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (r'{"text": "a \ud800 b", "label": 0}', ["line 2", "column 'text'", "U+D800"]),
        (r'{"text": "a \u0000 b", "label": 0}', ["line 2", "NUL"]),
        (r'{"text": ["a", "b"], "label": 0}', ["line 2", "column 'text'", "list where a text is expected"]),
        (r'{"text": {"en": "a"}, "label": 0}', ["line 2", "dict where a text is expected"]),
        (r'{"text": "a", "label": [0, 1]}', ["line 2", "list of labels", "multi-label"]),
        (r'{"text": "a", "label": {"0": 1}}', ["line 2", "list of labels"]),
        (r'{"text": "a", "text": "b", "label": 0}', ["line 2", "'text' occurs twice"]),
        (r'{"text": "a", "label": "\udfff"}', ["line 2", "U+DFFF"]),
    ],
)
def test_json_that_holds_no_text_or_no_label_is_refused_with_its_line(
    tmp_path: Path, line: str, parts: list[str]
) -> None:
    file = save(tmp_path, "a.jsonl", '{"text": "good", "label": 1}\n' + line + "\n")
    for names in (None, ("no", "yes")):
        message = refused(file, label_names=names)
        assert all(part in message for part in parts), message


def test_a_pair_of_surrogates_is_a_character(tmp_path: Path) -> None:
    rows = load_data(save(tmp_path, "a.jsonl", r'{"text": "\ud83d\ude00", "label": 0}' + '\n{"text": "b", "label": 1}'))
    assert rows.texts == ("😀", "b")


def test_json_by_columns_is_refused(tmp_path: Path) -> None:
    import pandas

    pandas.DataFrame({"text": ["a", "b"], "label": [0, 1]}).to_json(tmp_path / "a.json")
    assert "dict where a text is expected" in refused(
        tmp_path / "a.json", label_names=("no", "yes")
    ) or "list of labels" in refused(tmp_path / "a.json", label_names=("no", "yes"))


def parquet(folder: Path, **columns: Any) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), folder / "a.parquet")
    return folder / "a.parquet"


def test_binary_columns_are_utf_8_or_refused(tmp_path: Path) -> None:
    rows = load_data(parquet(tmp_path, text=["café".encode(), b"b"], label=[b"yes", b"no"]))
    assert (rows.texts, [rows.label_names[label] for label in rows.labels]) == (("café", "b"), ["yes", "no"])
    message = refused(parquet(tmp_path, text=[b"a", b"caf\xe9"], label=[0, 1]))
    assert "line 2, column 'text': bytes that are not UTF-8 (0xe9 at offset 3)" in message


def test_a_string_column_of_other_bytes_is_refused_where_it_is_used_alone(tmp_path: Path) -> None:
    import pyarrow as pa

    broken = pa.array([b"a", b"caf\xe9"], pa.binary()).view(pa.string())
    assert "not UTF-8" in refused(parquet(tmp_path, text=broken, label=[0, 1]))
    assert load_data(parquet(tmp_path, text=["a", "b"], other=broken, label=[0, 1])).texts == ("a", "b")


@pytest.mark.parametrize("values", [[["a"], ["b", "c"]], [{"en": "a"}, {"en": "b"}]])
def test_lists_and_structs_are_refused_by_column_and_harmless_beside(tmp_path: Path, values: Sequence[Any]) -> None:
    assert "column 'text'" in refused(parquet(tmp_path, text=values, label=[0, 1]))
    assert "list of labels" in refused(parquet(tmp_path, text=["a", "b"], label=values), label_names=("no", "yes"))
    assert load_data(parquet(tmp_path, text=["a", "b"], tokens=values, label=[0, 1])).texts == ("a", "b")


def test_parquet_with_a_column_name_twice_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table([["a"], ["b"], [0]], names=["text", "text", "label"]), tmp_path / "a.parquet")
    assert "occurs twice" in refused(tmp_path / "a.parquet")


def test_categories_floats_and_booleans_of_pandas_are_labels(tmp_path: Path) -> None:
    import pandas

    for values, names, labels in (
        (pandas.Categorical(["yes", "no"]), ("no", "yes"), (1, 0)),
        ([1.0, 0.0], ("no", "yes"), (1, 0)),
        ([True, False], ("no", "yes"), (1, 0)),
        ([True, False], ("True", "False"), (0, 1)),
    ):
        pandas.DataFrame({"text": ["a", "b"], "label": values}).to_parquet(tmp_path / "a.parquet")
        assert load_data(tmp_path / "a.parquet", label_names=names).labels == labels


@pytest.mark.parametrize(
    ("ids", "parts"),
    [
        (["x", "y", "x"], ["row id 'x'", "line 2, 4"]),
        (["x", " x", "y"], ["row id 'x'", "line 2, 3"]),
        (["x", "", "y"], ["rows without an id", "line 3"]),
        (["", "x", ""], ["rows without an id", "line 2, 4"]),
    ],
)
def test_ids_that_repeat_or_are_missing_are_refused_with_their_lines(
    tmp_path: Path, ids: list[str], parts: list[str]
) -> None:
    content = "id,text,label\n" + "".join(f"{one},text {i},{i % 2}\n" for i, one in enumerate(ids))
    message = refused(save(tmp_path, "a.csv", content))
    assert all(part in message for part in parts), message


def test_a_column_that_is_clearly_not_one_of_ids_is_not_used_and_that_is_noted(tmp_path: Path) -> None:
    content = "id,text,label\n" + "".join(f"user {i % 3},text {i},{i % 2}\n" for i in range(12))
    rows = load_data(save(tmp_path, "a.csv", content))
    assert rows.ids == tuple(str(i) for i in range(12))
    assert rows.notes == ("a.csv: the column id has 3 values in 12 rows and is not used",)


def test_the_other_half_of_a_pair_of_texts_is_not_left_out_in_silence(tmp_path: Path) -> None:
    file = save(tmp_path, "a.csv", "question,sentence,label\nwho?,a man,0\nwhy?,a reason,1\n")
    assert load_data(file).notes == ("a.csv: texts are the column sentence; not read: question",)
    assert load_data(DataSource(str(file), text_column="sentence")).notes == ()


def test_a_line_of_a_tab_alone_is_a_row_without_a_label_and_not_nothing(tmp_path: Path) -> None:
    assert "line 3" in refused(save(tmp_path, "a.tsv", "text\tlabel\na\t0\n\t\nb\t1\n"))


def test_one_part_of_a_split_is_not_the_split(tmp_path: Path) -> None:
    file = parquet(tmp_path, text=["a", "b"], label=[0, 1])
    file.rename(tmp_path / "train-00000-of-00002.parquet")
    assert "one of 2 parts" in refused(tmp_path)
    (tmp_path / "train-00000-of-00002.parquet").rename(tmp_path / "train-00000-of-00001.parquet")
    assert load_data(tmp_path).texts == ("a", "b")


def test_hub_columns_of_bytes_and_lists_are_read_as_those_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    part = datasets.Dataset.from_dict({"text": [b"a", "é".encode()], "label": [0, 1], "several": [[0], [0, 1]]})
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *_, **__: datasets.DatasetDict({"train": part.with_format("numpy")})
    )
    assert load_data("hf:some/set").texts == ("a", "é")
    with pytest.raises(DataError, match=r"hf:some/set \(train\).*list of labels"):
        load_data(DataSource("hf:some/set", label_column="several"))


def test_what_untrigger_reads_is_what_csv_and_json_read(tmp_path: Path) -> None:
    texts = ["NA", "null", "None", "nan", "  spaces  ", "1", "-0", "TRUE", "#", "'x"]
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label"), *((text, i % 2) for i, text in enumerate(texts))])
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"text": text, "label": i % 2}) for i, text in enumerate(texts))
    )
    assert list(load_data(tmp_path / "a.csv").texts) == texts == list(load_data(tmp_path / "a.jsonl").texts)
