"""Where the package's log goes: standard error through Rich, and a file with times."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

from untrigger.cli.console import visible_lines
from untrigger.core.errors import OutputError

_PACKAGE = "untrigger"

logger = logging.getLogger(__name__)


class LogLevel(StrEnum):
    """The least severe log records that are shown."""

    debug = "debug"
    info = "info"
    warning = "warning"

    @property
    def number(self) -> int:
        """The level as ``logging`` has it."""
        return logging.getLevelNamesMapping()[self.value.upper()]


class _VisibleFormatter(logging.Formatter):
    """A formatter that spells out control characters, since records may name a stranger's file."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text that no terminal acts on."""
        return visible_lines(super().format(record))


@contextmanager
def log_output(console: Console, *, level: LogLevel, file: Path | None, quiet: bool) -> Iterator[None]:
    """Send the package's log to ``console`` and, from ``info`` on, to ``file``; loggers of libraries stay as they are.

    Raises:
        OutputError: for a file that cannot be written.
    """
    on_console = RichHandler(console=console, show_path=False, markup=False)
    on_console.setFormatter(_VisibleFormatter("%(name)s: %(message)s"))
    on_console.setLevel(logging.ERROR if quiet else level.number)
    handlers: list[logging.Handler] = [on_console]
    if file is not None:
        handlers.append(_file_handler(file, level=min(level.number, logging.INFO)))
    package = logging.getLogger(_PACKAGE)
    before = package.level
    with ExitStack() as stack:
        for handler in handlers:
            package.addHandler(handler)
            stack.callback(handler.close)
            stack.callback(package.removeHandler, handler)
        stack.callback(package.setLevel, before)
        package.setLevel(min(handler.level for handler in handlers))
        yield


@contextmanager
def logged_end() -> Iterator[None]:
    """Log how long a command ran, and the error that ended it."""
    start = time.monotonic()
    logger.info("untrigger begins")
    try:
        yield
    except BaseException as error:
        logger.info("ended after %.1f s by %s: %s", time.monotonic() - start, type(error).__name__, error)
        raise
    logger.info("ended after %.1f s", time.monotonic() - start)


def _file_handler(file: Path, *, level: int) -> logging.Handler:
    try:
        handler = logging.FileHandler(file, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise OutputError(
            f"cannot write the log file {file}: {error.strerror}", remedy="name another file with --log-file"
        ) from error
    handler.setFormatter(_VisibleFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    handler.setLevel(level)
    return handler
