"""Readers of files with labelled rows; their errors name the line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from untrigger.core.errors import DataError, nearest
from untrigger.data.delimited import read_csv, read_tsv
from untrigger.data.parquet import read_parquet
from untrigger.data.raw import DEFAULT_LIMIT, MIB, Table, decoded, lines_of, malformed

__all__ = ["DEFAULT_LIMIT", "EXTENSIONS", "MIB", "Table", "missing_file", "read_lines", "read_table", "text_lines"]


def read_table(file: Path, *, limit: int = DEFAULT_LIMIT) -> Table:
    """Return the columns of a ``.csv``, ``.tsv``, ``.json``, ``.jsonl`` or ``.parquet`` file.

    Args:
        file: the file.
        limit: bytes that it may have.

    Raises:
        DataError: missing, too large, unknown extension, not UTF-8, malformed (with its line) or without rows.
    """
    reader = _READERS.get(file.suffix.casefold())
    if reader is None:
        raise DataError(
            f"{file} has an extension that is not read",
            expected="one of " + ", ".join(_READERS),
            nearest=nearest(file.suffix, _READERS),
            remedy="convert the file, for example to CSV with the columns text and label",
        )
    _check_file(file, limit=limit)
    table = reader(file, limit)
    if not table.lines:
        raise DataError(f"{file} has no rows", expected="a header and at least one row")
    return table


def read_lines(file: Path, *, labels: Path, limit: int = DEFAULT_LIMIT) -> Table:
    """Return the columns ``text`` and ``label`` of two text files that agree line by line.

    Raises:
        DataError: as ``read_table``, and for files of unequal length.
    """
    texts, numbers = (text_lines(one, limit=limit) for one in (file, labels))
    if len(texts) != len(numbers):
        raise DataError(
            f"{file} has {len(texts)} lines, {labels.name} {len(numbers)}", remedy="give files that belong together"
        )
    return Table(str(file), {"text": list(texts), "label": list(numbers)}, list(range(1, len(texts) + 1)), {})


def text_lines(file: Path, *, limit: int = DEFAULT_LIMIT) -> list[str]:
    """Return the lines of a text file without blanks around them.

    Raises:
        DataError: missing, empty, too large or not UTF-8.
    """
    _check_file(file, limit=limit, holds="at least one line")
    lines = [line.strip() for line in lines_of(decoded(file))]
    return lines[:-1] if not lines[-1] else lines


def _check_file(file: Path, *, limit: int, holds: str = "a header and at least one row") -> None:
    if not file.is_file():
        raise missing_file(file)
    size = file.stat().st_size
    if size == 0:
        raise DataError(f"{file} is empty", expected=holds)
    if size > limit:
        raise DataError(
            f"{file} has {size / MIB:,.1f} MiB",
            expected=f"at most {limit / MIB:,.1f} MiB",
            remedy="give a smaller file or raise the limit (size_limit)",
        )


def missing_file(file: Path) -> DataError:
    """Return the error for a missing file, with the nearest name in its folder."""
    folder = file.parent
    if not folder.is_dir():
        return DataError(f"there is no folder {folder}", remedy="check the path")
    similar = nearest(file.name, (one.name for one in folder.iterdir()))
    return DataError(
        f"there is no file {file}", nearest=str(folder / similar) if similar else None, remedy="check the path"
    )


def _read_jsonl(file: Path, limit: int) -> Table:
    values: dict[int, object] = {}
    for number, line in enumerate(lines_of(decoded(file)), start=1):
        if line.strip():
            try:
                values[number] = json.loads(line, object_pairs_hook=_object)
            except (ValueError, RecursionError) as error:
                raise malformed(file, line=number, reason=f"no JSON: {error}") from error
    return _from_objects(file, values, unit="line")


def _read_json(file: Path, limit: int) -> Table:
    """Return the table in a list of objects, or in one object a line, which many releases call JSON too."""
    text = decoded(file)
    if not text.lstrip().startswith("["):
        return _read_jsonl(file, limit)
    try:
        values = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not JSON: {error}", remedy="correct it, or write one object a line") from error
    return _from_objects(file, dict(enumerate(values, start=1)), unit="item")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object; raise ValueError if a key occurs twice in it."""
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} occurs twice in an object")
    return result


def _from_objects(file: Path, values: dict[int, object], *, unit: str) -> Table:
    objects: list[dict[str, object]] = []
    for number, value in values.items():
        if not isinstance(value, dict):
            reason = f"a JSON object is expected, this is {type(value).__name__}"
            raise DataError(f"{file}, {unit} {number}: {reason}", remedy=f"correct that {unit}")
        objects.append(value)
    names = list(dict.fromkeys(name for one in objects for name in one))
    return Table(str(file), {name: [one.get(name) for one in objects] for name in names}, list(values), {})


_READERS: dict[str, Callable[[Path, int], Table]] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": read_parquet,
}
EXTENSIONS = tuple(_READERS)
