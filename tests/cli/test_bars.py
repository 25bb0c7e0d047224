"""Progress: bars on a terminal, one plain line a stage elsewhere, nothing when quiet."""

from __future__ import annotations

import io

from rich.console import Console

from untrigger.cli.progress_bars import ProgressBars


def shown(*, terminal: bool, quiet: bool = False) -> str:
    out = io.StringIO()
    target = Console(file=out, force_terminal=terminal, width=100, highlight=False)
    with ProgressBars(quiet=quiet, target=target, terminal=terminal) as bars:
        for _ in range(3):
            with bars.task("searching [x]", total=4) as tick:
                with bars.task("trying", total=0) as inner:
                    inner(1)
                tick(3)
                bars._rich.refresh()
    return out.getvalue()


def test_a_log_gets_one_line_a_stage() -> None:
    assert shown(terminal=False).splitlines() == ["searching [x] …", "trying …"]


def test_a_terminal_gets_bars() -> None:
    result = shown(terminal=True)
    assert "searching [x]" in result
    assert "3/4" in result


def test_quiet_shows_nothing() -> None:
    assert shown(terminal=True, quiet=True) == ""
    assert shown(terminal=False, quiet=True) == ""
