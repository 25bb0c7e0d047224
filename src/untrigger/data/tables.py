"""Files of labelled rows read into columns, with errors that name the line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from untrigger.core.errors import DataError, nearest
from untrigger.data.delimited import read_csv, read_tsv
from untrigger.data.parquet import read_parquet
from untrigger.data.raw import DEFAULT_LIMIT, MIB, Table, decoded, lines_of, malformed

__all__ = ["DEFAULT_LIMIT", "EXTENSIONS", "MIB", "Table", "missing_file", "read_lines", "read_table"]


def read_table(file: Path, *, limit: int = DEFAULT_LIMIT) -> Table:
    """The columns of a ``.csv``, ``.tsv``, ``.json``, ``.jsonl`` or ``.parquet`` file.

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
    """The columns ``text`` and ``label`` of two text files that agree line by line.

    Raises:
        DataError: as ``read_table``, and for files of unequal length.
    """
    texts, numbers = (_decoded_lines(one, limit=limit) for one in (file, labels))
    if len(texts) != len(numbers):
        raise DataError(
            f"{file} has {len(texts)} lines, {labels.name} {len(numbers)}", remedy="give files that belong together"
        )
    return Table(str(file), {"text": list(texts), "label": list(numbers)}, list(range(1, len(texts) + 1)), {})


def _decoded_lines(file: Path, *, limit: int) -> list[str]:
    _check_file(file, limit=limit)
    lines = [line.strip() for line in lines_of(decoded(file))]
    return lines[:-1] if not lines[-1] else lines


def _check_file(file: Path, *, limit: int) -> None:
    if not file.is_file():
        raise missing_file(file)
    size = file.stat().st_size
    if size == 0:
        raise DataError(f"{file} is empty", expected="a header and at least one row")
    if size > limit:
        raise DataError(
            f"{file} has {size / MIB:,.1f} MiB",
            expected=f"at most {limit / MIB:,.1f} MiB",
            remedy="give a smaller file or raise the limit (size_limit)",
        )


def missing_file(file: Path) -> DataError:
    """The error for a file that is not there, with the nearest name in its folder."""
    folder = file.parent
    if not folder.is_dir():
        return DataError(f"there is no folder {folder}", remedy="check the path")
    close = nearest(file.name, (one.name for one in folder.iterdir()))
    return DataError(
        f"there is no file {file}", nearest=str(folder / close) if close else None, remedy="check the path"
    )


def _read_jsonl(file: Path, limit: int) -> Table:
    found: dict[int, object] = {}
    for number, line in enumerate(lines_of(decoded(file)), start=1):
        if line.strip():
            try:
                found[number] = json.loads(line, object_pairs_hook=_object)
            except (ValueError, RecursionError) as error:
                raise malformed(file, line=number, why=f"no JSON: {error}") from error
    return _from_objects(file, found, counted="line")


def _read_json(file: Path, limit: int) -> Table:
    """A list of objects, or, as many releases call them too, one object a line."""
    text = decoded(file)
    if not text.lstrip().startswith("["):
        return _read_jsonl(file, limit)
    try:
        found = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is no JSON: {error}", remedy="mend it, or write one object a line") from error
    return _from_objects(file, dict(enumerate(found, start=1)), counted="item")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object whose keys stand in it once each."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands twice in an object")
    return made


def _from_objects(file: Path, found: dict[int, object], *, counted: str) -> Table:
    objects: list[dict[str, object]] = []
    for number, value in found.items():
        if not isinstance(value, dict):
            why = f"a JSON object is expected, this is {type(value).__name__}"
            raise DataError(f"{file}, {counted} {number}: {why}", remedy=f"mend that {counted}")
        objects.append(value)
    names = list(dict.fromkeys(name for one in objects for name in one))
    return Table(str(file), {name: [one.get(name) for one in objects] for name in names}, list(found), {})


_READERS: dict[str, Callable[[Path, int], Table]] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": read_parquet,
}
EXTENSIONS = tuple(_READERS)
