"""The protocol by which long work reports its progress; by default nothing is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Tick = Callable[[int], None]


class Progress(Protocol):
    """An object that can show a task with a known number of steps."""

    def task(self, label: str, *, total: int) -> AbstractContextManager[Tick]:
        """Return a context whose value is called with each number of further steps that are done."""


class Silent:
    """A progress that shows nothing."""

    @contextmanager
    def task(self, label: str, *, total: int) -> Iterator[Tick]:  # noqa: ARG002
        """Yield a function that does nothing."""
        yield lambda _steps: None


silent: Progress = Silent()
