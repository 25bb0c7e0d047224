"""Folders written whole or not at all, and never over something that is there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from untrigger.errors import OutputError

SPACE = "free some space, or name a place that you can write to"


def refuse_existing(*paths: Path) -> None:
    """Nothing, where none of the paths exists and each could be made.

    Raises:
        OutputError: naming the first that is there or has no folder to lie in.
    """
    for path in paths:
        if path.exists() or path.is_symlink():
            raise OutputError(
                f"{str(path)!r} is there already", expected="a new folder or file", remedy="name another, or move the old one away"
            )
        above = next(parent for parent in path.absolute().parents if parent.exists())
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            raise OutputError(f"cannot write {str(path)!r}: {str(above)!r} is no folder that can be written to", remedy=SPACE)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside ``path`` to write into; it becomes ``path`` at the end, or is removed on any error.

    Raises:
        OutputError: if ``path`` exists or its parent cannot be written to.
    """
    refuse_existing(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        working = Path(tempfile.mkdtemp(prefix=f".{path.name[:80]}-", dir=path.parent))
    except OSError as error:
        raise OutputError(f"cannot write beside {str(path)!r}: {error.strerror or error}", remedy=SPACE) from error
    try:
        yield working
        umask = os.umask(0)
        os.umask(umask)
        working.chmod(0o777 & ~umask)
        refuse_existing(path)
        working.rename(path)
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {error.strerror or error}", remedy=SPACE) from error
    finally:
        shutil.rmtree(working, ignore_errors=True)
