"""Rows to a CSV file."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from untrigger.errors import OutputError
from untrigger.vocabulary.rows import Rows

_SPECIAL = re.compile(r'[,"\r\n]')


def write_rows(rows: Rows, path: str | os.PathLike[str]) -> Path:
    """The file written: CSV with the header ``id,text,label``, label as its name; whole or not at all.

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
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogatepass", newline="") as stream:
            stream.write("id,text,label\n")
            stream.writelines(f"{_cell(r.id)},{_cell(r.text)},{_cell(rows.label_names[r.label])}\n" for r in rows)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error}", remedy="free some space or name another folder") from error
    finally:
        Path(name).unlink(missing_ok=True)
    return target


def _cell(text: str) -> str:
    """A CSV cell; unlike Python's csv before 3.13 it quotes a lone carriage return too."""
    return '"' + text.replace('"', '""') + '"' if _SPECIAL.search(text) else text


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
