"""How the end of a run is shown: measurements, verdict, what was written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from untrigger.cli.console import linked, said
from untrigger.cli.context import Desk
from untrigger.core.report import Report
from untrigger.reporting.words import interval_of, metric_name, subject_name, tone, value_of

_COLOURS = {"good": "green", "warn": "yellow", "bad": "red"}


def tell_report(desk: Desk, report: Report, *, written: Sequence[Path]) -> None:
    """The report as JSON, or its numbers, verdict, warnings and the paths of what was written."""
    shown: list[RenderableType] = [measurement_table(report)] if report.measurements else []
    desk.answer(json.loads(report.to_json()), *shown, *verdict_lines(report), *paths(written))


def verdict_lines(report: Report) -> list[RenderableType]:
    """The warnings and, last, the verdict in its colour."""
    colour = _COLOURS.get(tone(report.verdict.status), "default")
    warned = [f"[yellow]warning:[/] {said(text)}" for text in report.warnings]
    return [*warned, f"[bold {colour}]{said(report.verdict.status)}:[/] {said(report.verdict.sentence)}"]


def measurement_table(report: Report) -> Table:
    """One line a measurement; an empty sample is "not measured", never 0."""
    table = Table(title=said(report.title), title_justify="left")
    for name in ("subject", "measure"):
        table.add_column(name)
    for name in ("value", "95 % interval", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in report.measurements:
        table.add_row(
            said(subject_name(one.subject)), said(metric_name(one.metric)), value_of(one), interval_of(one), str(one.n)
        )
    return table


def paths(written: Sequence[Path]) -> list[RenderableType]:
    """The paths that are really there, each on its line."""
    return [Text.assemble(("wrote ", "dim"), linked(path)) for path in written if path.exists()]
