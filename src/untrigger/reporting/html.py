"""Reports as one self-contained HTML file: styles and charts inside, nothing fetched, no scripts."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from untrigger.core.escaping import visible
from untrigger.core.report import Report
from untrigger.reporting import answer_view, scan_view, view, words
from untrigger.reporting.charts.chart import Chart
from untrigger.reporting.charts.curves import curves
from untrigger.reporting.charts.feature_space import features
from untrigger.reporting.charts.rates import rates


def to_html(reports: list[Report]) -> str:
    """Return the page; several reports follow a table that compares them, folded."""
    pages = [_page(report, key=f"r{i}-") for i, report in enumerate(reports, start=1)]
    title = visible(reports[0].title) if len(reports) == 1 else f"{len(reports)} reports"
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=title,
            pages=pages,
            compared=view.COMPARED,
            comparison=view.comparison(reports) if len(reports) > 1 else [],
            glossary=words.glossary(
                scans=[report.scan is not None for report in reports],
                generation=[view.is_generation(report) for report in reports],
            ),
            words=words,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("untrigger.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    return environment


def _page(report: Report, *, key: str) -> dict[str, Any]:
    """Return what the template shows of one report."""
    return {
        "key": key,
        "report": report,
        "generation": view.is_generation(report),
        "tone": words.tone(report.verdict.status),
        "scan": scan_view.page(report),
        "cards": answer_view.cards(report),
        "no_truth": not view.measured(report, "asr"),
        "rates": [_safe(chart) for chart in rates(report, key=key)],
        "rows": view.rows(report),
        "examples": answer_view.examples(report),
        "answered": answer_view.COLUMNS,
        "findings": view.findings(report),
        "truth_known": any(finding.truth is not None for finding in report.findings),
        "curves": [(group.title, [_safe(c) for c in group.charts]) for group in curves(report, key=key)],
        "features": [_safe(chart) for chart in features(report, key=key)],
        "features_by": visible((report.features.get("method") if report.features else "") or "projection"),
        "given": view.given(report),
        "method": view.method_name(report),
        "options": view.options(report),
        "environment": view.environment(report),
        "stages": view.stages(report),
    }


def _safe(chart: Chart) -> dict[str, Any]:
    """Return the chart with its own drawings marked as safe HTML; its texts are still to be escaped."""
    return {
        "title": chart.title,
        "svg": Markup(chart.svg),  # noqa: S704
        "keys": [(Markup(entry.swatch), entry.text) for entry in chart.keys],  # noqa: S704
        "axis": chart.axis,
        "note": chart.note,
    }
