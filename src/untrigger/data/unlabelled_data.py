"""Texts without labels: one a line in a text file, the text column of a table, or any other data with its labels ignored."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from untrigger.core.errors import DataError, nearest
from untrigger.core.rows import text_key
from untrigger.data.columns import texts_of
from untrigger.data.data_source import DataSource, as_source
from untrigger.data.layouts import holds_splits
from untrigger.data.load import choose_split, read_embedded, read_tables
from untrigger.data.locate import Location, locate
from untrigger.data.tables import EXTENSIONS, MIB, Table, text_lines

logger = logging.getLogger(__name__)

TEXT_EXTENSIONS = (".txt", ".log")
"""Files with one text a line."""
MAX_CHARACTERS = 100_000
"""Longest text that is read; a line of megabytes in a log is no text."""


@dataclass(frozen=True)
class Texts:
    """Different texts that are not empty, and how many others there were.

    Attributes:
        texts: each once, in the order of the data.
        read: lines or rows that were read.
        empty: of these, without text.
        repeated: of these, with a text that was there before but for case, white space and punctuation.
        overlong: of these, of more than ``MAX_CHARACTERS``.
    """

    texts: tuple[str, ...]
    read: int
    empty: int
    repeated: int
    overlong: int


def load_texts(source: str | os.PathLike[str] | DataSource, *, offline: bool = False) -> Texts:
    """Return the texts of one split of a data source; labels are not read.

    Args:
        source: as for ``load_data``, or a ``.txt`` or ``.log`` file with one text a line, or a folder of such files. A text
            column that is named but not there is guessed: the name may be that of other data of the same command.
        offline: use only what is on this machine.

    Raises:
        DataError: one message for the first thing that is wrong, with its remedy; also where no text is there.
        AssetError: an embedded set that could not be fetched.
    """
    source = as_source(source)
    found = _distinct(_cells(source, offline=offline))
    if not found.texts:
        raise DataError(
            f"{source} holds no text: {found.read} rows, {found.empty} of them empty, {found.overlong} too long",
            expected=f"texts of at most {MAX_CHARACTERS:,} characters",
            remedy="check the file and the text column (--text-column)",
        )
    logger.info("read %d texts of %s, %d different ones", found.read, source, len(found.texts))
    return found


def _distinct(cells: Iterable[str]) -> Texts:
    first: dict[str, str] = {}
    read = empty = overlong = 0
    for cell in cells:
        read += 1
        text = cell.strip()
        if not text:
            empty += 1
        elif len(text) > MAX_CHARACTERS:
            overlong += 1
        else:
            first.setdefault(text_key(text), text)
    return Texts(tuple(first.values()), read, empty, read - empty - overlong - len(first), overlong)


def _cells(source: DataSource, *, offline: bool) -> Sequence[str]:
    """Return the texts of one split as they are in the data, empty and repeated ones too."""
    location = locate(source.name, offline=offline)
    if location.kind == "embedded":
        splits = read_embedded(location, offline=offline)
        return splits[choose_split(source, splits)].texts
    if (lines := _lines(location, source)) is not None:
        return lines
    tables = read_tables(location, source=source, offline=offline, labelled=False)
    table = tables[choose_split(source, tables)]
    known = location.dataset.hub_text_column if location.kind == "hub" and location.dataset else None
    return _texts(table, named=source.text_column, known=known)


def _texts(table: Table, *, named: str | None, known: str | None) -> list[str]:
    column = next((name for name in (named, known) if name in table.columns), None)
    return texts_of(table, column)[1]


def _is_text_file(file: Path) -> bool:
    """Return whether this is a text file that is not empty, as new log files are."""
    return file.suffix.casefold() in TEXT_EXTENSIONS and file.is_file() and file.stat().st_size > 0


def _lines(location: Location, source: DataSource) -> list[str] | None:
    """Return the lines of a text file, or of all text files of a folder without splits; None for other data.

    Raises:
        DataError: for a file whose extension is not read.
    """
    place = Path(location.place)
    if location.kind == "folder" and location.dataset is None and not holds_splits(place):
        files = [file for file in sorted(place.iterdir()) if _is_text_file(file)]
        size = sum(file.stat().st_size for file in files)
        if size > source.size_limit:
            raise DataError(
                f"the text files in {place} have {size / MIB:,.1f} MiB",
                expected=f"at most {source.size_limit / MIB:,.1f} MiB",
                remedy="give fewer files, or one smaller file",
            )
        return [line for file in files for line in text_lines(file, limit=source.size_limit)] if files else None
    if location.kind != "file":
        return None
    suffix, extensions = place.suffix.casefold(), (*TEXT_EXTENSIONS, *EXTENSIONS)
    if suffix in TEXT_EXTENSIONS:
        return text_lines(place, limit=source.size_limit)
    if suffix not in EXTENSIONS:
        raise DataError(
            f"{place} has an extension that is not read",
            expected="one of " + ", ".join(extensions),
            nearest=nearest(place.suffix, extensions),
            remedy="rename it to .txt if it holds one text a line",
        )
    return None
