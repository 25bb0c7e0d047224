"""The one tree of errors: what a user can mend is told apart from what is our fault."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UntriggerError(Exception):
    """Root of every error that untrigger raises on purpose."""

    exit_code = 70


class UserError(UntriggerError):
    """Something the user can mend: input, options, environment. Printed as one message without a traceback."""

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        expected: str | None = None,
        nearest: str | None = None,
        remedy: str | None = None,
    ) -> None:
        """Keep the four parts of a good message: what was given, expected, the nearest valid value, the remedy."""
        self.what, self.expected, self.nearest, self.remedy = what, expected, nearest, remedy
        super().__init__(self.message())

    def message(self) -> str:
        """The parts on lines of their own, empty ones left out."""
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
    """One or several options with values that cannot be used."""


class OutputError(UserError):
    """A place that cannot be written to, or that holds something already."""


class DivergedError(UserError):
    """A training run whose loss stopped being a number."""


class NeedsError(UserError):
    """A method that was not granted what it declares to need."""


class InterruptedRunError(UntriggerError):
    """Stopped by the user; nothing half-written is left and the run can be started again."""

    exit_code = 130


class ContractError(UntriggerError):
    """A method that broke its family's promise (a fault of the method's author, never of the user)."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like ``word``, or None where nothing is close."""
    names = list(known)
    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.5)
    return folded[close[0]] if close else None


def one_of(word: str, known: Iterable[str], *, kind: str) -> str:
    """``word`` itself where it is known.

    Raises:
        OptionError: with the list of known words and the nearest one.
    """
    names = sorted(known)
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
    "nearest",
    "one_of",
]
