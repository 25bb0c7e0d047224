"""Rows and tables as files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from untrigger.core.escaping import escape_spreadsheet_cells
from untrigger.core.files import replaced_file
from untrigger.core.rows import Rows

_SPECIAL = re.compile(r'[,"\r\n]')


def write_rows(rows: Rows, path: str | os.PathLike[str], *, escape: bool = True) -> Path:
    """Write a CSV with the header ``id,text,label``, label as its name, and return its path; ``escape`` as in ``write_table``.

    Raises:
        OutputError: if the file cannot be written.
    """
    labels = [rows.label_names[label] for label in rows.labels]
    return write_table({"id": rows.ids, "text": rows.texts, "label": labels}, path, escape=escape)


def write_table(columns: Mapping[str, Sequence[Any]], path: str | os.PathLike[str], *, escape: bool = True) -> Path:
    """Write a table, whole or not at all, and return its path: Parquet where its name ends so, else CSV.

    With ``escape`` no text of a CSV is a formula to a spreadsheet: see ``escape_spreadsheet_cells``; ``load_data`` reads the
    texts back unchanged. True and false are written in small letters.

    Raises:
        OutputError: if the file cannot be written.
    """
    with replaced_file(path) as stream:
        if Path(path).suffix.casefold() == ".parquet":
            _write_parquet(columns, stream)
        else:
            _write_csv(escape_spreadsheet_cells(columns) if escape else columns, stream)
    return Path(path)


def _write_csv(columns: Mapping[str, Sequence[Any]], stream: BinaryIO) -> None:
    lines = chain([tuple(columns)], zip(*columns.values(), strict=True))
    stream.writelines((",".join(map(_cell, line)) + "\n").encode("utf-8", "surrogatepass") for line in lines)


def _write_parquet(columns: Mapping[str, Sequence[Any]], stream: BinaryIO) -> None:
    """Write Parquet; a lone surrogate, which it cannot hold, becomes a question mark."""
    import pyarrow as pa
    import pyarrow.parquet

    plain = {
        name: [v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for v in values]
        for name, values in columns.items()
    }
    pa.parquet.write_table(pa.table(plain), stream)


def _cell(value: Any) -> str:
    """Return a CSV cell; unlike Python's csv before 3.13 it quotes a lone carriage return too."""
    text = str(value).casefold() if isinstance(value, bool) else str(value)
    return '"' + text.replace('"', '""') + '"' if _SPECIAL.search(text) else text
