"""Readers of comma- and tab-separated files, with the quoting of the program that wrote them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from untrigger.core.errors import DataError
from untrigger.core.escaping import unescape_spreadsheet_cells
from untrigger.data.headings import COUNTED, header_names, row_without_header
from untrigger.data.raw import Table, check_same_length, decoded, from_cells, lines_of, malformed

_CELL = re.compile(r'(?:"((?:[^"]|"")*+)"|([^"\t\r\n]*+))(\t|\r\n|\n|\r|\Z)')
_QUOTED = re.compile(r'(?:\A|[\t\r\n])"')


def read_csv(file: Path, limit: int) -> Table:  # noqa: ARG001
    """Return the table in a comma-separated file, without the apostrophes that untrigger writes before cells."""
    records = _csv_rows(file)
    names = header_names(records[0][1]) if records else []
    rows = records if names is None else records[1:]
    for line, cells in rows:
        check_same_length(file, line=line, cells=cells, header=records[0][1])
    lines = [line for line, _ in rows]
    if names is None:
        counted = [row_without_header(cells, at=f"{file}, line {line}") for line, cells in rows]
        return from_cells(file, header=list(COUNTED), rows=counted, lines=lines)
    table = from_cells(file, header=names, rows=[cells for _, cells in rows], lines=lines)
    return Table(table.origin, unescape_spreadsheet_cells(table.columns), lines)


def _csv_rows(file: Path) -> list[tuple[int, list[str]]]:
    """Return the cells of each row that is not blank, with the line that it starts in."""
    text = decoded(file)
    only = "\n" if "\n" in text else ""  # a lone CR among lines that end in LF is not a line end
    reader = csv.reader(io.StringIO(text, newline=only), strict=True)
    rows: list[tuple[int, list[str]]] = []
    start = 1
    try:
        for cells in reader:
            if cells:
                rows.append((start, cells))
            start = reader.line_num + 1
    except csv.Error as error:
        raise malformed(file, line=start, reason=_reason(error)) from error
    return rows


def _reason(error: csv.Error) -> str:
    """Return what is wrong with a CSV, with the usual cause."""
    if "field larger" in str(error):
        return f"a cell of more than {csv.field_size_limit():,} characters, or a quote that is not closed"
    if "new-line character" in str(error):
        return "a carriage return within a cell that is not quoted"
    return f"{error} (a quote that is not closed or not doubled?)"


def read_tsv(file: Path, limit: int) -> Table:  # noqa: ARG001
    """Return the table in a tab-separated file.

    Blanks around a cell are not part of it. Public releases do not quote: a quote is a letter, and with two columns a line is
    split at its last tab, so that a text may hold tabs. pandas, ``csv`` and spreadsheets quote a cell that holds a tab, a quote
    or a line end, blanks included, and double its quotes. A file is read in the second way if all of it fits, and its quotes
    are those of a writer (``_is_quoted``).

    Raises:
        DataError: for a line with too few or too many cells, and if both ways fit and give different rows.
    """
    text = decoded(file)
    records = _quoted_records(text) if _QUOTED.search(text) else None
    if records is None or not _is_quoted(records):
        try:
            return _plain_tsv(file, text)
        except DataError:
            if records is None:
                raise
    elif (spanning := next((one for one in records if one.spans_lines), None)) is not None and _is_plain_tsv(
        file, text
    ):
        raise DataError(
            f"{file}, line {spanning.line}: a quote that may open a cell of several lines, or be a letter of its text",
            expected="a file that can be read in one way only",
            remedy="write it with every cell quoted, or as CSV or JSON lines",
        )
    header, rows = records[0], records[1:]
    return from_cells(file, header=header.cells, rows=[one.cells for one in rows], lines=[one.line for one in rows])


def _plain_tsv(file: Path, text: str) -> Table:
    """Return the table if a quote is a letter like others."""
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    for number, line in enumerate(lines_of(text), start=1):
        if not line.strip(" \r") or (not header and not line.strip()):
            continue
        cells = line.rstrip("\r").rsplit("\t", 1) if len(header) == 2 else line.rstrip("\r").split("\t")
        if not header:
            header = cells
            continue
        check_same_length(file, line=number, cells=cells, header=header)
        rows.append([cell.strip() for cell in cells])
        lines.append(number)
    return from_cells(file, header=header, rows=rows, lines=lines)


def _is_plain_tsv(file: Path, text: str) -> bool:
    try:
        return len(_plain_tsv(file, text)) > 0
    except DataError:
        return False


@dataclass(frozen=True)
class _Record:
    """A row of a tab-separated file with quotes: its first line, its cells, and which of them were quoted."""

    line: int
    cells: list[str]
    quoted: list[bool]

    @property
    def spans_lines(self) -> bool:
        """Return whether a quoted cell holds a line end."""
        return any(
            quoted and ("\n" in cell or "\r" in cell) for cell, quoted in zip(self.cells, self.quoted, strict=True)
        )


def _quoted_records(text: str) -> list[_Record] | None:
    """Return the rows of ``text`` with quoted cells; None if a quote is in another place or the rows differ in length."""
    records: list[_Record] = []
    place, line = 0, 1
    cells: list[str] = []
    quoted: list[bool] = []
    start = line
    while place < len(text) or cells:
        match = _CELL.match(text, place)
        if match is None:
            return None
        cells.append(match[1].replace('""', '"') if match[1] is not None else match[2].strip())
        quoted.append(match[1] is not None)
        line += len(_LINE_END.findall(match[0]))
        place = match.end()
        if match[3] != "\t":
            if len(cells) > 1 or cells[0].strip():
                records.append(_Record(start, cells, quoted))
            cells, quoted, start = [], [], line
            if not match[3]:
                break
    return records if records and all(len(one.cells) == len(records[0].cells) for one in records) else None


_LINE_END = re.compile(r"\r\n|\n|\r")


def _is_quoted(records: Sequence[_Record]) -> bool:
    """Return whether the quotes are those of a writer that quotes cells, not letters of the texts.

    They are if the header or a whole column is quoted; or if all quoted cells need it, for a tab, a quote or a line end
    (pandas, ``csv``), or for a comma too (spreadsheets), and all cells that need it are quoted.
    """
    rows = records[1:]
    if any(records[0].quoted) or (
        rows and any(all(column) for column in zip(*(one.quoted for one in rows), strict=True))
    ):
        return True
    cells = [pair for one in rows for pair in zip(one.cells, one.quoted, strict=True)]

    def consistent(needs: Callable[[str], object]) -> bool:
        return any(quoted for _, quoted in cells) and all(bool(needs(cell)) == quoted for cell, quoted in cells)

    return consistent(re.compile(r'[\t\r\n"]').search) or consistent(re.compile(r'[\t\r\n",]').search)
