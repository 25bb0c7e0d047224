"""The feature space of each subject, in two dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from untrigger.core.escaping import visible
from untrigger.core.report import FeaturePoint, Report
from untrigger.reporting import words
from untrigger.reporting.charts.chart import Chart, Key, drawable
from untrigger.reporting.charts.svg import INKS, SERIES, chart_style, swatch, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_POINTS = 1200


def features(report: Report, *, key: str) -> list[Chart]:
    """Return one scatter plot per subject: colour is the label, the marker is a cross for triggered texts."""
    points = [p for p in report.features["points"] if drawable(p["x"]) and drawable(p["y"])] if report.features else []
    labels = list(dict.fromkeys(p["label"] for p in points))
    subjects = sorted({p["subject"] for p in points}, key=lambda s: (_rank(s), s))
    return [
        _scatter([p for p in points if p["subject"] == subject], subject=subject, labels=labels, key=f"{key}feat{i}")
        for i, subject in enumerate(subjects)
    ]


def _scatter(points: list[FeaturePoint], *, subject: str, labels: list[str], key: str) -> Chart:
    from matplotlib.figure import Figure

    total, step = len(points), -(-len(points) // MAX_POINTS)
    points = points[::step]
    with chart_style():
        figure = Figure(figsize=(4.4, 3.5))
        axes = figure.add_axes((0.02, 0.02, 0.96, 0.96))
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[["top", "right"]].set_visible(True)
        keys = []
        for i, label in enumerate(labels):
            ink = SERIES[i % len(SERIES)]
            for triggered in (False, True):
                some = [p for p in points if p["label"] == label and p["triggered"] is triggered]
                if some:
                    _cloud(axes, some, colour=INKS[ink], triggered=triggered)
                    shape, what = ("cross", "triggered") if triggered else ("dot", "clean")
                    keys.append(Key(swatch(ink, shape=shape), f"{visible(label)}, {what}"))
        name = visible(words.subject_name(subject))
        svg = to_svg(figure, key=key, label=f"Feature space of: {name}; {total} texts")
    note = f"{len(points):,} of {total:,} texts drawn." if step > 1 else ""
    return Chart(name, svg, keys, note=note)


def _cloud(axes: Axes, points: list[Any], *, colour: str, triggered: bool) -> None:
    xs, ys = [p["x"] for p in points], [p["y"] for p in points]
    if triggered:
        axes.scatter(xs, ys, s=24, c=colour, marker="x", linewidths=1.3, zorder=3)
    else:
        axes.scatter(xs, ys, s=17, c=colour, marker="o", alpha=0.5, linewidths=0, zorder=2)


def _rank(subject: str) -> int:
    known = list(words.SUBJECTS)
    return known.index(subject) if subject in known else len(known)
