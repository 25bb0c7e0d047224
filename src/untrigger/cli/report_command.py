"""``untrigger report``: pages drawn from report.json files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from untrigger.cli.context import CommandContext
from untrigger.cli.option_groups import with_option_groups

EXAMPLE = "Example: untrigger report cleaned other/report.json --format html --out comparison.html"


class Format(StrEnum):
    """The format of a page."""

    html = "html"
    md = "md"
    latex = "latex"


@with_option_groups
def report(
    *,
    places: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="report.json files, or folders that hold one.")
    ],
    format: Annotated[  # noqa: A002
        Format | None, typer.Option("--format", help="By default as the file's suffix says; md on the console.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Page to write; without it, printed.")
    ] = None,
    context: CommandContext,
) -> int:
    """Draw one page from one or several reports; several are compared in a table."""
    with context.running(out=out):
        from untrigger.core.report import Report
        from untrigger.reporting import render, write_page

        reports = [Report.read(place / "report.json" if place.is_dir() else place) for place in places]
        chosen = format.value if format else None
        text = "" if out else render(reports, format=chosen or "md")
        if out is not None:
            write_page(reports, out, format=chosen)
    result: dict[str, object] = {"reports": [str(place) for place in places]}
    if out is None:
        from rich.text import Text

        context.print_result(result | {"format": chosen or "md", "text": text}, Text(text), bare=text)
    else:
        from untrigger.cli.results import written_lines

        written = {"format": chosen or out.suffix.lstrip("."), "out": str(out)}
        context.print_result(result | written, *written_lines([out]))
    return 0
