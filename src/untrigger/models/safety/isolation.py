"""Two guards around libraries that open untrusted files: a time limit in a process of its own, and panics as errors."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from untrigger.core.errors import ModelError


def run_with_time_limit(
    program: str, *args: str, stdin: bytes, seconds: float
) -> subprocess.CompletedProcess[bytes] | None:
    """Return the finished process of a Python program, None where it was stopped after ``seconds``.

    An untrusted regular expression that backtracks for hours cannot be stopped from within a process.

    Args:
        program: its source text, written by us.
        args: its arguments.
        stdin: its standard input.
        seconds: the time limit.
    """
    try:
        return subprocess.run(  # noqa: S603
            [sys.executable, "-I", "-c", program, *args],
            input=stdin,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None


def is_panic(error: BaseException) -> bool:
    """Return whether an error is a panic of a library written in Rust, which is a ``BaseException`` and no ``Exception``."""
    return type(error).__name__ == "PanicException"


@contextmanager
def panics_as_errors(name: str, *, hold_stderr: bool = True) -> Iterator[None]:
    """Turn a panic of the tokenizer library into an error that names the model.

    Args:
        name: the model's name in messages.
        hold_stderr: also drop the lines that the library prints at a panic, before anybody can catch it. Other output to standard
            error is held until the end. That redirects the whole process's standard error, so it is for short calls.

    Raises:
        ModelError: for a panic.
    """
    with _held_stderr() if hold_stderr else nullcontext([True]) as keep:
        try:
            yield
        except BaseException as error:
            if not is_panic(error):
                raise
            keep.clear()
            why = " ".join(str(error).split())[:300]
            raise ModelError(
                f"the tokenizer in {name!r} makes its library crash: {why}",
                expected="a tokenizer.json as save_pretrained writes it",
                remedy="do not use this model, or give it its base's tokenizer",
            ) from error


@contextmanager
def _held_stderr() -> Iterator[list[bool]]:
    """Hold what is written to standard error, and write it at the end unless the list that is given is emptied."""
    keep = [True]
    try:
        sys.stderr.flush()
        before = os.dup(2)
    except (OSError, AttributeError, ValueError):  # a process without standard error
        yield keep
        return
    with tempfile.TemporaryFile() as file:
        try:
            os.dup2(file.fileno(), 2)
            yield keep
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
            file.seek(0)
            if keep and (held := file.read()):
                os.write(2, held)
