"""Bounded decoding as a guard: no token is more than ``bound`` times as likely as the reference finds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from untrigger.defences.guards.guard import Guard
from untrigger.models.bounded_generation import Choice, bounded_choice


@dataclass(frozen=True)
class Bounded(Guard):
    """The most likely token under ``min(p_suspect, bound · p_reference)`` (after arXiv 2302.10870).

    Attributes:
        bound: how much likelier a token may be than the reference finds it, 1 or more; as published for ``cleangen``.
    """

    name: ClassVar[str] = "bounded"
    bound: float = 20.0

    def __post_init__(self) -> None:
        """Raise OptionError for a bound below 1."""
        self.choice()

    def choice(self) -> Choice:
        """Return the rule of bounded decoding."""
        return bounded_choice(self.bound)
