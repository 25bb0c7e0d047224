"""Texts without labels: every kind of source, and hostile ones."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import numpy as np
import pytest

from untrigger.core.errors import DataError
from untrigger.data import DataSource, load_texts
from untrigger.data import unlabelled_data as module
from untrigger.data.passages import passages, word_lengths

TEXTS = ["a first text", "ein zweiter Text, größer", "the third"]


def refused(path: Path, **options: object) -> DataError:
    with pytest.raises(DataError) as caught:
        load_texts(DataSource(str(path), **options))  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) <= 4
    return caught.value


@pytest.mark.parametrize("name", ["a.txt", "a.LOG"])
def test_a_text_file_has_one_text_a_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes("\r\n".join(["", *TEXTS, "   ", "THE THIRD."]).encode())
    found = load_texts(str(tmp_path / name))
    assert found.texts == tuple(TEXTS)
    assert (found.read, found.empty, found.repeated, found.overlong) == (6, 2, 1, 0)


def test_tables_give_their_text_column_and_labels_do_not_matter(tmp_path: Path) -> None:
    objects = [{"text": text, "label": [1, None]} for text in TEXTS]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, [*objects, {"text": None}])))
    (tmp_path / "a.csv").write_text("id,sentence\n7,a first text\n7,a second one\n,\n")
    (tmp_path / "a.tsv").write_text("review\tlabel\na first text\t\nthe third\tx\n")
    assert load_texts(str(tmp_path / "a.jsonl")).texts == tuple(TEXTS)
    assert load_texts(str(tmp_path / "a.csv")).texts == ("a first text", "a second one")
    assert load_texts(str(tmp_path / "a.tsv")).texts == ("a first text", "the third")


def test_a_column_that_only_other_data_have_is_guessed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,body\none,two\n")
    for column, text in (("body", "two"), ("tweet", "one")):
        assert load_texts(DataSource(str(tmp_path / "a.csv"), text_column=column)).texts == (text,)


def test_folders_with_splits_and_folders_of_text_files(tmp_path: Path) -> None:
    for folder, files in {"splits": ["train.csv", "test.csv"], "logs": ["b.log", "a.txt"]}.items():
        (tmp_path / folder).mkdir()
        for file in files:
            header = "text,label\n" if file.endswith("csv") else ""
            (tmp_path / folder / file).write_text(f"{header}one of {file}{',0' if header else ''}\n")
    assert load_texts(str(tmp_path / "splits")).texts == ("one of train.csv",)
    assert load_texts(DataSource(str(tmp_path / "splits"), split="test")).texts == ("one of test.csv",)
    assert load_texts(str(tmp_path / "logs")).texts == ("one of a.txt", "one of b.log")
    (tmp_path / "logs" / "new.log").write_text("")
    (tmp_path / "logs" / "old.txt").mkdir()
    assert len(load_texts(str(tmp_path / "logs")).texts) == 2, "an empty file and a folder hold none"
    assert "MiB" in refused(tmp_path / "logs", size_limit=20).what
    assert "no split" in refused(tmp_path / "splits", split="dev").what


def test_encodings(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    for content in (codecs.BOM_UTF8 + "größer".encode(), "größer".encode("utf-16")):
        file.write_bytes(content)
        assert load_texts(str(file)).texts == ("größer",)
    file.write_bytes("größer".encode("latin1"))
    assert "not UTF-8" in refused(file).what
    file.write_bytes(b"a\n\0b\n")
    assert "line 2: a NUL" in refused(file).what


def test_what_cannot_be_read_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name,body\nx,y\n")
    assert "--text-column" in str(refused(tmp_path / "a.csv").remedy)
    (tmp_path / "empty.txt").write_text("")
    empty = refused(tmp_path / "empty.txt")
    assert "is empty" in empty.what and empty.expected == "at least one line"
    (tmp_path / "blank.txt").write_text(" \n\t\n")
    assert "holds no text" in refused(tmp_path / "blank.txt").what
    (tmp_path / "a.txtt").write_text("x")
    assert refused(tmp_path / "a.txtt").nearest == ".txt"
    assert "no file" in refused(tmp_path / "none.txt").what
    (tmp_path / "big.txt").write_text("x" * 200)
    assert "MiB" in refused(tmp_path / "big.txt", size_limit=100).what


def test_a_line_of_megabytes_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHARACTERS", 10)
    (tmp_path / "a.log").write_text("short\n" + "x" * 11)
    found = load_texts(str(tmp_path / "a.log"))
    assert (found.texts, found.overlong) == (("short",), 1)


def test_passages_are_as_long_as_other_texts_and_end_with_sentences() -> None:
    lengths = word_lengths([" ".join(["w"] * n) for n in (1, *[4, 6, 9] * 10, 50)])
    assert lengths[0] == 4 and lengths[-1] == 9
    sentences = [f"Sentence number {i} has words{' and more' * (i % 3)}." for i in range(40)]
    found = passages(" ".join(sentences), lengths=lengths, rng=np.random.default_rng(0))
    assert len(found) > 15 and all(4 <= len(one.split()) <= 9 for one in found)
    assert all(one in " ".join(sentences) and one.endswith(".") for one in found)
    assert passages("short enough", lengths=lengths, rng=np.random.default_rng(0)) == ["short enough"]


def test_a_sentence_that_may_not_be_used_is_in_no_passage() -> None:
    document = "One of the clean rows is here. " + "Another sentence is here. " * 9
    found = passages(document, lengths=[5, 8], rng=np.random.default_rng(0), keep=lambda text: "clean" not in text)
    assert found and not any("clean" in one for one in found)


def test_nor_is_a_short_document_that_holds_it() -> None:
    lengths, rng = [2, 4, 12], np.random.default_rng(0)
    document = "Held out here. Some more words."
    assert passages(document, lengths=lengths, rng=rng) == [document]
    assert passages(document, lengths=lengths, rng=rng, keep=lambda text: text != "Held out here.") == []


def test_a_document_without_sentences_gives_its_beginning() -> None:
    assert passages(" ".join("abcdefghij"), lengths=[3, 4], rng=np.random.default_rng(0)) == ["a b c d"]
