"""The training curves: loss terms and scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from untrigger.core.escaping import visible
from untrigger.core.report import Curve, Report
from untrigger.reporting.charts.chart import Chart, Group, Key, drawable
from untrigger.reporting.charts.svg import DASHES, INKS, SERIES, chart_style, swatch, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def curves(report: Report, *, key: str) -> list[Group]:
    """Return the training curves, one group per panel, one chart per vertical axis."""
    panels: dict[str, dict[tuple[str, str], list[Curve]]] = {}
    for curve in report.curves:
        if any(drawable(x) and drawable(y) for x, y in zip(curve.x, curve.y, strict=False)):
            panels.setdefault(curve.panel, {}).setdefault((curve.y_label, curve.x_label), []).append(curve)
    groups = []
    for i, (panel, axes) in enumerate(panels.items()):
        charts = [_curve_chart(lines, key=f"{key}curve{i}x{j}") for j, lines in enumerate(axes.values())]
        groups.append(Group(visible(panel), charts))
    return groups


def _curve_chart(lines: list[Curve], *, key: str) -> Chart:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    y_label, window = visible(lines[0].y_label), 1
    with chart_style():
        figure = Figure(figsize=(5.2, 2.7))
        axes = figure.add_axes((0.125, 0.115, 0.855, 0.855))
        keys = []
        for i, line in enumerate(lines):
            ink, dash = SERIES[i % len(SERIES)], i % len(DASHES)
            window = max(window, _draw_line(axes, line, colour=INKS[ink], dash=dash))
            keys.append(Key(swatch(ink, shape="line", dash=dash), visible(line.name)))
        axes.grid(visible=True, axis="y")
        axes.spines["left"].set_visible(False)
        axes.tick_params(length=0, pad=5)
        axes.margins(x=0.02, y=0.08)
        whole = all(float(x).is_integer() for line in lines for x in line.x if drawable(x))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=whole))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        names = ", ".join(visible(line.name) for line in lines)
        svg = to_svg(figure, key=key, label=f"{y_label} by {visible(lines[0].x_label)}: {names}")
    note = f"Faint: every value; strong: mean of {window} neighbours." if window > 1 else ""
    return Chart(y_label[:1].upper() + y_label[1:], svg, keys, axis=visible(lines[0].x_label), note=note)


def _draw_line(axes: Axes, line: Curve, *, colour: str, dash: int) -> int:
    """Draw a line, a long one faintly with its running mean on top, and return the number of neighbours averaged."""
    pairs = [(x, y) for x, y in zip(line.x, line.y, strict=False) if drawable(x) and drawable(y)]
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    window = max(1, len(ys) // 40) | 1 if len(ys) >= 80 else 1
    if window > 1:
        axes.plot(xs, ys, color=colour, linewidth=0.8, alpha=0.3)
        half = window // 2
        ys = [sum(near) / len(near) for near in (ys[max(0, i - half) : i + half + 1] for i in range(len(ys)))]
    marker = "o" if len(ys) <= 20 else ""
    axes.plot(xs, ys, color=colour, linestyle=DASHES[dash], marker=marker, markersize=4)
    return window
