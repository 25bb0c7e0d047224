"""Panics of libraries written in Rust: no ``Exception``, and printed before anybody can catch them."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from untrigger.core.errors import ModelError


def is_panic(error: BaseException) -> bool:
    """Return whether an error is a panic of a library written in Rust, which is no ``Exception``."""
    return type(error).__name__ == "PanicException"


@contextmanager
def panics_refused(where: str) -> Iterator[None]:
    """Inside, a panic becomes an error that names the model, and the lines that its library prints are dropped.

    Whatever else is printed on standard error meanwhile follows at the end.

    Raises:
        ModelError: for a panic.
    """
    with _held_back() as printed:
        try:
            yield
        except BaseException as error:
            if not is_panic(error):
                raise
            printed.clear()
            why = " ".join(str(error).split())[:300]
            raise ModelError(
                f"the tokenizer in {where!r} makes its library crash: {why}",
                expected="a tokenizer.json as save_pretrained writes it",
                remedy="do not use this model, or give it its base's tokenizer",
            ) from error


@contextmanager
def _held_back() -> Iterator[list[bool]]:
    """Inside, what is written to standard error waits; it follows at the end unless the list that is given is emptied."""
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
            if keep and (words := file.read()):
                os.write(2, words)
