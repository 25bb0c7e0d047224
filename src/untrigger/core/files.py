"""Folders written whole or not at all, and never over something that is there."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from untrigger.core.errors import OutputError

SPACE = "free some space, or name a place that you can write to"


def refuse_existing(*paths: Path) -> None:
    """Nothing, where none of the paths exists and each could be made.

    Raises:
        OutputError: naming the first that is there or has no folder to lie in.
    """
    for path in paths:
        if path.exists() or path.is_symlink():
            raise OutputError(
                f"{str(path)!r} is there already",
                expected="a new folder or file",
                remedy="name another, or move the old one away",
            )
        above = next(parent for parent in path.absolute().parents if parent.exists())
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            raise OutputError(
                f"cannot write {str(path)!r}: {str(above)!r} is no folder that can be written to", remedy=SPACE
            )


def is_alive(process: int) -> bool:
    """Return whether a process of this machine runs; True where that cannot be known."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _working_prefix(path: Path) -> str:
    """How the names of working folders for ``path`` begin on this machine; the process's number follows."""
    machine = re.sub(r"[^A-Za-z0-9]+", "_", platform.node())[:40] or "here"
    return f".{path.name[:80]}-{machine}-"


def _remove_stale(path: Path) -> None:
    """Remove the working folders that processes of this machine left beside ``path`` when they were killed."""
    known = re.compile(re.escape(_working_prefix(path)) + r"(\d+)-[a-z0-9_]+\Z")
    for beside in list(path.parent.iterdir()):
        owner = known.match(beside.name)
        if owner and beside.is_dir() and not beside.is_symlink() and not is_alive(int(owner[1])):
            shutil.rmtree(beside, ignore_errors=True)


def working_folder(path: Path) -> Path:
    """Return a fresh hidden folder beside ``path``; those that killed processes left for the same ``path`` are removed.

    Raises:
        OSError: if the folder cannot be made.
    """
    _remove_stale(path)
    return Path(tempfile.mkdtemp(prefix=f"{_working_prefix(path)}{os.getpid()}-", dir=path.parent))


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside ``path`` to write into; it becomes ``path`` at the end, or is removed on any error.

    Its name holds this machine and this process, so that the next run for the same ``path`` removes what a killed one left.

    Raises:
        OutputError: if ``path`` exists or its parent cannot be written to.
    """
    refuse_existing(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        working = working_folder(path)
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


@contextmanager
def new_files(*paths: Path) -> Iterator[list[Path]]:
    """Places to write files that belong together; at the end they become ``paths``, one right after the other, or none does.

    A killed run leaves a hidden working folder, which the next run for the first of the paths removes.

    Raises:
        OutputError: if a path exists or its parent cannot be written to.
    """
    refuse_existing(*paths)
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        working = working_folder(paths[0])
        try:
            places = [working / path.name for path in paths]
            yield places
            refuse_existing(*paths)
            for place, path in zip(places, paths, strict=True):
                place.rename(path)
        finally:
            shutil.rmtree(working, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"cannot write {str(paths[0])!r}: {error.strerror or error}", remedy=SPACE) from error
