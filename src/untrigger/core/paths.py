"""Paths from names that a user or a file gives, with one error for those that no system can look up."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from untrigger.core.errors import UserError

LONGEST = 60
"""Characters of a name that a message quotes."""


def local_path(name: str | Path, *, what: str, error: type[UserError], remedy: str = "check the path") -> Path:
    """Return the path of that name, ``~`` expanded, whether it exists or not.

    Args:
        name: what a user or a file gave.
        what: what the name is of, for the message.
        error: the kind of error to raise.
        remedy: what the user can do.

    Raises:
        UserError: of the kind ``error``, for a name that is empty, too long or has a NUL character, for an unknown home, and for a
            folder on the way that may not be read.
    """
    text = str(name)
    if not text.strip():
        raise error(f"the name of {what} is empty", expected="a name or a path; . is the current folder")
    try:
        path = Path(text).expanduser()
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except (OSError, RuntimeError, ValueError) as failure:  # too long, no such home, NUL or half a character
        quoted = text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"
        reason = failure.strerror if isinstance(failure, OSError) else str(failure)
        raise error(f"{what} {quoted!r} cannot be looked up: {reason}", remedy=remedy) from failure
    return path
