"""Reports as Markdown: the content of the HTML page as tables, without charts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from untrigger.core.candidate import Example
from untrigger.core.escaping import escape_markdown, visible
from untrigger.core.report import Report
from untrigger.core.scan_result import Scan
from untrigger.reporting import answer_view, scan_view, view, words
from untrigger.reporting.baseline_view import sentences

_MARKS = {"good": "✓", "bad": "✗", "warn": "!", "plain": "i"}


def to_markdown(reports: list[Report]) -> str:
    """Return the page; several reports follow a table that compares them."""
    if len(reports) == 1:
        parts = _report(reports[0], level=1)
    else:
        parts = [f"# {len(reports)} reports", _table(view.COMPARED, view.comparison(reports))]
        for report in reports:
            parts += _report(report, level=2)
    parts += ["#" * (1 if len(reports) > 1 else 2) + " What the terms mean"]
    terms = words.glossary(
        scans=[report.scan is not None for report in reports],
        generation=[view.is_generation(report) for report in reports],
    )
    parts.append("\n".join(f"- **{term}**: {meaning}" for term, meaning in terms.items()))
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Return the text with everything escaped that Markdown, HTML or a code host would act on."""
    return escape_markdown(text)


def _report(report: Report, *, level: int) -> list[str]:
    head = "#" * level
    mark = _MARKS[words.tone(report.verdict.status)]
    status, sentence = (escape(visible(t)) for t in (report.verdict.status, report.verdict.sentence))
    parts = [f"{head} {escape(visible(report.title))}", f"**{mark} Verdict: {status}.** {sentence}"]
    cards = answer_view.cards(report)
    if any(card.before for card in cards):
        parts.append(_table(["", "Before", "After", "Notes"], [_card(card) for card in cards]))
    else:
        parts.append(_table(["", "Value", "Notes"], [[line[0], *line[2:]] for line in map(_card, cards)]))
    if report.warnings:
        parts += [f"{head}# Warnings", "\n".join(f"- {escape(visible(w))}" for w in report.warnings)]
    if report.scan is not None:
        parts += [*_baseline(report, level=level + 1), *_scan(report, report.scan, level=level + 1)]
    parts += [f"{head}# All measurements", _measurements(report)]
    if report.outcomes:
        parts.append(f"Every number follows from the rows in {escape(visible(report.outcomes))}.")
    parts += _answers(report, level=level + 1)
    if report.findings and report.scan is None:
        parts += [f"{head}# Candidate triggers that the defence found", _findings(report)]
    facts = (("What was given", view.given(report)), ("Environment", view.environment(report)))
    parts += [part for title, values in facts if values for part in (f"{head}# {title}", _facts(values))]
    parts.append(f"{head}# Method: {escape(view.method_name(report))}")
    if view.options(report):
        parts.append(_facts(view.options(report)))
    if report.stages:
        header = ["Stage", "Wall time", "CPU time", "Peak memory", "Steps"]
        parts += [f"{head}# Cost", _table(header, view.stages(report))]
    return parts


def _baseline(report: Report, *, level: int) -> list[str]:
    """Return what changed since the last scan; nothing without one."""
    lines = [f"- {escape(line)}" for line in sentences(report)]
    return [f"{'#' * level} Since the last scan", "\n".join(lines)] if lines else []


def _scan(report: Report, scan: Scan, *, level: int) -> list[str]:
    """Return candidates with examples, weight evidence, and what was not looked for."""
    head, parts = "#" * level, list[str]()
    if scan.candidates:
        lines = scan_view.table(report, [*scan.candidates, *scan.controls])
        parts += [f"{head} Candidate triggers", _table(scan_view.columns(report), lines)]
    if scan_view.examples(scan):
        parts += [f"{head} Examples", "\n".join(map(_example, scan_view.examples(scan)))]
    if scan.evidence:
        title = "Other evidence" if view.is_generation(report) else "Weight evidence"
        parts += [f"{head} {title}", _table(scan_view.EVIDENCE_COLUMNS, scan_view.evidence(scan.evidence))]
    blind = "\n".join(f"- {escape(visible(line))}" for line in scan.not_looked_for)
    return [*parts, f"{head} What was not looked for", blind]


def _example(one: Example) -> str:
    before, inserted, after = (escape(visible(part)) if part else "" for part in (one.before, one.inserted, one.after))
    label, suspect, reference = [escape(visible(part)) for part in (one.label, one.suspect, one.reference)]
    text = " ".join(part for part in (before, f"**{inserted}**", after) if part)
    return f"- {text} (true label: {label}; suspect: {suspect}; reference: {reference})"


def _answers(report: Report, *, level: int) -> list[str]:
    """Return prompts of a language model with the answers side by side; nothing for a classifier."""
    parts = [f"{'#' * level} Prompts and answers"] if report.examples else []
    for one in answer_view.examples(report):
        parts.append(f"{escape(one.prompt)} (right answer: {escape(one.reference)})")
        parts.append(_table(answer_view.COLUMNS, [[name, *map(_answer, answers)] for name, answers in one.lines]))
    return parts


def _answer(shown: answer_view.ShownAnswer | None) -> str:
    if shown is None:
        return "not measured"
    return f"{shown.text} [{shown.notes}]" if shown.notes else shown.text


def _card(card: view.Card) -> list[str]:
    return [card.label, card.before or "–", card.after, "; ".join(card.notes)]


def _measurements(report: Report) -> str:
    lines = [[row.metric, row.subject, row.value, row.interval, row.n] for row in view.rows(report)]
    return _table(["Metric", "Subject", "Value", "95 % interval", "n"], lines)


def _findings(report: Report) -> str:
    lines = [
        [
            visible(f.text),
            visible(f.target),
            words.percent(f.suspect.value),
            words.percent(f.reference.value),
            "–" if f.round is None else str(f.round),
            view.truth_word(f.truth),
        ]
        for f in view.findings(report)
    ]
    return _table(["Candidate", "Target", "Flip rate, victim", "Flip rate, teacher", "Round", "True trigger"], lines)


def _facts(facts: view.Facts) -> str:
    return _table(["Name", "Value"], [[name, full] for name, _short, full in facts])


def _table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    drawn = [_line(header), "|" + "---|" * len(header)]
    return "\n".join(drawn + [_line(line) for line in lines])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"
