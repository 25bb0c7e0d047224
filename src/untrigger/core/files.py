"""Files and folders written whole or not at all."""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from untrigger.core.errors import OutputError

SPACE = "free some space, or name a place that you can write to"


def check_new_paths(*paths: Path) -> None:
    """Raise OutputError unless every path is new and in a folder that can be written to or made."""
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
                f"cannot write {str(path)!r}: {str(above)!r} is not a folder that can be written to", remedy=SPACE
            )


def write_text(path: str | os.PathLike[str], *, text: str) -> Path:
    """Write a UTF-8 file, whole or not at all, and return its path; an old file is replaced.

    A lone surrogate becomes a question mark.

    Raises:
        OutputError: if the file cannot be written.
    """
    with replaced_file(path) as stream:
        stream.write(text.encode("utf-8", "replace"))
    return Path(path)


@contextmanager
def replaced_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a binary stream whose content becomes the file ``path`` at the end, or is removed on any error.

    An old file is replaced in one step; folders on the way are made.

    Raises:
        OutputError: if the file cannot be written.
    """
    target = Path(path)
    with _output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        working = _working_path(target)
        try:
            with working.open("xb") as stream:
                yield stream
            working.replace(target)
        finally:
            working.unlink(missing_ok=True)


@contextmanager
def new_files(*paths: Path) -> Iterator[list[Path]]:
    """Give places to write files that belong together; at the end all of them become ``paths``, or none does.

    Raises:
        OutputError: if a path exists or its parent cannot be written to.
    """
    check_new_paths(*paths)
    with _output_errors(paths[0]), ExitStack() as moved, ExitStack() as working:
        places = [working.enter_context(working_folder(path)) / path.name for path in paths]
        yield places
        check_new_paths(*paths)
        for place, path in zip(places, paths, strict=True):
            place.rename(path)
            moved.callback(path.unlink)
        moved.pop_all()


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside ``path`` to write into; at the end it becomes ``path``, or is removed on any error.

    Raises:
        OutputError: if ``path`` exists or its parent cannot be written to.
    """
    check_new_paths(path)
    with _output_errors(path), working_folder(path) as working:
        yield working
        check_new_paths(path)
        working.rename(path)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside ``path`` to write into; at the end it takes the place of ``path``, or is removed on any error.

    Raises:
        OSError: if it cannot be written.
    """
    with working_folder(path) as working:
        yield working
        if path.exists():
            shutil.rmtree(path)
        working.rename(path)


@contextmanager
def working_folder(path: Path) -> Iterator[Path]:
    """Give a fresh hidden folder beside ``path``, which is removed at the end unless it was moved.

    Its name holds this machine and this process, so that the next run for the same ``path`` removes what a killed one left.

    Raises:
        OSError: if the folder cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    working = _working_path(path)
    working.mkdir()
    try:
        yield working
    finally:
        shutil.rmtree(working, ignore_errors=True)


def is_alive(process: int) -> bool:
    """Return whether a process of this machine runs; True where that cannot be known."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


@contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into an OutputError that names ``path``."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {error.strerror or error}", remedy=SPACE) from error


def _working_path(path: Path) -> Path:
    """Return a new hidden name beside ``path``; what killed processes left there for the same ``path`` is removed."""
    _remove_stale(path)
    return path.parent / f"{_working_prefix(path)}{os.getpid()}-{secrets.token_hex(4)}"


def _working_prefix(path: Path) -> str:
    """Return how the names of working files for ``path`` begin on this machine; the process's number follows."""
    machine = re.sub(r"[^A-Za-z0-9]+", "_", platform.node())[:40] or "here"
    name = os.fsencode(path.name)[:80].decode("utf-8", "ignore")
    return f".{name}-{machine}-"


def _remove_stale(path: Path) -> None:
    """Remove the working files and folders that processes of this machine left beside ``path`` when they were killed."""
    known = re.compile(re.escape(_working_prefix(path)) + r"(\d+)-[a-z0-9_]+\Z")
    for beside in list(path.parent.iterdir()):
        owner = known.match(beside.name)
        if not owner or beside.is_symlink() or is_alive(int(owner[1])):
            continue
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            with suppress(OSError):
                beside.unlink()
