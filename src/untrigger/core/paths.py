"""Names that users and strangers' files give, as paths: what no system can look up is one message, not a fault."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from untrigger.core.errors import UserError

SHOWN = 60


def local_path(name: str | Path, *, what: str, error: type[UserError], remedy: str = "check the path") -> Path:
    """The path that a name stands for, ``~`` expanded, whether anything is there or not.

    Args:
        name: a word of the user, or of a file of a stranger.
        what: what it names, for the message.
        error: the kind of error to raise.
        remedy: what can be done about it.

    Raises:
        UserError: of that kind, for an empty name, a NUL character, a home that is not known, a name that is too long, and a
            folder on the way that may not be read.
    """
    text = str(name)
    if not text.strip():
        raise error(f"the name of {what} is empty", expected="a name or a path; . is the folder you are in")
    try:
        path = Path(text).expanduser()
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except (OSError, RuntimeError, ValueError) as failure:  # too long, no such home, NUL or half a character
        shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text):,} characters)"
        why = failure.strerror if isinstance(failure, OSError) else str(failure)
        raise error(f"{what} {shown!r} cannot be looked up: {why}", remedy=remedy) from failure
    return path
