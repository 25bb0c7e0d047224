"""Regular expressions of strangers tried in a process of their own: one that backtracks for hours cannot be stopped from within."""

from __future__ import annotations

import subprocess
import sys


def ended_in_time(program: str, *words: str, given: bytes, seconds: float) -> subprocess.CompletedProcess[bytes] | None:
    """Return how a Python program of ours ended, None where it had not within ``seconds`` and was stopped.

    Args:
        program: its source text.
        words: its arguments.
        given: its standard input.
        seconds: the time that it has.
    """
    try:
        return subprocess.run(  # noqa: S603
            [sys.executable, "-I", "-c", program, *words],
            input=given,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
