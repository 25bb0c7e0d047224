"""From an error to one message and one exit code."""

from __future__ import annotations

import errno
import json
import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from untrigger.cli.console import console, said
from untrigger.cli.context import INTERRUPTED, unread
from untrigger.core.errors import InterruptedRunError, UserError

DEBUG = "UNTRIGGER_DEBUG"
USER, INTERRUPT, FAULT = 2, 130, 70
_MEMORY = "give fewer rows (--clean-rows), shorter texts (--max-length) or smaller batches (--set batch_size=8)"


@dataclass(frozen=True)
class Problem:
    """What is told of an error."""

    kind: str
    what: str
    exit_code: int
    expected: str | None = None
    nearest: str | None = None
    remedy: str | None = None


def problem_of(error: BaseException) -> Problem:
    """What to tell of ``error``; whatever nobody foresaw is a fault of ours."""
    kind = type(error).__name__
    if isinstance(error, UserError):
        return Problem(kind, error.what, error.exit_code, error.expected, error.nearest, error.remedy)
    if isinstance(error, KeyboardInterrupt | InterruptedRunError) or kind == "Abort":
        return Problem("InterruptedRunError", str(error) or INTERRUPTED, INTERRUPT)
    if isinstance(error, MemoryError) or _out_of_memory(error):
        return Problem(kind, "the memory of this machine is not enough", USER, remedy=_MEMORY)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" ({error.filename})" if error.filename else ""
        return Problem(kind, f"the disk is full{where}", USER, remedy="free some space, or write to another disk")
    if hasattr(error, "format_message"):
        return _usage(error)
    return Problem(kind, f"a fault in untrigger, not in what you gave: {kind}: {error}", FAULT)


def tell(error: BaseException, *, as_json: bool, words: Sequence[str]) -> int:
    """The exit code of ``error``, after it was printed: for people on standard error, as JSON also on standard output."""
    problem = problem_of(error)
    err = console(stderr=True)
    if problem.exit_code == INTERRUPT:
        err.print(said(problem.what), style="yellow")
    else:
        err.print(f"[bold red]error:[/] {said(problem.what)}")
    near = f"{problem.nearest}?" if problem.nearest else None
    for name, text in (("expected", problem.expected), ("did you mean", near), ("remedy", problem.remedy)):
        if text:
            err.print(f"  [bold]{name}:[/] {said(text)}")
    if problem.exit_code == FAULT:
        _tell_log(error, words=words)
    if os.environ.get(DEBUG, "0") not in ("", "0"):
        sys.stderr.write("".join(traceback.format_exception(error)))
    if as_json:
        with unread():
            sys.stdout.write(json.dumps({"error": asdict(problem)}, indent=2) + "\n")
            sys.stdout.flush()
    return problem.exit_code


def _usage(error: BaseException) -> Problem:
    """Typer's own errors, which say what is wrong with the words of the command line."""
    context = getattr(error, "ctx", None)
    remedy = f"see {context.command_path} --help" if context is not None else "see untrigger --help"
    message = str(getattr(error, "format_message")())  # noqa: B009  # Typer moved the class between versions
    return Problem("UsageError", message, USER, remedy=remedy)


def _out_of_memory(error: BaseException) -> bool:
    """Whether torch ran out of memory; its errors are told by name, since torch may not be loaded."""
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _tell_log(error: BaseException, *, words: Sequence[str]) -> None:
    """Write the traceback to a file and say where it lies."""
    from untrigger import __version__

    trace = "".join(traceback.format_exception(error))
    head = f"untrigger {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="untrigger-fault-", suffix=".log", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as log:
            log.write(f"{head}command: untrigger {shlex.join(words)}\n\n{trace}")
    except OSError:
        sys.stderr.write(trace)
        return
    err = console(stderr=True)
    err.print(f"  [bold]log:[/] {said(log.name)}")
    err.print(
        "  [bold]report it:[/] open an issue of the project with this log (read it first: it holds your command line)"
    )
