"""Damaged files of rows: the rows, or one message that says what to do; nothing else."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from untrigger.core.errors import UserError
from untrigger.data import DataSource, load_data

ROWS = [(f'a film of {i} parts, "quoted"' if i % 3 else f"two\tparts {i}", i % 2) for i in range(30)]
KINDS = 150


def written(folder: Path, form: str) -> Path:
    """Sound rows in a file, or in the Arrow folder of ``datasets``."""
    import pandas

    frame = pandas.DataFrame({"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]})
    file = folder / f"rows.{form}"
    if form == "csv":
        frame.to_csv(file, index=False)
    elif form == "tsv":
        frame.to_csv(file, index=False, sep="\t")
    elif form == "jsonl":
        frame.to_json(file, orient="records", lines=True)
    elif form == "json":
        frame.to_json(file, orient="records")
    else:
        frame.to_parquet(file)
    return file


def damaged(raw: bytes, *, seed: int) -> bytes:
    """The bytes with a few of them changed, lost, doubled or swapped for what means something to a reader."""
    rng = random.Random(seed)
    found = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(found))
        how = rng.randrange(6)
        if how == 0:
            found[place] = rng.randrange(256)
        elif how == 1:
            del found[place : place + rng.randint(1, 40)]
        elif how == 2:
            found[place:place] = found[: rng.randint(1, 40)]
        elif how == 3:
            found[place:place] = rng.choice(
                [b'"', b"\t", b"\r", b"\0", b"\xef\xbb\xbf", b"[", b"{", b"null", b"\\ud800", b"NaN", b"\xff\xfe"]
            )
        elif how == 4:
            del found[place:]
        else:
            found[place : place + 4] = rng.randbytes(4)
        if not found:
            break
    return bytes(found)


@pytest.mark.parametrize("form", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_a_damaged_file_is_read_or_refused_in_one_message(tmp_path: Path, form: str) -> None:
    file = written(tmp_path, form)
    raw = file.read_bytes()
    assert load_data(file, label_names=("no", "yes")).texts == tuple(text for text, _ in ROWS)
    messages = []
    for seed in range(KINDS):
        file.write_bytes(damaged(raw, seed=seed))
        try:
            rows = load_data(DataSource(str(file), size_limit=1 << 20), label_names=("no", "yes"))
        except UserError as error:
            messages.append(str(error))
        else:
            assert set(rows.labels) <= {0, 1} and all(text.strip() and "\0" not in text for text in rows.texts)
            "".join(rows.texts).encode()
    assert len(messages) > KINDS // 10
    assert all(len(message.splitlines()) <= 6 for message in messages)


def test_a_damaged_saved_set_is_read_or_refused_in_one_message(tmp_path: Path) -> None:
    import datasets

    part = datasets.Dataset.from_dict({"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]})
    datasets.DatasetDict({"train": part}).save_to_disk(str(tmp_path / "data"))
    files = sorted(file for file in (tmp_path / "data").rglob("*") if file.is_file())
    whole = {file: file.read_bytes() for file in files}
    messages = []
    for seed in range(60):
        for file, raw in whole.items():
            file.write_bytes(raw)
        file = files[seed % len(files)]
        file.write_bytes(damaged(whole[file], seed=seed))
        try:
            load_data(tmp_path / "data", label_names=("no", "yes"))
        except UserError as error:
            messages.append(str(error))
    assert len(messages) > 10
    assert all(len(message.splitlines()) <= 6 for message in messages)


def test_deep_and_odd_json_is_one_message(tmp_path: Path) -> None:
    for content in ("[" * 100_000, '{"text": ' * 50_000, json.dumps("x"), "[1, 2]", "[[]]", "[]", "{}", "null"):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(UserError):
            load_data(tmp_path / "a.json", label_names=("no", "yes"))
