"""The end of a run on the console: measurements, verdict, written files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from untrigger.cli.console import escaped, path_link, plain_table
from untrigger.cli.context import CommandContext
from untrigger.core.report import Report
from untrigger.reporting.words import interval_of, metric_name, subject_name, tone, value_of

_COLOURS = {"good": "green", "warn": "yellow", "bad": "red"}


def print_report(context: CommandContext, report: Report, *, written: Sequence[Path]) -> None:
    """Print the report as JSON, or its numbers, warnings, verdict and the paths that were written."""
    table: list[RenderableType] = [measurement_table(report)] if report.measurements else []
    context.print_result(json.loads(report.to_json()), *table, *verdict_lines(report), *written_lines(written))


def verdict_lines(report: Report) -> list[RenderableType]:
    """Return the warnings and, last, the verdict in its colour."""
    colour = _COLOURS.get(tone(report.verdict.status), "default")
    warnings = [f"[yellow]warning:[/] {escaped(text)}" for text in report.warnings]
    return [*warnings, f"[bold {colour}]{escaped(report.verdict.status)}:[/] {escaped(report.verdict.sentence)}"]


def measurement_table(report: Report) -> Table:
    """Return one row a measurement; an empty sample is "not measured", never 0."""
    table = plain_table("subject", "measure", title=escaped(report.title))
    for name in ("value", "95 % interval", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in report.measurements:
        name, metric = escaped(subject_name(one.subject)), escaped(metric_name(one.metric))
        table.add_row(name, metric, value_of(one), interval_of(one), str(one.n))
    return table


def written_lines(written: Sequence[Path]) -> list[RenderableType]:
    """Return one line for each path that exists."""
    return [Text.assemble(("wrote ", "dim"), path_link(path)) for path in written if path.exists()]
