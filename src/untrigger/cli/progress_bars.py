"""Progress on standard error: bars on a terminal, one plain line a stage anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from untrigger.cli.console import console, said
from untrigger.core.progress import Tick

AGAIN_S = 30.0
"""A stage that comes back is named again after so many seconds, so that rounds do not flood a log."""
_MB = 10**6


class Bars:
    """A ``Progress`` for people. Use it as a context; the bars are gone when it ends."""

    def __init__(self, *, quiet: bool = False, target: Console | None = None, terminal: bool | None = None) -> None:
        """Choose between bars, lines and nothing."""
        self.console = target or console(stderr=True)
        self._bars = (sys.stderr.isatty() if terminal is None else terminal) and not quiet
        self._lines = not self._bars and not quiet
        self._told: dict[str, float] = {}
        self._rich = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            redirect_stdout=False,
            disable=not self._bars,
        )

    def __enter__(self) -> Self:
        """Start to show."""
        self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bars away."""
        self._rich.stop()

    @contextmanager
    def task(self, label: str, *, total: int) -> Iterator[Tick]:
        """A bar for as long as the context is open; tasks may stand inside each other."""
        self._line(label)
        number = self._rich.add_task(label, total=total or None)
        try:
            yield lambda steps: self._rich.update(number, advance=steps)
        finally:
            self._rich.remove_task(number)

    @contextmanager
    def bytes(self) -> Iterator[Download]:
        """A listener for downloads, which tell ``(done bytes, total bytes, text)``."""
        with ExitStack() as stack:
            yield Download(self, stack)

    def _line(self, label: str) -> None:
        now = time.monotonic()
        if self._lines and now - self._told.get(label, -AGAIN_S) >= AGAIN_S:
            self.console.print(f"{said(label)} …", style="dim", soft_wrap=True)
            self._told[label] = now


class Download:
    """Turns what a download tells into one task a file."""

    def __init__(self, bars: Bars, stack: ExitStack) -> None:
        """Nothing is shown before the first call."""
        self._bars, self._stack, self._text, self._done = bars, stack, "", 0
        self._tick: Tick = lambda _steps: None

    def __call__(self, done: int, total: int, text: str) -> None:
        """Show ``done`` of ``total`` bytes, in megabytes."""
        if text != self._text:
            self._stack.close()
            self._tick = self._stack.enter_context(self._bars.task(f"{text} (MB)", total=total // _MB))
            self._text, self._done = text, 0
        self._tick(done // _MB - self._done)
        self._done = done // _MB
