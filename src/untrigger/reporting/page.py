"""One or several reports on one page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from untrigger.core.errors import DataError, OptionError, check_choice
from untrigger.core.files import write_text
from untrigger.core.report import Report

FORMATS = {"html": ".html", "latex": ".tex", "md": ".md"}


def render(report: Report | Sequence[Report], *, format: str = "html") -> str:  # noqa: A002
    """Return the page as text: one report in full, or several with a table that compares them.

    Args:
        report: one report or several.
        format: ``html`` (one self-contained file), ``md`` or ``latex``.

    Raises:
        OptionError: if the format is unknown.
        DataError: if there is no report.
    """
    chosen = check_choice(format, FORMATS, kind="format")
    reports = [report] if isinstance(report, Report) else list(report)
    if not reports:
        raise DataError("there is no report to draw", expected="at least one report.json")
    if chosen == "html":
        from untrigger.reporting.html import to_html

        return to_html(reports)
    if chosen == "md":
        from untrigger.reporting.markdown import to_markdown

        return to_markdown(reports)
    from untrigger.reporting.latex import to_latex

    return to_latex(reports)


def write_page(
    reports: Report | Sequence[Report],
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002
) -> Path:
    """Write the page, whole or not at all, and return its path; without ``format`` the ending of ``path`` decides.

    Raises:
        OptionError: if the format is unknown, or neither given nor known from the ending.
        OutputError: if the file cannot be written.
    """
    return write_text(path, text=render(reports, format=format or _format_of(Path(path))))


def _format_of(path: Path) -> str:
    endings = {".html": "html", ".htm": "html", ".md": "md", ".markdown": "md", ".tex": "latex"}
    try:
        return endings[path.suffix.lower()]
    except KeyError as error:
        raise OptionError(
            f"the ending of {path.name} names no format",
            expected="one of " + ", ".join(sorted(FORMATS.values())),
            remedy="give the format: " + ", ".join(sorted(FORMATS)),
        ) from error
