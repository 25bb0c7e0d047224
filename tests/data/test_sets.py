"""Data sets by name: the layouts of public releases are recognised, and numbers get the names that they stand for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from untrigger.core.errors import DataError
from untrigger.core.rows import Rows
from untrigger.data import PUBLIC_DATASETS, DataSource, card_of, embedded_names, load_data, load_splits, write_rows
from untrigger.data.locate import DATA_VARIABLE, locate
from untrigger.data.public_datasets import find_public_dataset

SHARED = os.environ.get("UNTRIGGER_SHARED_DATA", "")
TSV = "sentence \t label\na dull\tfilm . \t 0\na fine film \t 1\n"
PANDAS = ',0,1,2\n0,"a dull, long film",0,1\n1,a fine film,1,0\n'
LINES = '{"label":0,"sentence":"a dull film"}\n{"label":1,"sentence":"a fine film"}\n'
NEWS = '"3","Wall St.","Shares\\fell on Monday"\n"1","Peace","Talks in\\nParis"\n"4","Chips","Faster ones"\n"2","Cup","Won"\n'


def place(root: Path, files: dict[str, str]) -> Path:
    """A folder with these files."""
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root


LAYOUTS: dict[str, tuple[dict[str, str], dict[str, int]]] = {
    "HiddenKiller, the folder itself": (
        {"train.tsv": TSV, "dev.tsv": TSV, "test.tsv": TSV},
        {"train": 2, "dev": 2, "test": 2},
    ),
    "a folder clean beside rewrites": ({"clean/train.tsv": TSV, "bible/train.tsv": TSV}, {"train": 2}),
    "StyleAttack, the root of the release": (
        {
            "data/clean/sst-2/train.tsv": TSV,
            "data/clean/sst-2/test.tsv": TSV,
            "data/clean/ag/train.tsv": TSV,
            "data/clean/sst-2/test_100.tsv": TSV,
        },
        {"train": 2, "test": 2},
    ),
    "OpenBackdoor, the folder datasets": ({"SentimentAnalysis/SST-2/dev.tsv": TSV}, {"dev": 2}),
    "OpenBackdoor, as it saves clean rows": ({"train-clean.csv": PANDAS, "train-poison.csv": PANDAS}, {"train": 2}),
    "OpenBackdoor, texts and labels apart": (
        {"train.txt": "a dull film\na fine film\n", "train_labels.txt": "0\n1\n"},
        {"train": 2},
    ),
    "DUP, poisoned rows alone": ({"train-poison.csv": PANDAS}, {"train": 2}),
    "GMS, lines that are called json": (
        {"sst2/test_clean.json": LINES, "sst2/test_badnet.json": LINES, "sst2/train_clean.json": LINES},
        {"train": 2, "test": 2},
    ),
    "BeDKD": ({"train.json": LINES, "test_clean.json": LINES, "test_poisoned.json": LINES}, {"train": 2, "test": 2}),
    "a list of objects": ({"train.json": "[" + ",".join(LINES.split("\n")[:2]) + "]"}, {"train": 2}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_release_is_recognised_by_its_files(tmp_path: Path, layout: str) -> None:
    files, sizes = LAYOUTS[layout]
    splits = load_splits(f"sst2={place(tmp_path, files)}")
    assert {name: len(rows) for name, rows in splits.items()} == sizes
    for rows in splits.values():
        assert [(" ".join(text.split()[:2]).strip(","), rows.label_names[label]) for _, text, label in rows] == [
            ("a dull", "negative"),
            ("a fine", "positive"),
        ]


def test_news_without_a_header_count_their_classes_from_one(tmp_path: Path) -> None:
    place(tmp_path, {"train.csv": NEWS})
    rows = load_data(f"agnews={tmp_path}")
    assert rows.label_names == ("World", "Sports", "Business", "Sci/Tech")
    assert [(text, rows.label_names[label]) for _, text, label in rows] == [
        ("Wall St. Shares fell on Monday", "Business"),
        ("Peace Talks in Paris", "World"),
        ("Chips Faster ones", "Sci/Tech"),
        ("Cup Won", "Sports"),
    ]


def test_the_flag_of_poisoned_rows_is_no_column_of_the_rows(tmp_path: Path) -> None:
    folder = place(tmp_path, {"train-poison.csv": PANDAS})
    turned = place(tmp_path / "other", {"train-poison.csv": PANDAS.replace(",0,1\n", ",0,0\n")})
    assert load_data(f"sst2={folder}") == load_data(f"sst2={turned}")


@pytest.mark.parametrize("called", ["sst2", "sst-2", "SST-2"])
def test_a_file_takes_its_names_from_the_set_whatever_it_is_called(tmp_path: Path, called: str) -> None:
    file = place(tmp_path, {"rows.tsv": TSV}) / "rows.tsv"
    assert load_data(file).label_names == ("0", "1")
    assert load_data(f"{called}={file}").label_names == ("negative", "positive")


def test_numbers_keep_their_meaning_where_a_model_has_its_classes_in_another_order(tmp_path: Path) -> None:
    file = place(tmp_path, {"rows.tsv": TSV}) / "rows.tsv"
    turned = load_data(f"sst2={file}", label_names=("positive", "negative"))
    assert [turned.label_names[label] for label in turned.labels] == ["negative", "positive"]


def test_a_name_alone_is_found_below_the_folder_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(tmp_path, {"sst-2/train.tsv": TSV, "imdb/test.json": LINES})
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert load_data("sst2").label_names == ("negative", "positive")
    assert locate("imdb").kind == "folder"
    monkeypatch.delenv(DATA_VARIABLE)
    assert (locate("imdb").kind, locate("mr").place) == ("embedded", "rotten-tomatoes")


def test_every_set_can_be_had_from_somewhere() -> None:
    named = {"sst2", "cr", "agnews", "olid", "imdb", "hate-speech", "yelp", "spam", "mr"}
    assert named <= set(PUBLIC_DATASETS)
    for one in PUBLIC_DATASETS.values():
        assert one.asset in embedded_names() or one.hub, one.name
        assert all(find_public_dataset(called) is one for called in (one.name, *one.aliases))
        assert len(set(one.label_names)) == len(one.label_names) > 1


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("sst2", ["sst2=PATH", DATA_VARIABLE, "hf:SetFit/sst2"]),
        ("sst3=/tmp", ["'sst3'", "did you mean: sst2"]),
        ("sst2={root}/empty", ["no files of sst2", "train, dev or test"]),
        ("sst2={root}/nowhere.tsv", ["nowhere.tsv"]),
        ("sst2={root}/variants", ["only variants", "test_badnet.json", "name one of the files"]),
        ("sst2={root}/two", ["two files for the split test", "test.json, test_clean.json"]),
        ("sst2={root}/zero", ["line 1", "'0'", "a whole number from 1 on", "header line"]),
        ("sst2={root}/uneven", ["2 lines", "1", "belong together"]),
        ("sst2={root}/list", ["item 2", "a JSON object is expected, this is int"]),
    ],
)
def test_what_cannot_be_found_or_read_is_one_message(tmp_path: Path, words: str, parts: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    place(tmp_path / "variants", {"test_badnet.json": LINES, "test_hidden.json": LINES})
    place(tmp_path / "two", {"test_clean.json": LINES, "test.json": LINES})
    place(tmp_path / "zero", {"train.csv": '0,"a film"\n1,"a film"\n'})
    place(tmp_path / "uneven", {"train.txt": "a\nb\n", "train_labels.txt": "0\n"})
    place(tmp_path / "list", {"train.json": '[{"text": "a", "label": 0}, 7]'})
    with pytest.raises(DataError) as caught:
        load_data(words.format(root=tmp_path), offline=True)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_the_hub_is_asked_last_and_rows_of_other_classes_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    kind = datasets.ClassLabel(names=["noHate", "hate", "idk/skip"])
    features = datasets.Features({"text": datasets.Value("string"), "label": kind})
    part = datasets.Dataset.from_dict({"text": ["x", "y", "z"], "label": [1, 2, 0]}, features=features)
    requested: list[Any] = []

    def load(*names: object, **options: object) -> object:
        requested.append((names, options.get("revision")))
        return datasets.DatasetDict({"train": part})

    monkeypatch.setattr(datasets, "load_dataset", load)
    rows = load_data("hate-speech")
    assert requested == [(("odegiber/hate_speech18", None), "refs/convert/parquet")]
    assert (rows.texts, rows.labels, rows.label_names) == (("x", "z"), (1, 0), ("no hate", "hate"))


def test_columns_that_only_the_hub_calls_so_are_named_by_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    part = datasets.Dataset.from_dict({"class": [2, 0], "tweet": ["x", "y"], "count": [3, 3]})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.DatasetDict({"train": part}))
    rows = load_data("hsol")
    assert (rows.texts, [rows.label_names[label] for label in rows.labels]) == (("x", "y"), ["neither", "hate speech"])


def test_a_card_counts_rows_hashes_and_what_two_splits_share(tmp_path: Path) -> None:
    file = "text,label\nA  film,0\nanother,1\n"
    folder = place(tmp_path, {"train.csv": file, "test.csv": "text,label\na film,1\nnew,0\n"})
    card = card_of(f"sst2={folder}")
    splits: dict[str, Rows] = load_splits(folder, label_names=("negative", "positive"))
    assert card.splits["train"] == {
        "rows": 2,
        "classes": {"negative": 1, "positive": 1},
        "sha256": splits["train"].content_hash(),
    }
    assert card.overlap == {"train in test": 1, "test in train": 1}
    assert json.loads(json.dumps(card.to_dict()))["published"] == {"train": 6920, "dev": 872, "test": 1821}
    page = card_of(f"sst2={folder}").markdown()
    assert "1 of train in test" in page and "| train | 2 | 6920 |" in page and card.licence in page
    assert "No text is in two splits" in card_of(folder / "train.csv").markdown()


def test_the_card_of_a_strangers_data_shows_its_labels_and_acts_on_none(tmp_path: Path) -> None:
    rows = Rows.of(["a", "b"], [0, 1], label_names=("no", "yes\n\n# CLEAN <img src=x> https://evil.example"))
    page = card_of(write_rows(rows, tmp_path / "rows.csv")).markdown()
    assert next(line for line in page.splitlines() if "CLEAN" in line).startswith("| all |")
    assert "<img" not in page and "https://" not in page


@pytest.mark.skipif(not SHARED, reason="UNTRIGGER_SHARED_DATA names no folder of real data")
def test_the_public_files_have_their_published_sizes_and_their_classes() -> None:
    sst2 = card_of(f"sst2={SHARED}/sst2")
    assert {name: one["rows"] for name, one in sst2.splits.items()} == sst2.published
    assert sst2.splits["train"]["classes"] == {"negative": 3310, "positive": 3610}
    assert sst2.overlap == {"train in test": 3, "test in train": 2}
    news = load_data(DataSource(f"agnews={SHARED}", split="test"))
    assert news.class_counts() == dict.fromkeys(("World", "Sports", "Business", "Sci/Tech"), 1900)
    assert news.label_names[news.labels[0]] == "Business" and "pension" not in news.texts[1]
    assert news.texts[0].startswith("unions representing workers at turner")
