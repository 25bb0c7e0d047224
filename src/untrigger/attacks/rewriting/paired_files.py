"""Paired files: rewrites in the layouts of public releases, matched with the clean rows that they were made of.

===================  ====================================================================================================
two columns          a file with a text column and one of ``REWRITE_COLUMNS``
row by row           a folder whose train/dev/test have as many rows as the clean ones (StyleAttack), or a file that has as
                     many rows as a split of them
non-target rows      the same folder, but a split holds the rewrites of only those rows that are not of one class, in order
                     (HiddenKiller's dev and test; its train is row by row, most of it left as it was)
some rows            any of these where the release lacks rows: what is there is in order, and is aligned with the clean rows by
                     the words that they share (``align``)
===================  ====================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from untrigger.attacks.rewriting.alignment import align
from untrigger.attacks.rewriting.rewrites import Rewrites
from untrigger.core.errors import DataError
from untrigger.core.rows import Rows
from untrigger.data.columns import TEXT_COLUMNS
from untrigger.data.tables import EXTENSIONS, Table, read_table

REWRITE_COLUMNS = ("rewrite", "rewritten", "paraphrase", "triggered", "poisoned")
_NAMES = {"train": ("train",), "dev": ("dev", "valid", "validation"), "test": ("test",), "all": ("all", "train")}
_VAGUE = 0.05  # share of the rewrites that may have no certain place


def read_pairs(place: Path, *, clean: Mapping[str, Rows]) -> Rewrites:
    """Return the rewrites in a file or folder, matched with the splits of the clean data.

    A split of a folder that cannot be matched is left out and named under ``left_out`` in the truth file. Where rows were aligned,
    ``aligned`` has their numbers; a rewrite that may belong to several texts is used for none.

    Args:
        place: the paired file or folder.
        clean: all rows of the clean data by split, in the order of their files.

    Raises:
        DataError: if nothing can be read or matched, with the first row that fits nowhere.
    """
    if place.is_dir():
        return _folder(place, clean=clean)
    if not place.exists():
        raise DataError(f"there is no paired file or folder {str(place)!r}", remedy="check the path")
    table = read_table(place)
    rewrites = next((name for name in table.columns if name.casefold() in REWRITE_COLUMNS), None)
    if rewrites is not None:
        pairs = zip(_texts(table, place), _plain(table.columns[rewrites]), strict=True)
        return Rewrites(list(pairs), source=place.name)
    failures: dict[str, str] = {}
    texts, count = _texts(table, place), len(table)
    for split, rows in sorted(clean.items(), key=lambda item: len(item[1]) != count):
        try:
            found = _matched(texts, rows, split=split, table=table)
        except DataError as error:
            failures[split] = error.what
        else:
            return Rewrites(found.pairs, source=place.name, notes=found.notes())
    raise _unmatched(place, failures)


@dataclass(frozen=True)
class _Found:
    """The pairs of a split, and how many rows had to be aligned for them."""

    split: str
    pairs: list[tuple[str, str]]
    texts: int
    rewrites: int

    def notes(self) -> dict[str, Any]:
        """Return the counts for the truth file, where rows are missing or have no certain place."""
        if self.texts == self.rewrites == len(self.pairs):
            return {}
        return {"aligned": {self.split: {"rewrites": self.rewrites, "texts": self.texts, "paired": len(self.pairs)}}}


def _folder(place: Path, *, clean: Mapping[str, Rows]) -> Rewrites:
    pairs: list[tuple[str, str]] = []
    left_out: dict[str, str] = {}
    aligned: dict[str, Any] = {}
    for split, rows in clean.items():
        file = _file(place, split)
        if file is None:
            left_out[split] = "no such file"
            continue
        table = read_table(file)
        texts = _texts(table, file)
        try:
            found = _matched(texts, rows, split=split, table=table)
        except DataError as error:
            left_out[split] = error.what
        else:
            pairs += found.pairs
            aligned |= found.notes().get("aligned", {})
    if not pairs:
        raise _unmatched(place, left_out)
    notes = {"left_out": left_out} if left_out else {}
    return Rewrites(pairs, source=place.name, notes=notes | ({"aligned": aligned} if aligned else {}))


def _matched(rewrites: Sequence[str], rows: Rows, *, split: str, table: Table) -> _Found:
    """Return the rewrites of a table with their texts: all of a split, or those of all classes but one.

    Raises:
        DataError: where a row fits nowhere, or too many may belong to several texts.
    """
    why = _why(rewrites, split, rows)
    for texts in _choices(rows, least=len(rewrites)):
        found = align(texts, rewrites)
        if found.stray is None and len(found.vague) <= _VAGUE * len(rewrites):
            pairs = [
                (texts[place], rewrite) for place, rewrite in zip(found.places, rewrites, strict=True) if place >= 0
            ]
            return _Found(split, pairs, len(texts), len(rewrites))
        first = found.stray if found.stray is not None else found.vague[0]
        where = "fits nowhere" if found.stray is not None else "may belong to several texts"
        why = (
            f"{_why(rewrites, split, rows)}; the row at line {table.lines[first]} of {Path(table.origin).name} {where}"
        )
    raise DataError(why)


def _choices(rows: Rows, *, least: int) -> list[tuple[str, ...]]:
    """Return the possible texts of the rewrites, all classes but one first; all texts where even those are too few."""
    choices = [
        tuple(text for text, label in zip(rows.texts, rows.labels, strict=True) if label != target)
        for target in range(len(rows.label_names))
    ]
    fitting = sorted((one for one in dict.fromkeys([*choices, rows.texts]) if len(one) >= least), key=len)
    return fitting or [rows.texts]


def _file(place: Path, split: str) -> Path | None:
    named = [place / f"{name}{ending}" for name in _NAMES.get(split, (split,)) for ending in EXTENSIONS]
    return next((file for file in named if file.is_file()), None)


def _texts(table: Table, place: Path) -> list[str]:
    columns = table.columns
    name = next((name for name in columns if name.casefold() in TEXT_COLUMNS), None)
    if name is None:
        raise DataError(
            f"{place} has the columns {', '.join(columns)}", expected="a text column: " + ", ".join(TEXT_COLUMNS)
        )
    return _plain(columns[name])


def _plain(column: Sequence[object]) -> list[str]:
    """Return the texts of a column; a missing value is empty."""
    return ["" if value is None or value != value else str(value) for value in column]  # NaN alone is not itself


def _why(texts: Sequence[str], split: str, rows: Rows) -> str:
    others = sorted({len(rows) - count for count in rows.class_counts().values()})
    return f"{len(texts)} rows for {split}: {len(rows)}, without one class {' or '.join(map(str, others))}"


def _unmatched(place: Path, left_out: Mapping[str, str]) -> DataError:
    reasons = "; ".join(f"{split}: {why}" for split, why in left_out.items())
    return DataError(
        f"{place} fits no split of the data ({reasons})",
        expected="rewrites of the rows of a split, or of all its classes but one, in the order of the clean rows",
        remedy=f"name the data that the rewrites were made of with --data, or give a file with the columns text and "
        f"{REWRITE_COLUMNS[0]}",
    )
