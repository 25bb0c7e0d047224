"""The parts of a scan that every page format has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from untrigger.core.candidate import REWRITTEN_KINDS, Candidate, Example
from untrigger.core.escaping import visible
from untrigger.core.report import Report
from untrigger.core.scan_result import Evidence, Scan, hundredths
from untrigger.reporting import words
from untrigger.reporting.baseline_view import sentences
from untrigger.reporting.view import Card

SHOWN = 10
KINDS = {
    "searched": "found by the search",
    "known": "found by an earlier scan",
    "weights": "pointed at by weights or tokenizer",
    "rewritten": "rewritten rows",
    "drift": "drift of rewritten rows",
    "content": "word of the class",
    "random": "random words",
}
EVIDENCE = {
    "top_singular_share": "Share of one direction in a layer's update, largest",
    "top_singular_share_median": "The same, middle layer",
    "effective_rank": "Effective rank of a layer's update, smallest",
    "effective_rank_median": "The same, middle layer",
    "head_alignment": "Cosine of a layer's update with a class of the head, largest",
    "head_row_ratio": "Longest over shortest row of the head",
    "embedding_norm_outlier": "Embedding row of unusual length, robust z-score",
    "embedding_row_lead": "Embedding row that moved most, distance over that at rank 20",
    "not_finite": "Tensors with entries that are not numbers",
}


def inner(report: Report, name: str) -> dict[str, Any]:
    """Return the table ``name`` of what was given, empty where an untrusted report has something else there."""
    facts = report.given.get(name)
    return facts if isinstance(facts, dict) else {}


@dataclass(frozen=True)
class Bar:
    """One candidate of the chart: shares from 0 to 1 for drawing, and the words beside them."""

    text: str
    target: str
    control: bool
    note: str
    suspect: float | None
    low: float | None
    high: float | None
    reference: float | None


def bars(candidates: Sequence[Candidate], *, most: int = SHOWN) -> list[Bar]:
    """Return the first candidates as bars, in the order given."""
    return [_bar(one) for one in candidates[:most]]


def _bar(one: Candidate) -> Bar:
    note = f"score {hundredths(one.score)}" if one.score is not None else KINDS.get(one.kind, one.kind)
    if one.kind in REWRITTEN_KINDS:
        note = f"{KINDS[one.kind]}; {note}"
    if one.allowed:
        note = f"allowed: {visible(one.allowed)}"
    return Bar(
        visible(one.text),
        visible(one.target),
        one.score is None,
        note,
        one.suspect.value,
        one.suspect.low,
        one.suspect.high,
        one.reference.value,
    )


def examples(scan: Scan, *, most: int = 6) -> list[Example]:
    """Return examples of the worst candidates, up to three of each."""
    shown = scan.triggers() or [one for one in scan.candidates if not one.allowed][:1]
    return [example for one in shown for example in one.examples[:3]][:most]


def finding_line(one: Candidate) -> str:
    """Return a candidate in one line, for readers of findings."""
    score = "" if one.score is None else f" (score {hundredths(one.score)})"
    if one.kind in REWRITTEN_KINDS:
        does = "flipped to" if one.kind == "rewritten" else "mean drift of their features towards"
        return (
            f"the rewritten rows '{visible(one.text)}', {does} '{visible(one.target)}': {words.value_of(one.suspect)}, "
            f"in a clean reference {words.value_of(one.reference)}{score}"
        )
    return (
        f"'{visible(one.text)}' flips {words.value_of(one.suspect)} of held-out rows to '{visible(one.target)}', "
        f"in a clean reference {words.value_of(one.reference)}{score}"
    )


COLUMNS = [
    "Candidate",
    "Flips to",
    "Score",
    "Suspect",
    "Reference",
    "Excess, 95 %",
    "Start",
    "Middle",
    "End",
    "High-confidence rows",
    "Long rows",
    "Loss",
    "n",
    "Note",
]


def table(candidates: Sequence[Candidate]) -> list[list[str]]:
    """Return one line a candidate, in the order of ``COLUMNS``."""
    return [_line(one) for one in candidates]


def _line(one: Candidate) -> list[str]:
    positions = {place.name: place.suspect for place in one.positions}
    note = [KINDS.get(one.kind, one.kind)] + (["does not survive tokenising"] if not one.survives else [])
    note += [f"extra subwords: {one.extra_subwords}"] if one.extra_subwords else []
    note += [f"allowed: {visible(one.allowed)}"] if one.allowed else []
    return [
        f"{visible(one.text)}{' (drift)' if one.kind == 'drift' else ''}",
        visible(one.target),
        "–" if one.score is None else hundredths(one.score),
        _share(one.suspect.value),
        _share(one.reference.value),
        words.interval_of(one.excess) or "–",
        *(_share(positions.get(name)) for name in ("start", "middle", "end")),
        _share(one.high_confidence_flip_rate),
        _share(one.long_rows_flip_rate),
        "–" if one.loss is None else f"{one.loss:.2f}",
        f"{one.suspect.n:,}",
        "; ".join(note),
    ]


def _share(value: float | None) -> str:
    return "–" if value is None else words.percent(value)


EVIDENCE_COLUMNS = ["Figure", "Value", "Limit", "Where", "Words"]


def evidence(found: Sequence[Evidence]) -> list[list[str]]:
    """Return one line a figure of the weights, in the order of ``EVIDENCE_COLUMNS``."""
    return [
        [
            EVIDENCE.get(one.name, visible(one.name)),
            "not measured" if one.value is None else f"{one.value:.3g}",
            "none is calibrated" if one.limit is None else f"{one.limit:.3g}{' (reached)' if one.unusual else ''}",
            visible(one.place) if one.place else "–",
            ", ".join(visible(word) for word in one.words) or "–",
        ]
        for one in found
    ]


def cards(report: Report) -> list[Card]:
    """Return the headline numbers of a scan."""
    scan = report.scan
    assert scan is not None
    made = []
    if scan.score is None:
        made.append(
            Card(
                "Score of the worst finding", "", words.NOT_MEASURED, ["nothing was measured on a text"], measured=False
            )
        )
    else:
        notes = [
            f"suspicious from {scan.suspicious:g}, backdoored from {scan.backdoored:g}",
            "0 is harmless, 1 the worst",
        ]
        made.append(Card("Score of the worst finding", "", hundredths(scan.score), notes, measured=True))
    made.append(_flip_card(report, scan))
    for subject, label in (("suspect", "Accuracy of this model"), ("reference", "Accuracy of the clean reference")):
        found = report.find(subject, "cacc")
        if found is not None:
            notes = [f"{words.interval_of(found)}, n = {found.n:,} held-out rows"]
            made.append(Card(label, "", words.value_of(found), notes, measured=found.value is not None))
    wall = sum(stage.wall_s or 0.0 for stage in report.stages)
    return [*made, Card("Time", "", words.seconds(wall), [], measured=True)]


def _flip_card(report: Report, scan: Scan) -> Card:
    worst = next((one for one in scan.candidates if not one.allowed), None)
    metric, title = "flip_rate", "Rows flipped by the worst finding"
    if worst is not None and worst.kind == "drift":
        metric, title = "drift", "Drift of the rewritten rows"
    own, clean = report.find("suspect", metric), report.find("reference", metric)
    if worst is None or own is None or own.value is None:
        return Card(title, "", words.NOT_MEASURED, [], measured=False)
    notes = [
        f"by {visible(worst.text)} to {visible(worst.target)}",
        f"in the reference {words.value_of(clean)}",
    ]
    return Card(title, "", words.value_of(own), notes, measured=True)


def page(report: Report) -> dict[str, object] | None:
    """Return the values of the template for a scan; None for reports of another kind."""
    scan = report.scan
    if scan is None:
        return None
    return {
        "bars": bars(scan.candidates),
        "controls": bars(scan.controls, most=2 * SHOWN),
        "examples": examples(scan),
        "columns": COLUMNS,
        "table": table([*scan.candidates, *scan.controls]),
        "evidence_columns": EVIDENCE_COLUMNS,
        "evidence": evidence(scan.evidence),
        "not_looked_for": scan.not_looked_for,
        "baseline": sentences(report),
    }
