"""Reports as a LaTeX table of measurements, which needs the ``booktabs`` package."""

from __future__ import annotations

from untrigger.core.escaping import visible
from untrigger.core.report import Report
from untrigger.reporting import view

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "\u00a0": "~",
    "\u2212": "$-$",
    "–": "--",
    "›": r"/",
    "⟨": r"$\langle$",
    "⟩": r"$\rangle$",
    "…": r"\ldots{}",
    "[": "{[}",
    "]": "{]}",
}
_HEAD = "% needs \\usepackage[T1]{fontenc} and \\usepackage{booktabs}"


def to_latex(reports: list[Report]) -> str:
    """Return one table of measurements, or one table that compares several reports."""
    if len(reports) > 1:
        lines = [_line(cells) for cells in view.comparison(reports)]
        return _table("ll" + "r" * (len(view.COMPARED) - 2), header=view.COMPARED, lines=lines, caption="Comparison.")
    report, lines, metric = reports[0], [], None
    for row in view.rows(report):
        if metric not in (None, row.metric):
            lines.append(r"\addlinespace")
        lines.append(_line(["" if row.metric == metric else row.metric, row.subject, row.value, row.interval, row.n]))
        metric = row.metric
    caption = f"{escape(visible(report.title))}. {escape(visible(report.verdict.sentence))}"
    return _table("llrrr", header=["Metric", "Subject", "Value", "95 % interval", "$n$"], lines=lines, caption=caption)


def escape(text: str) -> str:
    """Return the text with everything escaped that LaTeX would act on."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def _line(cells: list[str]) -> str:
    return " & ".join(escape(cell) for cell in cells) + r" \\"


def _table(columns: str, *, header: list[str], lines: list[str], caption: str) -> str:
    named = " & ".join(name if name == "$n$" else escape(name) for name in header)
    parts = [
        _HEAD,
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        rf"{named} \\",
        r"\midrule",
        *lines,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(parts) + "\n"
