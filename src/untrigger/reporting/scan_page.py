"""A scan as a page or a file of a build server."""

from __future__ import annotations

from pathlib import Path

from untrigger.core.errors import DataError, OptionError, check_choice
from untrigger.core.report import Report
from untrigger.reporting.page import render

SCAN_FORMATS = ("html", "json", "junit", "md", "sarif")
_ENDINGS = {
    ".html": "html",
    ".htm": "html",
    ".json": "json",
    ".xml": "junit",
    ".md": "md",
    ".markdown": "md",
    ".sarif": "sarif",
}


def render_scan(report: Report, *, format: str) -> str:  # noqa: A002
    """Return the scan as text.

    Args:
        report: of a scan.
        format: one of ``SCAN_FORMATS``.

    Raises:
        OptionError: if the format is unknown.
        DataError: if the report is about something else.
    """
    chosen = check_choice(format, SCAN_FORMATS, kind="format")
    if chosen == "json":
        return report.to_json()
    if report.scan is None:
        raise DataError(f"the report {report.title!r} is not a scan", expected="the report of untrigger scan")
    if chosen == "sarif":
        from untrigger.reporting.sarif import to_sarif

        return to_sarif(report)
    if chosen == "junit":
        from untrigger.reporting.junit import to_junit

        return to_junit(report)
    return render(report, format=chosen)


def format_of(path: Path) -> str:
    """Return the format of the ending of a file name; ``.sarif.json`` is SARIF as well.

    Raises:
        OptionError: if it is of none.
    """
    if path.name.lower().endswith(".sarif.json"):
        return "sarif"
    try:
        return _ENDINGS[path.suffix.lower()]
    except KeyError as error:
        raise OptionError(
            f"the ending of {path.name} names no format",
            expected="one of " + ", ".join(sorted(_ENDINGS)),
            remedy="give the format: " + ", ".join(SCAN_FORMATS),
        ) from error
