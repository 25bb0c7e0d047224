"""Progress on standard error: bars on a terminal, one plain line a stage anywhere else."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from untrigger.cli.console import escaped, output_console
from untrigger.core.progress import Tick

REPEAT_AFTER_S = 30.0
"""Seconds after which a stage that returns is printed again, so that rounds do not flood the output."""
_MB = 10**6

logger = logging.getLogger(__name__)


class ProgressBars:
    """A ``Progress`` for people. Use it as a context; the bars are gone when it ends."""

    def __init__(self, *, quiet: bool = False, target: Console | None = None, terminal: bool | None = None) -> None:
        """Choose between bars, lines and nothing."""
        self.console = target or output_console(stderr=True)
        self._bars = (sys.stderr.isatty() if terminal is None else terminal) and not quiet
        self._lines = not self._bars and not quiet
        self._printed: dict[str, float] = {}
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
        """Start the display."""
        self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bars."""
        self._rich.stop()

    @contextmanager
    def task(self, label: str, *, total: int) -> Iterator[Tick]:
        """Show a bar for as long as the context is open; tasks may be nested."""
        self._print_line(label)
        start = time.monotonic()
        number = self._rich.add_task(label, total=total or None)
        try:
            yield lambda steps: self._rich.update(number, advance=steps)
        finally:
            self._rich.remove_task(number)
            logger.debug("%s: %.1f s", label, time.monotonic() - start)

    @contextmanager
    def bytes(self) -> Iterator[DownloadBars]:
        """Yield a listener for downloads, to be called with ``(done bytes, total bytes, text)``."""
        with ExitStack() as stack:
            yield DownloadBars(self, stack)

    def _print_line(self, label: str) -> None:
        now = time.monotonic()
        if self._lines and now - self._printed.get(label, -REPEAT_AFTER_S) >= REPEAT_AFTER_S:
            self.console.print(f"{escaped(label)} …", style="dim", soft_wrap=True)
            self._printed[label] = now


class DownloadBars:
    """The progress of downloads as one task a file."""

    def __init__(self, bars: ProgressBars, stack: ExitStack) -> None:
        """Show nothing before the first call."""
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
