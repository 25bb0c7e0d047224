"""Damaged data files: the texts and labels that ``csv``, ``json`` and ``pyarrow`` read there, or one message."""

from __future__ import annotations

import codecs
import csv
import io
import json
import pickle
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.fuzz.data_damages import DATA_DAMAGES, DataDamage
from tests.fuzz.judging import FAULT, REFUSED, SAME, Outcome, apart, checked_message
from untrigger.core.errors import UserError
from untrigger.data import load_data

SEED = 25
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
TEXT, LABEL = ("text", "sentence"), ("label", "sentiment")


def judged(file: Path) -> Outcome:
    """Whether untrigger reads the rows as the plain readers do, or refuses in one message."""
    before = file.read_bytes()
    try:
        rows = load_data(file)
    except UserError as error:
        ended = checked_message(error, file)
    else:
        ended = compared(
            [(text, rows.label_names[label]) for text, label in zip(rows.texts, rows.labels, strict=True)], file
        )
    unchanged = file.read_bytes() == before and [one.name for one in file.parent.iterdir()] == [file.name]
    return ended if unchanged else Outcome(FAULT, "wrote beside the file")


def compared(found: list[tuple[str, str]], file: Path) -> Outcome:
    try:
        plain = list(plain_rows(file))
    except Exception as error:  # noqa: BLE001
        return Outcome(FAULT, f"read where the plain reader fails: {type(error).__name__}: {str(error)[:200]}")
    if len(plain) != len(found):
        return Outcome(FAULT, f"{len(found)} rows, the plain reader has {len(plain)}")
    for mine, (text, label) in zip(found, plain, strict=True):
        if isinstance(text, list | dict) or text is None or mine[0].strip() != str(text).strip():
            return Outcome(FAULT, f"the text {mine[0][:80]!r}, the plain reader has {str(text)[:80]!r}")
        if not same_label(mine[1], label):
            return Outcome(FAULT, f"the label {mine[1]!r}, the plain reader has {label!r}")
    return Outcome(SAME)


def same_label(mine: str, label: object) -> bool:
    """Whether a class's name stands for the value in the file: the same text, or the same number or truth value."""
    if isinstance(label, str):
        return mine.casefold() == label.strip().casefold() or (
            mine.isascii() and mine.isdecimal() and _number(label) == int(mine)
        )
    if isinstance(label, bytes):
        return mine == label.decode()
    if label is None or isinstance(label, list | dict):
        return False
    return mine == str(label) or (mine.isdecimal() and label == int(mine))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def plain_rows(file: Path) -> Any:
    """Text and label of every row as the plain readers have them."""
    if file.suffix == ".parquet":
        return _parquet_rows(file)
    raw = file.read_bytes()
    text = raw.decode(next((name for mark, name in MARKS if raw.startswith(mark)), "utf-8"))
    if file.suffix in (".csv", ".tsv"):
        return _delimited_rows(text, mark="," if file.suffix == ".csv" else "\t")
    objects = (
        json.loads(text)
        if text.lstrip().startswith("[")
        else [json.loads(line) for line in text.split("\n" if "\n" in text else "\r") if line.strip()]
    )
    return [(_of(one, TEXT), _of(one, LABEL)) for one in objects]


def _delimited_rows(text: str, *, mark: str) -> list[tuple[str, str]]:
    csv.field_size_limit(2**24)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    header, *rows = [row for row in reader if row]
    if any(len(row) != len(header) for row in rows):
        raise ValueError("rows of several lengths")
    named = [dict(zip((name.strip() for name in header), row, strict=True)) for row in rows]
    return [(_of(one, TEXT), _of(one, LABEL)) for one in named]


def _parquet_rows(file: Path) -> list[tuple[Any, Any]]:
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    rows = [(_of(one, TEXT), _of(one, LABEL)) for one in table.to_pylist()]
    names = _declared(table.schema.metadata or {})
    rows = [(text.decode() if isinstance(text, bytes) else text, label) for text, label in rows]
    return [(text, names[label] if names and isinstance(label, int) else label) for text, label in rows]


def _declared(metadata: dict[bytes, bytes]) -> list[str] | None:
    """The class names that ``datasets`` declared for the label column."""
    try:
        return list(json.loads(metadata[b"huggingface"])["info"]["features"]["label"]["names"])
    except (KeyError, ValueError, TypeError, RecursionError):
        return None


def _of(row: dict[str, Any], names: tuple[str, ...]) -> Any:
    folded = {key.casefold(): value for key, value in reversed(row.items())}
    return next(folded[name] for name in names if name in folded)


LEFT = frozenset(
    f".tsv: {name}"
    for name in (
        "bytes: bits turned",
        "a cell more",
        "a quote not closed",
        "a quote within",
        "words behind a quote",
        "quotes escaped by a stroke",
        "single quotes",
    )
)
"""Kinds that the reader of tab files takes another way than ``csv`` does: a tab or a lone quote within a text of two columns."""


@pytest.mark.skipif(
    find_spec("untrigger.data.raw") is None, reason="these are the readers that tell encodings and quotes apart"
)
@pytest.mark.parametrize("ending", sorted({one.ending for one in DATA_DAMAGES}))
def test_damaged_files_are_read_as_they_are_or_refused(ending: str, tmp_path: Path) -> None:
    from tests.fuzz.test_models import report

    found, faults = dict[str, int](), list[str]()
    damages = [one for one in DATA_DAMAGES if one.ending == ending]
    for damage, ended in zip(damages, outcomes(damages, tmp_path), strict=True):
        kind = "fault left to others" if ended.kind == FAULT and str(damage) in LEFT else ended.kind
        found[kind] = found.get(kind, 0) + 1
        if kind == FAULT:
            faults.append(f"{damage}: {ended.why}")
    report(found, faults)
    assert found.get(SAME) and found.get(REFUSED), found


def outcomes(damages: Sequence[DataDamage], place: Path) -> list[Outcome]:
    """All in one process apart; where that dies, hangs or prints, each in one of its own."""
    files = []
    for number, damage in enumerate(damages):
        file = place / str(number) / f"rows{damage.ending}"
        file.parent.mkdir()
        file.write_bytes(damage.make(Random(f"{SEED} {damage}")))
        files.append(file)
    result = place / "result"

    def together() -> Outcome:
        result.write_bytes(pickle.dumps([judged(file) for file in files]))
        return Outcome(SAME)

    if apart(together).kind == SAME:
        found: list[Outcome] = pickle.loads(result.read_bytes())
        return found
    return [apart(lambda file=file: judged(file)) for file in files]  # type: ignore[misc]


def test_the_table_of_data_damages_holds_each_kind_once() -> None:
    assert len(DATA_DAMAGES) > 100 and len({str(one) for one in DATA_DAMAGES}) == len(DATA_DAMAGES)
