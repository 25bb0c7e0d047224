"""Shared parts of the file readers: the table, decoding, and errors that name the line."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from untrigger.core.errors import DataError

MIB = 1 << 20
DEFAULT_LIMIT = 512 * MIB
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Table:
    """Columns of one length by name.

    Attributes:
        origin: the file or hub set, for messages.
        columns: the cells of each column.
        lines: the line of each row in its source (the first line is 1).
        class_names: for label columns whose source declares them, the names of the classes in their order.
    """

    origin: str
    columns: dict[str, list[object]]
    lines: list[int]
    class_names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lines)


def decoded(file: Path) -> str:
    """Return the text of a file in UTF-8, or in the encoding of its byte order mark.

    Raises:
        DataError: for other encodings, and for NUL characters.
    """
    raw = file.read_bytes()
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is not {encoding.removesuffix('-sig').upper()}: byte 0x{raw[error.start]:02x} at offset {error.start}",
            expected="UTF-8",
            remedy=f"convert it, for example: iconv -f latin1 -t utf-8 {file} > converted{file.suffix}",
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(
            f"{file}, line {line}: a NUL character",
            expected="UTF-8 text",
            remedy="remove it; if the file is UTF-16 without a byte order mark, convert it: iconv -f utf-16 -t utf-8",
        )
    return text


def lines_of(text: str) -> list[str]:
    """Return the lines of a text whose lines end in LF or CRLF or, if there is neither, in CR."""
    return text.split("\n") if "\n" in text else text.split("\r")


def malformed(file: Path, *, line: int, reason: str) -> DataError:
    """Return the error for a line that cannot be read."""
    return DataError(f"{file}, line {line}: {reason}", remedy="correct that line")


def from_cells(file: Path, *, header: Sequence[str], rows: Sequence[Sequence[str]], lines: list[int]) -> Table:
    """Return the table with a header and rows of as many cells."""
    names = [name.strip() for name in header]
    check_unique_names(file, names)
    return Table(str(file), {name: [row[i] for row in rows] for i, name in enumerate(names)}, lines)


def check_unique_names(file: Path, names: Sequence[str]) -> None:
    """Raise DataError unless every column has its own name: which of two columns is meant is not known."""
    if len(set(names)) != len(names):
        raise malformed(file, line=1, reason=f"a column name occurs twice in the header {list(names)}")


def check_same_length(file: Path, *, line: int, cells: Sequence[object], header: Sequence[object]) -> None:
    """Raise DataError unless a row has as many cells as the header."""
    if len(cells) != len(header):
        raise malformed(file, line=line, reason=f"{len(cells)} cells, the header has {len(header)}")
