"""Open an untrusted file only where it is a regular file inside its folder, and parse JSON of bounded size."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from untrigger.core.errors import ModelError, UnsafeFileError
from untrigger.models.safety import limits


def read_json(path: Path, *, origin: Path | None = None) -> dict[str, Any]:
    """Return the JSON object in ``path``, of bounded size.

    Args:
        path: the file.
        origin: what messages call it: the user's file where ``path`` is the private copy of it.

    Raises:
        UnsafeFileError: if the file is larger than ``limits.MAX_JSON``, or no regular file.
        ModelError: if it is not a JSON object.
    """
    with regular_file(path) as (size, stream):
        if size > limits.MAX_JSON:
            raise UnsafeFileError(
                f"{str(origin or path)!r} has {size:,} bytes", expected=f"at most {limits.MAX_JSON:,}"
            )
        content = stream.read(limits.MAX_JSON)
    return json_object(content, name=str(origin or path))


def json_object(content: bytes, *, name: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ModelError: if it is none, or a key occurs twice (programs differ in which of the two they take).
    """
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_without_repeated_keys)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ModelError(f"{name!r} is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{name!r} holds a {type(value).__name__}", expected="a JSON object")
    return value


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"the key {next(name for name in names if names.count(name) > 1)!r} occurs twice in one object"
        )
    return value


@contextmanager
def regular_file(path: Path) -> Iterator[tuple[int, BinaryIO]]:
    """Open a regular file for reading and give its size and stream.

    Raises:
        UnsafeFileError: for a pipe, a device, a folder, or a link that leaves the file's folder.
        ModelError: if it cannot be opened.
    """
    _refuse_outside(path)
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise ModelError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        raise UnsafeFileError(
            f"{str(path)!r} is a pipe, a device or a folder", expected="a regular file", remedy="remove it"
        )
    with os.fdopen(handle, "rb") as stream:
        yield found.st_size, stream


def file_size(path: Path) -> int:
    """Return the size of a regular file in bytes.

    Raises:
        UnsafeFileError: as ``regular_file``.
        ModelError: if it cannot be opened.
    """
    with regular_file(path) as (size, _):
        return size


def _refuse_outside(path: Path) -> None:
    """Raise UnsafeFileError for a link that leaves the model's folder, other than links to blobs in the hub's cache."""
    if not path.is_symlink():
        return
    folder, target = path.parent.resolve(), Path(os.path.realpath(path))
    inside = target.parent == folder
    hub = folder.parent.name == "snapshots" and target.parent == folder.parent.parent / "blobs"
    if not inside and not hub:
        raise UnsafeFileError(
            f"{path.name!r} in {str(path.parent)!r} is a link to {str(target)!r}, outside the model's folder",
            expected="the file itself",
            remedy="copy the file there if you trust it",
        )
