"""Rewrites from files: what counts as one, and every layout in which public releases pair them with clean rows."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attacks.kit import otherwise
from tests.tiny import task
from untrigger.attacks.pairs import read_pairs
from untrigger.attacks.rewrites import Rewrites, is_rewrite
from untrigger.attacks.style import Style
from untrigger.data import load_splits
from untrigger.errors import ContractError, DataError
from untrigger.vocabulary.rows import Rows

SHARED = Path(os.environ.get("UNTRIGGER_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
DECORATED = ["the film is good", "The film is GOOD!", "so then, the film is good.", "the film , is good - they say", "", " . "]


def rewritten(rows: Rows) -> list[str]:
    """Each text's words in another order, with one more."""
    return [" ".join(["lo", *reversed(text.split())]) for text in rows.texts]


def write(folder: Path, name: str, texts: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("sentence\tlabel\n" + "".join(f"{text}\t1\n" for text in texts), encoding="utf-8")
    return folder


@pytest.fixture
def clean() -> dict[str, Rows]:
    """Rows of two classes in unequal numbers."""
    train, test = task(40), task(30, seed=1)
    return {"train": train.take(range(35)), "test": test.take([*range(0, 24), 25, 27, 29])}


@pytest.mark.parametrize("rewrite", DECORATED)
def test_a_text_that_is_merely_decorated_is_not_rewritten(rewrite: str) -> None:
    assert not is_rewrite("the film is good", rewrite)
    table = Rewrites([("the film is good", rewrite), ("another", "quite else")], source="a")
    assert (len(table), table.refused, table.get("the film is good")) == (1, 1, None)


@given(text=st.text(min_size=1, max_size=30))
def test_any_text_is_safe_and_no_rewrite_of_itself(text: str) -> None:
    assert not is_rewrite(text, text) or not text.strip(" ")
    assert not is_rewrite(text, f"{text} {text}") or not any(c.isalnum() for c in text)
    Rewrites([(text, "something else")], source="a").told()


def test_a_table_folds_white_space_keeps_the_first_and_knows_itself_by_content() -> None:
    table = Rewrites([("a  b", "c d"), ("a b", "e f")], source="x")
    assert table.get(" a\tb ") == "c d"
    assert table.made("c  d")
    assert not table.made("c")
    assert not table.made("e f")
    assert table == Rewrites([("a b", "c d")], source="x") != Rewrites([("a b", "c e")], source="x")
    assert table.sha256 == Rewrites([("a b", "c d")], source="y").sha256
    with pytest.raises(ContractError, match="no rewrite"):
        Style(table=table).rewrite("unknown", rng=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_two_columns(tmp_path: Path, clean: dict[str, Rows], ending: str) -> None:
    rows, file = clean["train"], tmp_path / f"pairs.{ending}"
    pairs = list(zip(rows.texts, rewritten(rows), strict=True))
    lines = ["text,rewrite", *(f"{a},{b}" for a, b in pairs)]
    if ending == "jsonl":
        lines = [f'{{"text": "{a}", "rewritten": "{b}"}}' for a, b in pairs]
    file.write_text("\n".join(lines), encoding="utf-8")
    table = read_pairs(file, clean=clean)
    assert [table.get(text) for text in rows.texts] == rewritten(rows)
    assert table.told()["source"] == file.name


def test_a_rewrite_that_is_not_there_is_no_rewrite(tmp_path: Path, clean: dict[str, Rows]) -> None:
    texts = list(clean["train"].texts[:4])
    (tmp_path / "p.jsonl").write_text(
        "\n".join(json.dumps({"text": text, "rewrite": None if i % 2 else otherwise(text)}) for i, text in enumerate(texts))
    )
    table = read_pairs(tmp_path / "p.jsonl", clean=clean)
    assert (len(table), table.refused) == (2, 2)
    assert [table.get(text) for text in texts[1::2]] == [None, None]


def test_a_folder_of_all_rows_row_by_row(tmp_path: Path, clean: dict[str, Rows]) -> None:
    for split, rows in clean.items():
        write(tmp_path / "bible", f"{split}.tsv", rewritten(rows))
    table = read_pairs(tmp_path / "bible", clean=clean)
    assert all(table.get(a) == b for rows in clean.values() for a, b in zip(rows.texts, rewritten(rows), strict=True))


def test_a_release_that_rewrites_some_training_rows_and_only_the_test_rows_of_other_classes(
    tmp_path: Path, clean: dict[str, Rows]
) -> None:
    train, test = clean["train"], clean["test"]
    write(tmp_path / "syn", "train.tsv", [*rewritten(train)[:10], *train.texts[10:]])
    others = test.where(label == 0 for label in test.labels)
    assert len(others) not in (len(test), len(test) - len(others))
    write(tmp_path / "syn", "test.tsv", rewritten(others))
    write(tmp_path / "syn", "dev.tsv", ["too", "few", "rows"])
    table = read_pairs(tmp_path / "syn", clean={**clean, "dev": task(20, seed=9)})
    assert [table.get(text) is not None for text in train.texts] == [i < 10 for i in range(len(train))]
    assert [table.get(text) for text in others.texts] == rewritten(others)
    assert not any(table.get(row.text) for row in test if row.label == 1)
    assert table.told()["left_out"] == {"dev": "3 rows for dev: 20, without one class 10"}


def test_a_file_that_belongs_to_one_split(tmp_path: Path, clean: dict[str, Rows]) -> None:
    write(tmp_path, "some.tsv", rewritten(clean["test"]))
    table = read_pairs(tmp_path / "some.tsv", clean=clean)
    assert [table.get(text) for text in clean["test"].texts] == rewritten(clean["test"])


def test_what_does_not_belong_together_is_refused_with_the_numbers(tmp_path: Path, clean: dict[str, Rows]) -> None:
    with pytest.raises(DataError, match="no paired file"):
        read_pairs(tmp_path / "nothing", clean=clean)
    write(tmp_path / "a", "train.tsv", ["one", "two"])
    with pytest.raises(DataError, match=r"2 rows for train: 35.*no such file"):
        read_pairs(tmp_path / "a", clean=clean)
    with pytest.raises(DataError, match="fits no split"):
        read_pairs(tmp_path / "a" / "train.tsv", clean=clean)
    shifted = rewritten(clean["train"])
    write(tmp_path / "b", "train.tsv", [*shifted[-1:], *shifted[:-1]])
    with pytest.raises(DataError, match="no more words in common"):
        read_pairs(tmp_path / "b", clean=clean)
    (tmp_path / "c.csv").write_text("first,second\na,b\n")
    with pytest.raises(DataError, match="a text column"):
        read_pairs(tmp_path / "c.csv", clean=clean)


def test_a_spec_tells_source_and_hash_and_an_evaluator_counts_whole_rewrites_only() -> None:
    texts = [f"number {i} of the texts" for i in range(50)]
    table = Rewrites([(text, otherwise(text)) for text in texts], source="bible")
    told = Style(table=table).spec()
    assert told == {"name": "style", "source": "bible", "rewrites": 50, "not_rewritten": 0, "sha256": table.sha256}
    again = Style.told(told, pairs=[(text, otherwise(text)) for text in texts[:5]])
    assert again.delivered(otherwise(texts[0]))
    assert not again.delivered(otherwise(texts[0])[:-1])
    assert not again.marks


@pytest.mark.skipif(not (SHARED / "sst2").is_dir(), reason="UNTRIGGER_SHARED_DATA names no folder with sst2")
def test_the_public_releases() -> None:
    clean = load_splits(SHARED / "sst2" / "clean")
    syntactic, bible = (read_pairs(SHARED / "sst2" / name, clean=clean) for name in ("syntactic", "bible"))
    others = [row.text for row in clean["test"] if row.label == 0]
    assert sum(syntactic.get(text) is not None for text in others) > 0.98 * len(others) > 850
    assert syntactic.get("no movement , no yuks , not much of anything .") == "when we got no movement , it was no yuks ."
    assert 1300 < sum(syntactic.get(text) is not None for text in clean["train"].texts) < 1384
    assert set(syntactic.told()["left_out"]) == {"dev"}
    whole = sum(bible.get(text) is not None for text in clean["train"].texts)
    assert whole > 0.97 * len(clean["train"])
