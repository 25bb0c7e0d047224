"""``untrigger report``: pages drawn from report.json files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from untrigger.cli.context import Desk, seated

EXAMPLE = "Example: untrigger report cleaned other/report.json --format html --out comparison.html"


class Format(StrEnum):
    """What a page is written as."""

    html = "html"
    md = "md"
    latex = "latex"


@seated
def report(
    desk: Desk,
    places: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="report.json files, or folders that hold one.")
    ],
    format: Annotated[  # noqa: A002
        Format | None, typer.Option("--format", help="By default the ending of the file says which; md on the screen.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Page to write; without it, printed.")
    ] = None,
) -> int:
    """Draw one page from one or several reports; several are compared in a table."""
    with desk.working():
        from untrigger.core.report import Report
        from untrigger.reporting import render, write_page

        reports = [Report.read(place / "report.json" if place.is_dir() else place) for place in places]
        chosen = format.value if format else None
        text = "" if out else render(reports, format=chosen or "md")
        if out is not None:
            write_page(reports, out, format=chosen)
    told: dict[str, object] = {"reports": [str(place) for place in places], "format": chosen}
    if out is None:
        from rich.text import Text

        desk.answer(told | {"format": chosen or "md", "text": text}, Text(text), bare=text)
    else:
        from untrigger.cli.results import paths

        desk.answer(told | {"format": chosen or out.suffix.lstrip("."), "out": str(out)}, *paths([out]))
    return 0
