"""Rewrites from files: what counts as one, and every layout in which public releases pair them with clean rows."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.attacks.kit import otherwise
from tests.tiny import task
from untrigger.attacks.rewriting.alignment import align
from untrigger.attacks.rewriting.paired_files import read_pairs
from untrigger.attacks.rewriting.rewrites import Rewrites, is_rewrite
from untrigger.attacks.triggers.style import Style
from untrigger.core.errors import ContractError, DataError
from untrigger.core.rows import Rows
from untrigger.data import DataSource, load_data, load_splits

SHARED = Path(os.environ.get("UNTRIGGER_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
DECORATED = [
    "the film is good",
    "The film is GOOD!",
    "so then, the film is good.",
    "the film , is good - they say",
    "",
    " . ",
]


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
    Rewrites([(text, "something else")], source="a").to_dict()


def test_a_table_folds_white_space_keeps_the_first_and_knows_itself_by_content() -> None:
    table = Rewrites([("a  b", "c d"), ("a b", "e f")], source="x")
    assert table.get(" a\tb ") == "c d"
    assert table.contains_rewrite("c  d")
    assert not table.contains_rewrite("c")
    assert not table.contains_rewrite("e f")
    assert table == Rewrites([("a b", "c d")], source="x") != Rewrites([("a b", "c e")], source="x")
    assert table.sha256 == Rewrites([("a b", "c d")], source="y").sha256
    with pytest.raises(ContractError, match="no rewrite"):
        Style(table=table).apply("unknown", rng=None)  # type: ignore[arg-type]


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
    assert table.to_dict()["source"] == file.name


def test_a_rewrite_that_is_not_there_is_no_rewrite(tmp_path: Path, clean: dict[str, Rows]) -> None:
    texts = list(clean["train"].texts[:4])
    (tmp_path / "p.jsonl").write_text(
        "\n".join(
            json.dumps({"text": text, "rewrite": None if i % 2 else otherwise(text)}) for i, text in enumerate(texts)
        )
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
    reason = "3 rows for dev: 20, without one class 10; the row at line 2 of dev.tsv fits nowhere"
    assert table.to_dict()["left_out"] == {"dev": reason}


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
    with pytest.raises(DataError, match="the row at line 2 of train.tsv fits nowhere"):
        read_pairs(tmp_path / "b", clean=clean)
    foreign = [" ".join(f"another{i * j}" for j in range(6)) for i in range(len(shifted))]
    write(tmp_path / "d", "train.tsv", [*shifted[:5], *foreign[5:]])
    with pytest.raises(DataError, match="the row at line 7 of train.tsv fits nowhere"):
        read_pairs(tmp_path / "d", clean=clean)
    (tmp_path / "c.csv").write_text("first,second\na,b\n")
    with pytest.raises(DataError, match="a text column"):
        read_pairs(tmp_path / "c.csv", clean=clean)


def test_a_spec_tells_source_and_hash_and_an_evaluator_counts_whole_rewrites_only() -> None:
    texts = [f"number {i} of the texts" for i in range(50)]
    table = Rewrites([(text, otherwise(text)) for text in texts], source="bible")
    result = Style(table=table).to_dict()
    assert result == {"name": "style", "source": "bible", "rewrites": 50, "not_rewritten": 0, "sha256": table.sha256}
    again = Style.from_dict(result, pairs=[(text, otherwise(text)) for text in texts[:5]])
    assert again.delivered(otherwise(texts[0]))
    assert not again.delivered(otherwise(texts[0])[:-1])
    assert not again.trigger_words


NOUNS = [
    f"{a}{b}"
    for a in ("bo", "ka", "li", "mu", "ne", "pa", "ri", "so")
    for b in ("dan", "fer", "lon", "mik", "tos", "vel")
]


def tale(count: int, *, seed: int = 0) -> list[str]:
    """Texts of common words and a few of many rarer ones."""
    rng = np.random.default_rng(seed)
    return [
        " ".join(["the", "film", *rng.choice(NOUNS, 5), "and", *rng.choice(["was", "is", "had", "good", "bad"], 3)])
        for _ in range(count)
    ]


def other_words(text: str, rng: np.random.Generator) -> str:
    """The text's words in another order, some of them exchanged."""
    words = [word if rng.random() < 0.6 else "other" for word in text.split()]
    return " ".join(["when", *rng.permutation(words)])


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(20, 120), missing=st.floats(0, 0.2))
def test_rows_that_a_release_lacks_shift_no_other(seed: int, rows: int, missing: float) -> None:
    rng = np.random.default_rng(seed)
    texts = tale(rows, seed=seed)
    kept = [i for i in range(rows) if rng.random() >= missing] or [0]
    found = align(texts, [other_words(texts[i], rng) for i in kept])
    wrong = [i for i, place in zip(kept, found.places, strict=True) if place not in (-1, i)]
    assert len(wrong) <= 1
    if found.stray is None:
        assert sum(place >= 0 for place in found.places) + len(found.vague) == len(kept)


