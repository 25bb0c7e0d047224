"""The chart of rates before and after: bars of ASR and of CACC per subject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from untrigger.core.report import Report
from untrigger.reporting import words
from untrigger.reporting.charts.chart import Chart, Key
from untrigger.reporting.charts.svg import INKS, chart_style, swatch, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUBJECTS = ("victim", "finetuned", "base_finetuned", "purified", "clean")


def rates(report: Report, *, key: str) -> list[Chart]:
    """Return bars of ASR and of CACC per subject with their intervals; a chart without values is left out."""
    found = [_attack_chart(report, key=f"{key}asr"), _accuracy_chart(report, key=f"{key}cacc")]
    return [chart for chart in found if chart is not None]


def _attack_chart(report: Report, *, key: str) -> Chart | None:
    subjects = _subjects(report, ("asr", "untriggered_hit_rate"))
    if not subjects:
        return None
    with chart_style():
        figure, axes = _bar_axes(subjects)
        slim = any(_value(report, s, "untriggered_hit_rate") is not None for s in subjects)
        _bars(axes, report, metric="asr", subjects=subjects, slim=slim)
        if slim:
            _slim_bars(axes, report, subjects=subjects)
        clean = _value(report, "clean", "asr")
        if clean is not None:
            axes.axvline(clean, color=INKS["ink"], linewidth=1.2, linestyle=(0, (3, 2)), zorder=4)
        values = _values(report, "asr", subjects)
        svg = to_svg(figure, key=key, label=f"Attack success rate, lower is better: {values}")
    keys = [Key(swatch("muted"), "triggered rows: ASR")]
    keys += [Key(swatch("muted", shape="slim"), "same rows without the trigger")] if slim else []
    keys += [Key(swatch("ink", shape="rule"), f"clean model, {words.percent(clean)}")] if clean is not None else []
    return Chart("Attack success rate", svg, keys, note="Lower is better, down to the clean model's.")


def _accuracy_chart(report: Report, *, key: str) -> Chart | None:
    subjects = _subjects(report, ("cacc",))
    if not subjects:
        return None
    with chart_style():
        figure, axes = _bar_axes(subjects)
        _bars(axes, report, metric="cacc", subjects=subjects, slim=False)
        before = _value(report, "victim", "cacc")
        if before is not None:
            axes.axvline(before, color=INKS["ink"], linewidth=1.2, linestyle=(0, (3, 2)), zorder=4)
        svg = to_svg(figure, key=key, label=f"Clean accuracy, higher is better: {_values(report, 'cacc', subjects)}")
    keys = [Key(swatch("muted"), "clean test rows: CACC")]
    keys += [Key(swatch("ink", shape="rule"), "victim")] if before is not None else []
    return Chart("Clean accuracy", svg, keys, note="Higher is better; a defence should keep it.")


def _bar_axes(subjects: Sequence[str]) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 0.55 + 0.56 * len(subjects)))
    axes = figure.add_axes(
        (0.265, 0.34 / (0.55 + 0.56 * len(subjects)), 0.72, 1 - 0.42 / (0.55 + 0.56 * len(subjects)))
    )
    axes.set_xlim(0, 1.17)
    axes.set_ylim(len(subjects) - 0.45, -0.55)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25", "50", "75", "100 %"])
    short = {"finetuned": "Fine-tuned", "base_finetuned": "Base,\nfine-tuned", "clean": "Clean\nmodel"}
    axes.set_yticks(range(len(subjects)), [short.get(s, s.capitalize()) for s in subjects])
    for tick in axes.get_yticklabels():
        tick.set_color(INKS["ink"])
    axes.tick_params(length=0, pad=7)
    axes.grid(visible=True, axis="x")
    axes.spines[["left", "bottom"]].set_visible(False)
    return figure, axes


def _bars(axes: Axes, report: Report, *, metric: str, subjects: Sequence[str], slim: bool) -> None:
    height, offset = (0.4, -0.14) if slim else (0.5, 0.0)
    for at, subject in enumerate(subjects):
        found = report.find(subject, metric)
        if found is None or found.value is None:
            axes.text(0.01, at + offset, "not measured", va="center", color=INKS["muted"], fontsize=9.5)
            continue
        axes.barh(at + offset, found.value, height=height, color=_ink(subject), zorder=2)
        end = found.value
        if found.low is not None and found.high is not None:
            axes.plot([found.low, found.high], [at + offset] * 2, color=INKS["panel"], linewidth=3.6, zorder=5)
            axes.plot([found.low, found.high], [at + offset] * 2, color=INKS["ink"], linewidth=1.4, zorder=6)
            end = max(end, found.high)
        axes.text(
            end + 0.02,
            at + offset,
            f"{100 * found.value:.1f}",
            va="center",
            fontweight="bold",
            color=INKS["ink"],
            zorder=7,
        )


def _slim_bars(axes: Axes, report: Report, *, subjects: Sequence[str]) -> None:
    for at, subject in enumerate(subjects):
        value = _value(report, subject, "untriggered_hit_rate")
        if value is not None:
            axes.barh(at + 0.22, value, height=0.17, facecolor="none", edgecolor=_ink(subject), linewidth=1.1, zorder=2)
            axes.text(
                value + 0.02, at + 0.23, f"{100 * value:.1f}", va="center", fontsize=9, color=INKS["muted"], zorder=7
            )


def _subjects(report: Report, metrics: Sequence[str]) -> list[str]:
    found = {m.subject for m in report.measurements if m.metric in metrics and m.value is not None}
    return [s for s in SUBJECTS if s in found]


def _value(report: Report, subject: str, metric: str) -> float | None:
    found = report.find(subject, metric)
    return found.value if found is not None else None


def _values(report: Report, metric: str, subjects: Sequence[str]) -> str:
    return "; ".join(f"{words.subject_name(s)} {words.value_of(report.find(s, metric))}" for s in subjects)


def _ink(subject: str) -> str:
    return INKS["c4"] if subject == "base_finetuned" else INKS.get(subject, INKS["muted"])
