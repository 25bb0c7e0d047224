"""Rows and tables to files."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from untrigger.core.errors import OutputError
from untrigger.core.escaping import inert_cells
from untrigger.core.rows import Rows

_SPECIAL = re.compile(r'[,"\r\n]')


def write_rows(rows: Rows, path: str | os.PathLike[str], *, inert: bool = True) -> Path:
    """The file written: CSV with the header ``id,text,label``, label as its name; whole or not at all.

    ``inert`` as in ``write_table``.

    Raises:
        OutputError: if the folder cannot be written to.
    """
    labels = [rows.label_names[label] for label in rows.labels]
    return write_table({"id": rows.ids, "text": rows.texts, "label": labels}, path, inert=inert)


def write_table(columns: Mapping[str, Sequence[Any]], path: str | os.PathLike[str], *, inert: bool = True) -> Path:
    """The file written, whole or not at all: Parquet where its name ends so, else CSV with true and false in small letters.

    With ``inert`` no text of a CSV is a formula to a spreadsheet: see ``inert_cells``. ``load_data`` reads the texts back as
    they were.

    Raises:
        OutputError: if the folder cannot be written to.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error}", remedy="name a folder that you can write to") from error
    try:
        with os.fdopen(handle, "wb") as stream:
            if target.suffix.casefold() == ".parquet":
                _parquet(columns, stream)
            else:
                _csv(inert_cells(columns) if inert else columns, stream)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error}", remedy="free some space or name another folder") from error
    finally:
        Path(name).unlink(missing_ok=True)
    return target


def _csv(columns: Mapping[str, Sequence[Any]], stream: BinaryIO) -> None:
    lines = chain([tuple(columns)], zip(*columns.values(), strict=True))
    stream.writelines((",".join(map(_cell, line)) + "\n").encode("utf-8", "surrogatepass") for line in lines)


def _parquet(columns: Mapping[str, Sequence[Any]], stream: BinaryIO) -> None:
    """A lone surrogate, which Parquet cannot hold, becomes a question mark."""
    import pyarrow as pa
    import pyarrow.parquet

    plain = {
        name: [v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for v in values]
        for name, values in columns.items()
    }
    pa.parquet.write_table(pa.table(plain), stream)


def _cell(value: Any) -> str:
    """A CSV cell; unlike Python's csv before 3.13 it quotes a lone carriage return too."""
    text = str(value).casefold() if isinstance(value, bool) else str(value)
    return '"' + text.replace('"', '""') + '"' if _SPECIAL.search(text) else text


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
