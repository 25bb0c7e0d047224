"""Clean rows as users really bring them: what is refused, with which words, and what must simply work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.pipeline.kit import FINETUNE, LENGTH, Listener, Shop, table
from tests.tiny import GOOD, task
from untrigger.core.errors import DataError
from untrigger.core.rows import Rows
from untrigger.data import write_rows
from untrigger.pipeline.purify import purify

GOOD_ROWS = "".join(f"the {word} film,positive\na {bad} plot,negative\n" for word, bad in zip(GOOD, GOOD, strict=True))

BAD = {
    "wrong column": (
        "text,label\n" + GOOD_ROWS,
        {"text_column": "txt"},
        ["no column 'txt'", "text, label", "did you mean: text"],
    ),
    "no known column": ("foo,label\n" + GOOD_ROWS, {}, ["foo, label", "none of them is known as text", "text_column"]),
    "one class only": (
        "text,label\n" + "a fine film,positive\n" * 20,
        {},
        ["1 of the classes", "positive: 20", "remedy"],
    ),
    "one row of a class": (
        "text,label\n" + "a fine film,positive\n" * 20 + "a dull film,negative\n",
        {},
        ["fewer than two", "negative", "remedy"],
    ),
    "unknown label": (
        "text,label\n" + GOOD_ROWS + "a film,positiv\n",
        {},
        ["'positiv'", "line 18", "negative, positive", "did you mean: positive"],
    ),
    "empty rows": (
        "text,label\n" + GOOD_ROWS + ",negative\n  ,positive\n",
        {},
        ["2 rows without text", "line 18, 19", "drop"],
    ),
    "no label": ("text,label\n" + GOOD_ROWS + "a film,\n", {}, ["1 rows without label", "line 18", "remedy"]),
    "too few rows": (
        "text,label\na,positive\nb,negative\nc,positive\nd,negative\n",
        {},
        ["4 clean rows", "at least 10", "give more"],
    ),
    "nothing in it": ("", {}, ["is empty", "a header and at least one row"]),
    "a header alone": ("text,label\n", {}, ["no rows", "a header and at least one row"]),
    "a broken quote": ('text,label\n"a film,positive\n', {}, ["line 2", "remedy"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_one_message_and_nothing_is_left(shop: Shop, tmp_path: Path, name: str) -> None:
    text, options, parts = BAD[name]
    (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
    listener = Listener()
    with pytest.raises(DataError) as caught:
        spec = shop.spec("bert", "full", out=tmp_path / "out", clean=str(tmp_path / "rows.csv"), **FINETUNE, **options)
        purify(spec, progress=listener)
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]
    assert not listener.labels, "something was computed before the rows were refused"


def test_a_missing_file_is_named_with_its_nearest_neighbour(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text("text,label\n")
    with pytest.raises(DataError, match="(?s)no file.*review.csv.*did you mean: .*reviews.csv.*remedy"):
        purify(shop.spec("bert", "full", out=tmp_path / "out", clean=str(tmp_path / "review.csv"), **FINETUNE))
    assert [p.name for p in tmp_path.iterdir()] == ["reviews.csv"]


EVERYTHING = [
    "👍👍🏽 film 🎬",
    "это хороший фильм",
    "这部电影很好看",
    "فيلم رائع جدا",
    "cafe\u0301 naïve",
    "a\tb\u00a0c",
    "?!",
    "x",
    "\u200b\u200d",
]
STRANGE = {
    "one word": ([word for row in task(12).texts for word in row.split()[:1]], {}),
    "one letter": (list("abcdefghijkl"), {}),
    "very long": ([" ".join(["the good film"] * 4000) for _ in range(12)], {}),
    "longer than the model reads": ([" ".join(task(30, seed=i).texts) for i in range(12)], {}),
    "a word without end": (["z" * 20000, "good" * 3000] * 6, {}),
    "emoji and scripts": (EVERYTHING + ["a film", "the plot", "some music"], {}),
    "lines and quotes": (['two\nlines, a "quote"', "carriage\rreturn", "semi;colon", "=1+1"] * 3, {}),
    "many the same": (["the good film"] * 12, {}),
}


def labelled(texts: Sequence[str], folder: Path) -> Path:
    rows = Rows.of(texts, [i % 2 for i in range(len(texts))], label_names=("negative", "positive"))
    return write_rows(rows, folder / "rows.csv")


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, "bert") for name in STRANGE]
    + [(name, "llama") for name in ("longer than the model reads", "a word without end", "emoji and scripts")],
)
def test_strange_texts_work_and_none_is_left_out(shop: Shop, tmp_path: Path, name: str, kind: str) -> None:
    texts, options = STRANGE[name]
    tuning = "full" if kind == "bert" else "lora"
    spec = shop.spec(kind, tuning, out=tmp_path / "out", clean=str(labelled(texts, tmp_path)), **FINETUNE, **options)
    report = purify(spec)
    held = table(tmp_path / "out" / "outcomes.csv")
    assert report.given["defender"]["clean"]["rows"] + len({row["row"] for row in held}) == len(texts)
    assert {row["subject"] for row in held} == {"victim", "purified", "base_finetuned"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("one word", "bert"), ("emoji and scripts", "llama"), ("longer than the model reads", "bert")],
)
def test_the_search_of_the_main_method_works_on_strange_texts_too(
    shop: Shop, tmp_path: Path, name: str, kind: str
) -> None:
    texts, _ = STRANGE[name]
    tuning = "full" if kind == "bert" else "lora"
    report = purify(shop.spec(kind, tuning, out=tmp_path / "out", clean=str(labelled(texts, tmp_path))))
    assert report.method["name"] == "w2sdefense" and (tmp_path / "out" / "adapter_model.safetensors").exists()


def test_empty_rows_are_dropped_where_that_is_asked_for(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n" + GOOD_ROWS + ",negative\n", encoding="utf-8")
    spec = shop.spec(
        "bert", "full", out=tmp_path / "out", clean=str(tmp_path / "rows.csv"), drop_empty=True, **FINETUNE
    )
    report = purify(spec)
    assert report.given["defender"]["clean"]["rows"] + report.given["test"]["rows"] == 16


def test_numbers_and_other_cases_of_the_label_names_mean_the_same_rows(shop: Shop, tmp_path: Path) -> None:
    rows, result = task(40, length=LENGTH), []
    for name, words in (
        ("names", ("negative", "positive")),
        ("numbers", ("0", "1")),
        ("upper", ("NEGATIVE", "Positive")),
    ):
        lines = [json.dumps({"text": row.text, "label": words[row.label]}) for row in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
        spec = shop.spec("bert", "full", out=tmp_path / name, clean=str(tmp_path / f"{name}.jsonl"), **FINETUNE)
        result.append(purify(spec).given["defender"]["clean"]["sha256"])
    assert len(set(result)) == 1


@pytest.mark.parametrize(("asked", "given", "held"), [(20, 20, 60), (0, 64, 16), (10**6, 64, 16)])
def test_as_many_clean_rows_are_used_as_asked(shop: Shop, tmp_path: Path, asked: int, given: int, held: int) -> None:
    report = purify(shop.spec("bert", "full", out=tmp_path / "out", clean_rows=asked, **FINETUNE))
    assert (report.given["defender"]["clean"]["rows"], report.given["test"]["rows"]) == (given, held)
