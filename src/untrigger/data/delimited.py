"""Comma- and tab-separated files, each cell as the program that wrote the file meant it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from untrigger.core.errors import DataError
from untrigger.core.escaping import unescape_spreadsheet_cells
from untrigger.data.headings import COUNTED, heading, headless
from untrigger.data.raw import Table, decoded, from_cells, lines_of, malformed, same_length

_CELL = re.compile(r'(?:"((?:[^"]|"")*+)"|([^"\t\r\n]*+))(\t|\r\n|\n|\r|\Z)')
_QUOTED = re.compile(r'(?:\A|[\t\r\n])"')


def read_csv(file: Path, limit: int) -> Table:  # noqa: ARG001
    """The table in a comma-separated file; apostrophes that untrigger set before cells are taken off again."""
    found = _csv_rows(file)
    names = heading(found[0][1]) if found else []
    rows = found if names is None else found[1:]
    for line, cells in rows:
        same_length(file, line=line, cells=cells, header=found[0][1])
    lines = [line for line, _ in rows]
    if names is None:
        counted = [headless(cells, at=f"{file}, line {line}") for line, cells in rows]
        return from_cells(file, header=list(COUNTED), rows=counted, lines=lines)
    table = from_cells(file, header=names, rows=[cells for _, cells in rows], lines=lines)
    return Table(table.origin, unescape_spreadsheet_cells(table.columns), lines)


def _csv_rows(file: Path) -> list[tuple[int, list[str]]]:
    """The cells of each row that is not blank, with the line that it starts in."""
    text = decoded(file)
    only = "\n" if "\n" in text else ""  # a lone CR among lines that end in LF is no line end
    reader = csv.reader(io.StringIO(text, newline=only), strict=True)
    rows: list[tuple[int, list[str]]] = []
    start = 1
    try:
        for cells in reader:
            if cells:
                rows.append((start, cells))
            start = reader.line_num + 1
    except csv.Error as error:
        raise malformed(file, line=start, why=_why(error)) from error
    return rows


def _why(error: csv.Error) -> str:
    """What is wrong with a CSV, with what it comes from most often."""
    if "field larger" in str(error):
        return f"a cell of more than {csv.field_size_limit():,} characters, or a quote that is not closed"
    if "new-line character" in str(error):
        return "a carriage return within a cell that is not quoted"
    return f"{error} (a quote that is not closed or not doubled?)"


def read_tsv(file: Path, limit: int) -> Table:  # noqa: ARG001
    """The table in a tab-separated file.

    Blanks around a cell are no part of it. Public releases know no quoting: a quote is a letter, and with two columns a line is
    split at its last tab, so that a text may hold tabs. pandas, ``csv`` and spreadsheets quote a cell that holds a tab, a quote
    or a line end, blanks included, and double its quotes. A file is read in the second way where all of it fits, and its quotes
    are there for a reason (``_quotes_mean``).

    Raises:
        DataError: for a line with too few or too many cells, and where both ways fit and give other rows.
    """
    text = decoded(file)
    records = _quoted_records(text) if _QUOTED.search(text) else None
    if records is None or not _quotes_mean(records):
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
    """The table where a quote is a letter like others."""
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
        same_length(file, line=number, cells=cells, header=header)
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
    """A row of a tab-separated file with quotes: where it starts, its cells, and which of them were quoted."""

    line: int
    cells: list[str]
    quoted: list[bool]

    @property
    def spans_lines(self) -> bool:
        """Whether a quoted cell holds a line end."""
        return any(
            quoted and ("\n" in cell or "\r" in cell) for cell, quoted in zip(self.cells, self.quoted, strict=True)
        )


def _quoted_records(text: str) -> list[_Record] | None:
    """The rows of ``text`` with quoted cells; None where a quote stands elsewhere or the rows have not as many cells each."""
    records: list[_Record] = []
    place, line = 0, 1
    cells: list[str] = []
    quoted: list[bool] = []
    start = line
    while place < len(text) or cells:
        found = _CELL.match(text, place)
        if found is None:
            return None
        cells.append(found[1].replace('""', '"') if found[1] is not None else found[2].strip())
        quoted.append(found[1] is not None)
        line += len(_LINE_END.findall(found[0]))
        place = found.end()
        if found[3] != "\t":
            if len(cells) > 1 or cells[0].strip():
                records.append(_Record(start, cells, quoted))
            cells, quoted, start = [], [], line
            if not found[3]:
                break
    return records if records and all(len(one.cells) == len(records[0].cells) for one in records) else None


_LINE_END = re.compile(r"\r\n|\n|\r")


def _quotes_mean(records: Sequence[_Record]) -> bool:
    """Whether the quotes are those of a writer that quotes cells, not letters of the texts.

    That is so where the header or a whole column is quoted; or where all quoted cells need it, for a tab, a quote or a line end
    (pandas, ``csv``), or for a comma too (spreadsheets), and all cells that need it are quoted.
    """
    rows = records[1:]
    if any(records[0].quoted) or (
        rows and any(all(column) for column in zip(*(one.quoted for one in rows), strict=True))
    ):
        return True
    every = [pair for one in rows for pair in zip(one.cells, one.quoted, strict=True)]

    def consistent(needs: Callable[[str], object]) -> bool:
        return any(quoted for _, quoted in every) and all(bool(needs(cell)) == quoted for cell, quoted in every)

    return consistent(re.compile(r'[\t\r\n"]').search) or consistent(re.compile(r'[\t\r\n",]').search)
