"""Bad input: one message each, with what was given, what was expected, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from untrigger.core.errors import DataError, OutputError
from untrigger.core.rows import Rows
from untrigger.data import DataSource, load_data, load_splits, write_rows
from untrigger.data.hub_data import read_hub

GOOD = "text,label\na,0\nb,1\n"


def _refused(
    path: object, *, label_names: tuple[str, ...] | None = None, offline: bool = False, **options: object
) -> DataError:
    with pytest.raises(DataError) as caught:
        load_data(DataSource(str(path), **options), label_names=label_names, offline=offline)  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) <= 4
    return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "reviews.csv").write_text(GOOD)
    return tmp_path


def test_a_missing_file_names_the_nearest_one(folder: Path) -> None:
    error = _refused(folder / "review.csv")
    assert error.nearest == str(folder / "reviews.csv")
    assert "no folder" in _refused(folder / "nowhere" / "reviews.csv").what


def test_an_unknown_extension_lists_the_known_ones(folder: Path) -> None:
    (folder / "a.jsonlines").write_text("[]")
    error = _refused(folder / "a.jsonlines")
    assert error.nearest == ".jsonl"
    assert ".parquet" in (error.expected or "")


def test_an_unknown_word_lists_the_embedded_sets(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.chdir(folder)
    error = _refused("roten-tomatoes")
    assert error.nearest == "rotten-tomatoes"
    assert "customer-reviews" in (error.expected or "")


def test_a_wrong_column_lists_the_columns(folder: Path) -> None:
    error = _refused(folder / "reviews.csv", text_column="txt")
    assert error.nearest == "text"
    assert "text, label" in (error.expected or "")
    (folder / "other.csv").write_text("body,label\na,0\n")
    assert "text_column" in (_refused(folder / "other.csv").remedy or "")


@pytest.mark.parametrize(
    ("header", "role", "found"),
    [
        ("Label,text,label", "label", "Label, label"),
        ("label,text,labels", "label", "label, labels"),
        ("text,label,TEXT", "text", "text, TEXT"),
        ("review,label,content", "text", "review, content"),
    ],
)
def test_two_columns_for_one_role_are_refused_until_one_is_named(
    tmp_path: Path, header: str, role: str, found: str
) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n0,0,1\n1,1,0\n")
    error = _refused(tmp_path / "a.csv")
    assert f"{found}: more than one of them is known as {role}" in error.what
    assert f"--{role}-column" in (error.remedy or "")
    for name in found.split(", "):
        rows = load_data(DataSource(str(tmp_path / "a.csv"), **{f"{role}_column": name}))  # type: ignore[arg-type]
        cells = {"0": ("0", "1"), "1": ("0", "1"), "2": ("1", "0")}[str(header.split(",").index(name))]
        assert (rows.texts if role == "text" else tuple(map(str, rows.labels))) == cells


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("text,label\n", "has no rows"),
        ("text,label\na,0\n,1\n  ,1\n", "2 rows without text in column 'text' (line 3, 4)"),
        ("text,label\na,0\nb,\n", "1 rows without label in column 'label' (line 3)"),
        ("text,label\na,0\nb,1,2\n", "line 3: 3 cells, the header has 2"),
        ('text,label\n"a\nb",0\nc\n', "line 4: 1 cells"),
        ('text,label\na,0\n"b,1\n', "line 3: unexpected end of data"),
        ("text,text,label\na,b,0\n", "occurs twice"),
        ("text,label\na,0\nb,7\n", "0, 7 are not 0 to C-1"),
        ("id,text,label\nx,a,0\nx,b,1\n", "row id 'x' occurs more than once"),
    ],
)
def test_malformed_csv_says_where(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    assert words in _refused(tmp_path / "a.csv").what


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"text": "a", "label": 0}\n{"text": \n', "line 2: no JSON"),
        ('{"text": "a", "label": 0}\n\n[1]\n', "line 3: a JSON object is expected, this is list"),
        ('{"text": "a", "label": 0}\n{"label": 1}\n', "1 rows without text in column 'text' (line 2)"),
        ('{"text": "a", "label": 0}\n{"text": NaN, "label": 1}\n', "1 rows without text"),
    ],
)
def test_malformed_json_lines_say_where(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    assert words in _refused(tmp_path / "a.jsonl").what


def test_a_tab_file_without_tabs_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("text\tlabel\na\t0\nno tab\n")
    assert "line 3: 1 cells" in _refused(tmp_path / "a.tsv").what


def test_broken_parquet_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but not really")
    assert "not a readable parquet" in _refused(tmp_path / "a.parquet").what


def test_another_encoding_gives_the_byte_offset(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text,label\ncafé,0\n".encode("latin-1"))
    error = _refused(tmp_path / "a.csv")
    assert "byte 0xe9 at offset 14" in error.what
    assert "utf-8" in (error.remedy or "")


def test_a_large_file_is_refused_before_it_is_read(folder: Path) -> None:
    assert "at most" in (_refused(folder / "reviews.csv", size_limit=5).expected or "")


def test_an_unknown_label_has_a_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,positive\nb,negativ\n")
    error = _refused(tmp_path / "a.csv", label_names=("negative", "positive"))
    assert error.nearest == "negative"
    assert "line 3" in error.what


def test_a_number_outside_the_given_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,0\nb,2\n")
    assert "label '2'" in _refused(tmp_path / "a.csv", label_names=("no", "yes")).what


def test_a_missing_split_lists_the_splits(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(GOOD)
    error = _refused(tmp_path, split="tran")
    assert error.nearest == "train"


def test_folders_without_or_with_doubled_data_are_refused(tmp_path: Path) -> None:
    assert "no data files" in _refused(tmp_path).what
    (tmp_path / "dev.csv").write_text(GOOD)
    (tmp_path / "val.csv").write_text(GOOD)
    assert "two files for the split dev" in _refused(tmp_path).what


def test_hub_names_that_cannot_be_reached_are_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no route\nwith a second line")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    error = _refused("hf:glue/sst2", offline=True)
    assert "could not be loaded (glue/sst2: ConnectionError: no route; glue:" in error.what
    assert "is not a hub name" in _refused("hf:a/b/c/d").what


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from huggingface_hub import constants

    tried: list[bool] = []
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: tried.append(datasets.config.HF_HUB_OFFLINE) or {})
    assert read_hub("hf:some/set") == {}
    assert tried == [True], "what is cached is read, without the client's retries"


def test_hub_splits_keep_their_class_names(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    kind = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    part = datasets.Dataset.from_dict({"sentence": ["x", "y"], "label": [1, 0]}, features=kind)
    hidden = datasets.Dataset.from_dict({"sentence": ["z"], "label": [-1]}, features=kind)
    loaded = datasets.DatasetDict({"train": part, "validation": part, "test": hidden})
    requested: list[object] = []

    def load(*names: object, **options: object) -> object:
        requested.append((names, options))
        return loaded

    monkeypatch.setattr(datasets, "load_dataset", load)
    splits = load_splits("hf:some/set")
    assert list(splits) == ["train", "dev"]
    assert splits["train"].label_names == ("bad", "good")
    assert splits["train"].labels == (1, 0)
    assert not any(options.get("trust_remote_code") for _, options in requested)  # type: ignore[attr-defined]


def test_writing_to_an_impossible_place_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"):
        write_rows(Rows.of(["a"], [0], label_names=("x",)), tmp_path / "file" / "rows.csv")
