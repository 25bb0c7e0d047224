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
from typing import Any

from untrigger.cli.console import escaped, output_console
from untrigger.cli.context import INTERRUPTED, closed_pipe_ignored
from untrigger.cli.renamed import OPTIONS
from untrigger.core.errors import InterruptedRunError, UserError

DEBUG = "UNTRIGGER_DEBUG"
_BREAK, _INDENTED = "\n", "\n    "
USER, INTERRUPT, FAULT = 2, 130, 70
_MEMORY = "give fewer rows (--clean-rows), shorter texts (--max-length) or smaller batches (--set batch_size=8)"


@dataclass(frozen=True)
class Problem:
    """The message of an error in its parts, the exit code, and for JSON the details of an error that has some."""

    kind: str
    what: str
    exit_code: int
    expected: str | None = None
    nearest: str | None = None
    remedy: str | None = None
    details: dict[str, Any] | None = None


def problem_of(error: BaseException) -> Problem:
    """Return the message and exit code of ``error``; an unforeseen error is an internal one."""
    kind = type(error).__name__
    if isinstance(error, UserError):
        details = getattr(error, "details", None)
        return Problem(kind, error.what, error.exit_code, error.expected, error.nearest, error.remedy, details)
    if isinstance(error, KeyboardInterrupt | InterruptedRunError) or kind == "Abort":
        return Problem("InterruptedRunError", str(error) or INTERRUPTED, INTERRUPT)
    if isinstance(error, MemoryError) or _out_of_memory(error):
        return Problem(kind, "this machine has too little memory", USER, remedy=_MEMORY)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" ({error.filename})" if error.filename else ""
        return Problem(kind, f"the disk is full{where}", USER, remedy="free some space, or write to another disk")
    if hasattr(error, "format_message"):
        return _usage_problem(error)
    return Problem(kind, f"internal error in untrigger: {kind}: {error}", FAULT)


def report_error(error: BaseException, *, as_json: bool, words: Sequence[str]) -> int:
    """Print ``error`` on standard error, with ``as_json`` also on standard output, and return its exit code."""
    problem = problem_of(error)
    _print_problem(problem)
    if problem.exit_code == FAULT:
        _write_fault_log(error, words=words)
    if os.environ.get(DEBUG, "0") not in ("", "0"):
        sys.stderr.write("".join(traceback.format_exception(error)))
    if as_json:
        facts = {name: part for name, part in asdict(problem).items() if name != "details" or part is not None}
        with closed_pipe_ignored():
            sys.stdout.write(json.dumps({"error": facts}, indent=2) + "\n")
            sys.stdout.flush()
    return problem.exit_code


def _print_problem(problem: Problem) -> None:
    console = output_console(stderr=True)
    if problem.exit_code == INTERRUPT:
        console.print(escaped(problem.what), style="yellow")
    else:
        console.print(f"[bold red]error:[/] {escaped(problem.what)}")
    near = f"{problem.nearest}?" if problem.nearest else None
    for name, text in (("expected", problem.expected), ("did you mean", near), ("remedy", problem.remedy)):
        if text:
            console.print(f"  [bold]{name}:[/] {escaped(text).replace(_BREAK, _INDENTED)}")


def _usage_problem(error: BaseException) -> Problem:
    """Return the problem of one of Typer's own errors: what is wrong with the words of the command line."""
    context = getattr(error, "ctx", None)
    usage = f"see {context.command_path} --help" if context is not None else "see untrigger --help"
    if (name := str(getattr(error, "option_name", ""))) in OPTIONS:
        return Problem(
            "UsageError",
            f"the option {name} is called {OPTIONS[name]} now",
            USER,
            remedy=f"write {OPTIONS[name]}; {usage}",
        )
    message = str(getattr(error, "format_message")())  # noqa: B009  # Typer moved the class between versions
    return Problem("UsageError", message, USER, remedy=usage)


def _out_of_memory(error: BaseException) -> bool:
    """Return whether torch ran out of memory; known by the error's name, since torch may not be loaded."""
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _write_fault_log(error: BaseException, *, words: Sequence[str]) -> None:
    """Write the traceback to a new file and print its path."""
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
    console = output_console(stderr=True)
    console.print(f"  [bold]log:[/] {escaped(log.name)}")
    console.print(
        "  [bold]report it:[/] open an issue of the project with this log (read it first: it has your command line)"
    )
