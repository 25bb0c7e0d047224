"""Where the package's log goes: standard error through Rich, a file with times, and a file beside the output."""

from __future__ import annotations

import io
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
from untrigger.core.files import write_text

_PACKAGE = "untrigger"
_LINE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
IN_FOLDER, BESIDE_FILE = "log.txt", ".log"
"""The log's name in an output folder, and its suffix beside an output file."""

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
    """A formatter that spells out control characters, since records may name an untrusted file."""

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
def log_beside(out: Path | None, *, level: LogLevel) -> Iterator[None]:
    """Keep the package's log, from ``info`` on, and write it beside ``out`` at the end; nothing after an error.

    Args:
        out: the file or folder that the command writes; None for a command that writes none.
        level: ``debug`` for more than ``info``.
    """
    if out is None:
        yield
        return
    package, kept = logging.getLogger(_PACKAGE), io.StringIO()
    handler, before = logging.StreamHandler(kept), package.level
    handler.setFormatter(_VisibleFormatter(_LINE))
    handler.setLevel(min(level.number, logging.INFO))
    package.addHandler(handler)
    package.setLevel(min(before, handler.level))
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(before)
    if out.exists():
        try:
            write_text(log_path(out), text=kept.getvalue())
        except OutputError as error:  # the result is written: it counts more than its log
            logger.warning("no log beside the output: %s", error.what)


def log_path(out: Path) -> Path:
    """Return the path of the log of an output file, or in an output folder."""
    return out / IN_FOLDER if out.is_dir() else out.with_name(out.name + BESIDE_FILE)


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
    handler.setFormatter(_VisibleFormatter(_LINE))
    handler.setLevel(level)
    return handler
