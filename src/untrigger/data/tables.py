"""Files of labelled rows read into columns, with errors that name the line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from untrigger.data.headings import COUNTED, heading, headless
from untrigger.errors import DataError, nearest
from untrigger.vocabulary.inert import original_cells

MIB = 1 << 20
DEFAULT_LIMIT = 512 * MIB


@dataclass(frozen=True)
class Table:
    """Columns of one length by name; ``lines[i]`` is where row ``i`` stands in its source (first line is 1)."""

    origin: str
    columns: dict[str, list[object]]
    lines: list[int]
    class_names: dict[str, tuple[str, ...]]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.lines)


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
        raise DataError(f"{file} has {len(texts)} lines, {labels.name} {len(numbers)}", remedy="give files that belong together")
    return Table(str(file), {"text": list(texts), "label": list(numbers)}, list(range(1, len(texts) + 1)), {})


def _decoded_lines(file: Path, *, limit: int) -> list[str]:
    _check_file(file, limit=limit)
    lines = [line.strip() for line in _decoded(file).split("\n")]
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


def _decoded(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {error.start}",
            expected="UTF-8",
            remedy=f"convert it, for example: iconv -f latin1 -t utf-8 {file} > converted{file.suffix}",
        ) from error


def _malformed(file: Path, *, line: int, why: str) -> DataError:
    return DataError(f"{file}, line {line}: {why}", remedy="mend that line")


def _from_cells(file: Path, *, header: list[str], rows: list[list[str]], lines: list[int]) -> Table:
    names = [name.strip() for name in header]
    if len(set(names)) != len(names):
        raise _malformed(file, line=1, why=f"a column name stands twice in the header {names}")
    columns: dict[str, list[object]] = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    return Table(str(file), original_cells(columns), lines, {})


def _read_csv(file: Path, limit: int) -> Table:
    found = _csv_rows(file)
    names = heading(found[0][1]) if found else []
    rows = found if names is None else found[1:]
    for line, cells in rows:
        if len(cells) != len(found[0][1]):
            raise _malformed(file, line=line, why=f"{len(cells)} cells, the header has {len(found[0][1])}")
    lines = [line for line, _ in rows]
    if names is None:
        told = [headless(cells, at=f"{file}, line {line}") for line, cells in rows]
        return _from_cells(file, header=list(COUNTED), rows=told, lines=lines)
    return _from_cells(file, header=names, rows=[cells for _, cells in rows], lines=lines)


def _csv_rows(file: Path) -> list[tuple[int, list[str]]]:
    """The cells of each row that is not blank, with the line that it starts in."""
    reader = csv.reader(io.StringIO(_decoded(file), newline=""), strict=True)
    rows: list[tuple[int, list[str]]] = []
    start = 1
    try:
        for cells in reader:
            if cells:
                rows.append((start, cells))
            start = reader.line_num + 1
    except csv.Error as error:
        raise _malformed(file, line=start, why=_why(error)) from error
    return rows


def _why(error: csv.Error) -> str:
    """What is wrong with a CSV, with what it comes from most often."""
    if "field larger" in str(error):
        return f"a cell of more than {csv.field_size_limit():,} characters, or a quote that is not closed"
    return f"{error} (a quote that is not closed or not doubled?)"


def _read_tsv(file: Path, limit: int) -> Table:
    """No quoting. With two columns a line is split at its last tab, so that a text may hold tabs."""
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    for number, line in enumerate(_decoded(file).split("\n"), start=1):
        if not line.strip():
            continue
        cells = line.rstrip("\r").rsplit("\t", 1) if len(header) == 2 else line.rstrip("\r").split("\t")
        if not header:
            header = cells
        elif len(cells) != len(header):
            raise _malformed(file, line=number, why=f"{len(cells)} cells, the header has {len(header)}")
        else:
            rows.append([cell.strip() for cell in cells])
            lines.append(number)
    return _from_cells(file, header=header, rows=rows, lines=lines)


def _read_jsonl(file: Path, limit: int) -> Table:
    found: dict[int, object] = {}
    for number, line in enumerate(_decoded(file).split("\n"), start=1):
        if line.strip():
            try:
                found[number] = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise _malformed(file, line=number, why=f"no JSON: {error}") from error
    return _from_objects(file, found, counted="line")


def _read_json(file: Path, limit: int) -> Table:
    """A list of objects, or, as many releases call them too, one object a line."""
    text = _decoded(file)
    if not text.lstrip().startswith("["):
        return _read_jsonl(file, limit)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is no JSON: {error}", remedy="mend it, or write one object a line") from error
    return _from_objects(file, dict(enumerate(found, start=1)), counted="item")


def _from_objects(file: Path, found: dict[int, object], *, counted: str) -> Table:
    objects: list[dict[str, object]] = []
    for number, value in found.items():
        if not isinstance(value, dict):
            why = f"a JSON object is expected, this is {type(value).__name__}"
            raise DataError(f"{file}, {counted} {number}: {why}", remedy=f"mend that {counted}")
        objects.append(value)
    names = list(dict.fromkeys(name for one in objects for name in one))
    return Table(str(file), {name: [one.get(name) for one in objects] for name in names}, list(found), {})


def _read_parquet(file: Path, limit: int) -> Table:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    except ImportError as error:
        raise DataError(f"{file} needs pyarrow to be read", remedy="pip install pyarrow, or give a CSV") from error
    try:
        source = pq.ParquetFile(file)
        groups = range(source.metadata.num_row_groups)
        unpacked = sum(source.metadata.row_group(i).total_byte_size for i in groups)
        if unpacked > limit:
            raise DataError(
                f"{file} unpacks to {unpacked / MIB:,.1f} MiB", expected=f"at most {limit / MIB:,.1f} MiB",
                remedy="give a smaller file or raise the limit (size_limit)",
            )  # fmt: skip
        columns: dict[str, list[object]] = source.read().to_pydict()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} is no readable parquet file: {error}", remedy="write it again") from error
    count = len(next(iter(columns.values()), []))
    return Table(str(file), columns, list(range(1, count + 1)), {})


_READERS: dict[str, Callable[[Path, int], Table]] = {
    ".csv": _read_csv, ".tsv": _read_tsv, ".jsonl": _read_jsonl, ".json": _read_json, ".parquet": _read_parquet,
}  # fmt: skip
EXTENSIONS = tuple(_READERS)