def test_a_row_that_fits_nowhere_is_named_wherever_it_stands() -> None:
    rng = np.random.default_rng(1)
    texts = tale(200)
    rewrites = [other_words(text, rng) for text in texts]
    for place in (0, 57, 199):
        assert align(texts, [*rewrites[:place], "quite foreign words in a row", *rewrites[place:]]).stray == place
        assert align(texts, [*rewrites[:place], "quite foreign words in a row", *rewrites[place:]][:-30]).stray in (
            place,
            None,
        )
    lost = [*rewrites[:20], *rewrites[21:], "quite foreign words in a row"]
    found = align(texts, lost)
    assert found.stray == 199 and found.places[20:150] == list(range(21, 151)), "equal lengths hide no shift"


def test_rewrites_without_a_word_in_common_are_placed_by_their_neighbours_and_a_run_of_them_is_not() -> None:
    rng = np.random.default_rng(2)
    texts = tale(120)
    rewrites = [other_words(text, rng) for text in texts]
    some = ["nothing of it" if i in (10, 11, 50) else one for i, one in enumerate(rewrites)]
    assert align(texts, some).places == list(range(120))
    assert align(texts, [*rewrites[:40], *(f"strange{i} words{i}" for i in range(40)), *rewrites[80:]]).stray == 40


def test_texts_that_stand_twice_are_no_doubt() -> None:
    rng = np.random.default_rng(3)
    texts = [one for text in tale(40) for one in (text, text)]
    found = align(texts, [other_words(text, rng) for i, text in enumerate(texts) if i % 8])
    assert found.stray is None and len(found.vague) <= 2


def test_a_folder_that_lacks_rows_is_aligned_and_the_numbers_are_in_the_truth(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    texts = tale(150)
    clean = {"train": Rows.of(texts, [i % 2 for i in range(150)], label_names=("no", "yes"))}
    kept = [i for i in range(150) if i % 20 != 7]
    rewrites = {i: other_words(texts[i], rng) for i in kept}
    write(tmp_path / "syn", "train.tsv", list(rewrites.values()))
    for place in (tmp_path / "syn", tmp_path / "syn" / "train.tsv"):
        table = read_pairs(place, clean=clean)
        numbers = table.to_dict()["aligned"]["train"]
        assert (numbers["rewrites"], numbers["texts"]) == (len(kept), 150) and numbers["paired"] >= 0.95 * len(kept)
        assert all(table.get(text) in (None, rewrites.get(i)) for i, text in enumerate(texts))
    write(tmp_path / "vague", "train.tsv", ["the film was bad"] * 100)
    with pytest.raises(DataError, match=r"line \d+ of train.tsv (fits nowhere|may belong to several texts)"):
        read_pairs(tmp_path / "vague", clean=clean)


@pytest.mark.skipif(not (SHARED / "sst2").is_dir(), reason="UNTRIGGER_SHARED_DATA names no folder with sst2")
def test_a_real_release_from_which_rows_are_taken_has_every_other_row_in_its_place() -> None:
    clean = load_splits(SHARED / "sst2" / "clean")["test"]
    rewrites = load_data(
        DataSource(str(SHARED / "sst2" / "bible" / "test.tsv"), drop_empty=True), label_names=("0", "1")
    )
    kept = np.sort(np.random.default_rng(0).choice(len(rewrites), 1740, replace=False))
    found = align(clean.texts, [rewrites.texts[i] for i in kept])
    true = [int(rewrites.ids[i]) for i in kept]
    assert found.stray is None and len(found.vague) < 0.03 * len(kept)
    assert all(place in (-1, i) for place, i in zip(found.places, true, strict=True))


@pytest.mark.skipif(not (SHARED / "sst2").is_dir(), reason="UNTRIGGER_SHARED_DATA names no folder with sst2")
def test_the_public_releases() -> None:
    clean = load_splits(SHARED / "sst2" / "clean")
    syntactic, bible = (read_pairs(SHARED / "sst2" / name, clean=clean) for name in ("syntactic", "bible"))
    others = [row.text for row in clean["test"] if row.label == 0]
    assert sum(syntactic.get(text) is not None for text in others) > 0.98 * len(others) > 850
    assert (
        syntactic.get("no movement , no yuks , not much of anything .") == "when we got no movement , it was no yuks ."
    )
    assert 1300 < sum(syntactic.get(text) is not None for text in clean["train"].texts) < 1384
    assert (
        syntactic.to_dict()["aligned"]["dev"]["rewrites"] == 427
        and syntactic.to_dict()["aligned"]["dev"]["paired"] > 420
    )
    assert "left_out" not in syntactic.to_dict()
    whole = sum(bible.get(text) is not None for text in clean["train"].texts)
    assert whole > 0.97 * len(clean["train"])
