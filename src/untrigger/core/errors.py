"""All errors of untrigger: those that the user can fix, and those that are faults of the program."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UntriggerError(Exception):
    """Root of every error that untrigger raises on purpose."""

    exit_code = 70


class UserError(UntriggerError):
    """A problem that the user can fix: input, options, environment. Printed as one message without a traceback."""

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        expected: str | None = None,
        nearest: str | None = None,
        remedy: str | None = None,
    ) -> None:
        """Set the four parts of the message: what was given, what was expected, the nearest valid value, the remedy."""
        self.what, self.expected, self.nearest, self.remedy = what, expected, nearest, remedy
        super().__init__(self.message())

    def message(self) -> str:
        """Return the parts, one a line, without the empty ones."""
        parts = [self.what]
        if self.expected:
            parts.append(f"expected: {self.expected}")
        if self.nearest:
            parts.append(f"did you mean: {self.nearest}?")
        if self.remedy:
            parts.append(f"remedy: {self.remedy}")
        return "\n".join(parts)


class DataError(UserError):
    """Rows that cannot be used as given."""


class ModelError(UserError):
    """A checkpoint or adapter that cannot be used as given."""


class UnsafeFileError(ModelError):
    """A file that could run code when opened, or is larger than the stated bound."""


class AssetError(UserError):
    """An embedded asset that could not be fetched, verified or built."""


class OptionError(UserError):
    """Options with values that cannot be used."""


class OutputError(UserError):
    """A path that cannot be written to, or that already exists."""


class DivergedError(UserError):
    """A training run whose loss became nan or infinite."""


class NeedsError(UserError):
    """A method that was not given what it declares to need."""


class InterruptedRunError(UntriggerError):
    """A run that the user stopped; nothing half-written is left and it can be started again."""

    exit_code = 130


class ContractError(UntriggerError):
    """A method that violated the contract of its family: a fault of its author, never of the user."""


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice most similar to ``word``, or None where none is similar."""
    names = list(choices)
    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.5)
    return folded[close[0]] if close else None


def check_choice(word: str, choices: Iterable[str], *, kind: str) -> str:
    """Return ``word``; raise OptionError unless it is one of ``choices``.

    Args:
        word: what the user gave.
        choices: the valid words.
        kind: what the word names, for the message, such as ``preset``.

    Raises:
        OptionError: with all choices and the nearest one.
    """
    names = sorted(choices)
    if word in names:
        return word
    raise OptionError(f"unknown {kind} {word!r}", expected="one of " + ", ".join(names), nearest=nearest(word, names))


__all__ = [
    "AssetError",
    "ContractError",
    "DataError",
    "DivergedError",
    "InterruptedRunError",
    "ModelError",
    "NeedsError",
    "OptionError",
    "OutputError",
    "UnsafeFileError",
    "UntriggerError",
    "UserError",
    "check_choice",
    "nearest",
]
