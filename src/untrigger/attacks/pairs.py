"""Paired files: rewrites as public releases ship them, matched with the clean rows that they were made of.

===================  ====================================================================================================
two columns          a file with a text column and one of ``REWRITE_COLUMNS``
row by row           a folder whose train/dev/test have as many rows as the clean ones (StyleAttack), or a file that has as
                     many rows as a split of them
non-target rows      the same folder, but a split holds the rewrites of only those rows that are not of one class, in order
                     (HiddenKiller's dev and test; its train is row by row, most of it left as it was)
===================  ====================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from untrigger.attacks.rewrites import Rewrites
from untrigger.data.columns import TEXT_COLUMNS
from untrigger.data.tables import EXTENSIONS, read_table
from untrigger.errors import DataError
from untrigger.vocabulary.rows import Rows

REWRITE_COLUMNS = ("rewrite", "rewritten", "paraphrase", "triggered", "poisoned")
_NAMES = {"train": ("train",), "dev": ("dev", "valid", "validation"), "test": ("test",), "all": ("all", "train")}
_SAMPLE = 500
CLEARLY = 1.5  # public releases share three to five times as many words


def read_pairs(place: Path, *, clean: Mapping[str, Rows]) -> Rewrites:
    """The rewrites in a file or folder, matched with the splits of the clean data.

    A split that cannot be matched is left out and named under ``left_out`` in the truth file.

    Args:
        place: the paired file or folder.
        clean: all rows of the clean data by split, in the order of their files.

    Raises:
        DataError: if nothing can be read or matched, or the matched texts have nothing to do with each other.
    """
    if place.is_dir():
        return _folder(place, clean=clean)
    if not place.exists():
        raise DataError(f"there is no paired file or folder {str(place)!r}", remedy="check the path")
    columns = read_table(place).columns
    rewrites = next((name for name in columns if name.casefold() in REWRITE_COLUMNS), None)
    if rewrites is not None:
        return Rewrites(list(zip(_texts(columns, place), _plain(columns[rewrites]), strict=True)), source=place.name)
    texts = _texts(columns, place)
    split = next((name for name, rows in clean.items() if len(rows) == len(texts)), None)
    if split is None:
        raise _unmatched(place, {place.name: _why(texts, clean)})
    return Rewrites(_checked(place, clean[split].texts, texts), source=place.name)


def _folder(place: Path, *, clean: Mapping[str, Rows]) -> Rewrites:
    pairs: list[tuple[str, str]] = []
    left_out: dict[str, str] = {}
    for split, rows in clean.items():
        file = _file(place, split)
        if file is None:
            left_out[split] = "no such file"
            continue
        texts = _texts(read_table(file).columns, file)
        matched = _matched(rows, texts)
        if matched is None:
            left_out[split] = _why(texts, {split: rows})
        else:
            pairs += _checked(file, matched, texts)
    if not pairs:
        raise _unmatched(place, left_out)
    return Rewrites(pairs, source=place.name, notes={"left_out": left_out} if left_out else None)


def _matched(rows: Rows, texts: Sequence[str]) -> tuple[str, ...] | None:
    """The clean texts that ``texts`` are the rewrites of, in their order; None where their number fits nothing."""
    if len(texts) == len(rows):
        return rows.texts
    for target in range(len(rows.label_names)):
        others = [text for text, label in zip(rows.texts, rows.labels, strict=True) if label != target]
        if len(others) == len(texts):
            return tuple(others)
    return None


def _checked(place: Path, texts: Sequence[str], rewrites: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs, where a rewrite shares clearly more words with its own text than with the text after it."""
    step = max(1, len(texts) // _SAMPLE)
    numbers = range(0, len(texts), step)
    own = sum(_shared(texts[i], rewrites[i]) for i in numbers)
    other = sum(_shared(texts[(i + 1) % len(texts)], rewrites[i]) for i in numbers)
    if len(texts) > 1 and own <= CLEARLY * other:
        raise DataError(
            f"{place}: its rows have no more words in common with the clean rows at their places than with other rows",
            expected="rewrites in the order of the clean rows",
            remedy="name the data that the rewrites were made of with --data, or give a file with two columns, "
            "text and rewrite",
        )
    return list(zip(texts, rewrites, strict=True))


def _shared(left: str, right: str) -> float:
    a, b = set(left.casefold().split()), set(right.casefold().split())
    return len(a & b) / max(1, len(a | b))


def _file(place: Path, split: str) -> Path | None:
    named = [place / f"{name}{ending}" for name in _NAMES.get(split, (split,)) for ending in EXTENSIONS]
    return next((file for file in named if file.is_file()), None)


def _texts(columns: Mapping[str, list[object]], place: Path) -> list[str]:
    name = next((name for name in columns if name.casefold() in TEXT_COLUMNS), None)
    if name is None:
        raise DataError(f"{place} has the columns {', '.join(columns)}", expected="a text column: " + ", ".join(TEXT_COLUMNS))
    return _plain(columns[name])


def _plain(column: Sequence[object]) -> list[str]:
    """The texts of a column; what is not there is empty."""
    return ["" if value is None or value != value else str(value) for value in column]  # NaN alone is not itself


def _why(texts: Sequence[str], clean: Mapping[str, Rows]) -> str:
    told = []
    for split, rows in clean.items():
        others = sorted({len(rows) - count for count in rows.class_counts().values()})
        told.append(f"{split}: {len(rows)}, without one class {' or '.join(map(str, others))}")
    return f"{len(texts)} rows for {'; '.join(told)}"


def _unmatched(place: Path, left_out: Mapping[str, str]) -> DataError:
    told = "; ".join(f"{split}: {why}" for split, why in left_out.items())
    return DataError(
        f"{place} fits no split of the data ({told})",
        expected="as many rows as the clean split has, or as it has of all classes but one",
        remedy=f"name the data that the rewrites were made of with --data, or give a file with the columns text and "
        f"{REWRITE_COLUMNS[0]}",
    )
