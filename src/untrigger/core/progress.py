"""Progress of long work, told to whoever listens; by default nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Tick = Callable[[int], None]


class Progress(Protocol):
    """Something that can show a task with a known number of steps."""

    def task(self, label: str, *, total: int) -> AbstractContextManager[Tick]:
        """A context that gives a function to call with the number of steps done."""


class Silent:
    """A listener that shows nothing."""

    @contextmanager
    def task(self, label: str, *, total: int) -> Iterator[Tick]:  # noqa: ARG002
        """A context whose ticks go nowhere."""
        yield lambda _steps: None


silent: Progress = Silent()
