"""What a page contains, in its order, the same for every format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from untrigger.core.candidate import Candidate
from untrigger.core.escaping import visible
from untrigger.core.report import Report
from untrigger.core.statistics import Measurement, unpaired_difference
from untrigger.reporting import words

Facts = list[tuple[str, str, str]]
"""Name, shortened value and full value of each entry."""


@dataclass(frozen=True)
class Card:
    """A headline number.

    Attributes:
        label: what it is.
        before: the value before the defence, empty where there is only one.
        after: the value.
        notes: short remarks.
        measured: whether there is a value.
    """

    label: str
    before: str
    after: str
    notes: list[str]
    measured: bool


@dataclass(frozen=True)
class Row:
    """One line of the table of measurements, as text.

    Attributes:
        subject: name of the model.
        metric: name of the metric.
        value: with its unit, or why it was not measured.
        interval: 95 % interval, a dash for none.
        n: number of rows.
        measured: whether there is a value.
        main: whether it is of the subject that the report is about.
    """

    subject: str
    metric: str
    value: str
    interval: str
    n: str
    measured: bool
    main: bool


def cards(report: Report) -> list[Card]:
    """Return the headline numbers: attack success, clean accuracy, the controls, what it cost."""
    if report.kind == "detection":
        return [*_detection_cards(report), *(card for card in (cost_card(report),) if card is not None)]
    made = [_attack_card(report), _accuracy_card(report)]
    further = (_gain_card(report), _control_card(report), _benign_card(report), cost_card(report))
    return [*made, *(card for card in further if card is not None)]


def is_generation(report: Report) -> bool:
    """Return whether a report is about language models."""
    return report.given.get("task") == "generation"


def main_subject(report: Report) -> str:
    """Return the subject that the report is about: the purified model where there is one, else the first."""
    subjects = [m.subject for m in report.measurements]
    for subject in ("purified", "victim"):
        if subject in subjects:
            return subject
    return subjects[0] if subjects else "victim"


def measured(report: Report, metric: str) -> bool:
    """Return whether any subject has a value for ``metric``."""
    return any(m.metric == metric and m.value is not None for m in report.measurements)


def rows(report: Report) -> list[Row]:
    """Return the table of measurements, by metric and then subject; attack success is named even where it is missing."""
    listed = list(report.measurements)
    subject = main_subject(report)
    if report.kind != "detection" and report.scan is None and report.find(subject, "asr") is None:
        listed.append(Measurement(subject, "asr", None, None, None, 0))
    missing = words.NO_CLEAN_MODEL if measured(report, "asr") else words.NO_TRUTH
    return [_row(m, main=m.subject == subject, missing=missing) for m in sorted(listed, key=_place)]


def given(report: Report) -> Facts:
    """Return what the defender was granted."""
    return _facts(report.given)


def environment(report: Report) -> Facts:
    """Return versions, machine and seed."""
    return _facts(report.environment)


def options(report: Report) -> Facts:
    """Return every option of the method with its value."""
    return _facts(report.method.get("options", {}))


def method_name(report: Report) -> str:
    """Return the method's name, ``none`` where the report names none."""
    return visible(report.method.get("name") or "none")


def stages(report: Report) -> list[list[str]]:
    """Return the stages with time and memory, a total last where there are several."""
    lines = [
        [
            visible(s.name),
            words.seconds(s.wall_s),
            words.seconds(s.cpu_s),
            words.size(s.peak_rss_bytes),
            "" if s.steps is None else f"{s.steps:,}",
        ]
        for s in report.stages
    ]
    if len(lines) > 1:
        wall, cpu, peak, steps = _total(report)
        lines.append(["All", words.seconds(wall), words.seconds(cpu), words.size(peak), f"{steps:,}" if steps else ""])
    return lines


def findings(report: Report) -> list[Candidate]:
    """Return the candidates that the defence found: true trigger words first, then by the excess flip rate over the teacher."""
    return sorted(report.findings, key=lambda f: (f.truth is not True, -_gap(f), f.text))


def truth_word(truth: bool | None) -> str:
    """Return what the evaluator knows of a finding."""
    return {True: "true trigger word", False: "not the trigger", None: "not known"}[truth]


def comparison(reports: list[Report]) -> list[list[str]]:
    """Return one row a report: title, verdict, and the headline numbers."""
    return [
        [
            visible(report.title),
            visible(report.verdict.status),
            _cell(report, "victim", "asr"),
            _cell(report, "purified", "asr"),
            _cell(report, "finetuned", "asr"),
            _cell(report, "clean", "asr"),
            _cell(report, "victim", "cacc"),
            _cell(report, "purified", "cacc"),
            _cell(report, "base_finetuned", "cacc"),
            _gain_cell(report),
            words.seconds(_total(report)[0]),
        ]
        for report in reports
    ]


COMPARED = [
    "Report",
    "Verdict",
    "ASR before",
    "ASR after",
    "ASR control",
    "ASR clean model",
    "CACC before",
    "CACC after",
    "CACC base, fine-tuned",
    "Gain kept",
    "Time",
]


def _attack_card(report: Report) -> Card:
    label = "Attack success rate"
    if not measured(report, "asr"):
        return Card(label, "", words.NO_TRUTH, [], measured=False)
    after = main_subject(report)
    clean, excess = report.find("clean", "asr"), report.find(after, "excess_asr")
    notes = []
    if clean is not None and clean.value is not None:
        notes.append(f"clean model {words.percent(clean.value)}")
    else:
        notes.append("clean model not measured")
    if excess is not None and excess.value is not None:
        notes.append(f"excess over the clean model {words.points(excess.value)} ({words.interval_of(excess)})")
    return _pair(report, "asr", label=label, notes=notes)


def _accuracy_card(report: Report) -> Card:
    before, after = report.find("victim", "cacc"), report.find("purified", "cacc")
    notes = []
    if before is not None and after is not None and before.value is not None and after.value is not None:
        lost = report.find("purified", "accuracy_loss") or unpaired_difference(before, after, metric="accuracy_loss")
        notes.append(f"lost {words.points(lost.value)} ({words.interval_of(lost)})")
        notes.append(f"n = {after.n:,} clean test rows")
    return _pair(report, "cacc", label="Clean accuracy", notes=notes)


def _detection_cards(report: Report) -> list[Card]:
    options = report.method.get("options", {})
    flagged, rows = options.get("flagged"), options.get("rows")
    notes = [f"calibrated false-positive rate {words.scalar(options.get('calibrated_fpr'))}"]
    made = [Card("Flagged rows", "", f"{words.scalar(flagged)} of {words.scalar(rows)}", notes, measured=True)]
    for one in report.measurements:
        made.append(
            Card(words.metric_name(one.metric), "", words.value_of(one), [words.interval_of(one)], measured=_has(one))
        )
    return made


def _gain_card(report: Report) -> Card | None:
    """Return how much of the gain is left, with the fine-tuned base that it is measured from; None without that control."""
    kept, cacc, asr = (
        report.find(*one) for one in (("purified", "gain_kept"), ("base_finetuned", "cacc"), ("base_finetuned", "asr"))
    )
    if kept is None:
        return None
    notes = [f"interval {words.interval_of(kept)}"] if _has(kept) else []
    notes.append(f"base fine-tuned on the same rows: clean accuracy {words.value_of(cacc)}")
    notes += [f"its ASR {words.value_of(asr)}"] if _has(asr) else []
    return Card("Gain kept over the fine-tuned base", "", _gain(kept), notes, measured=_has(kept))


def _control_card(report: Report) -> Card | None:
    asr, cacc = report.find("finetuned", "asr"), report.find("finetuned", "cacc")
    if asr is None and cacc is None:
        return None
    shown = asr if asr is not None and asr.value is not None else cacc
    kind = "ASR" if shown is asr else "CACC"
    notes = [f"clean accuracy {words.value_of(cacc)}"] if shown is asr else []
    notes.append("same rows, same parameters, same steps")
    return Card(f"Control: plain fine-tuning, {kind}", "", words.value_of(shown), notes, measured=_has(shown))


def _benign_card(report: Report) -> Card | None:
    before, after = report.find("benign_in", "cacc"), report.find("benign_out", "cacc")
    if before is None or after is None:
        return None
    return Card(
        "Control: benign model, CACC",
        words.value_of(before),
        words.value_of(after),
        ["a model without a backdoor, treated with the same defence"],
        measured=_has(after),
    )


def cost_card(report: Report) -> Card | None:
    """Return time, memory and steps of the run; None where they were not measured."""
    wall, _cpu, peak, steps = _total(report)
    if wall is None:
        return None
    notes = [f"peak memory {words.size(peak)}"] + ([f"{steps:,} training steps"] if steps else [])
    return Card("Cost", "", words.seconds(wall), notes, measured=True)


def _pair(report: Report, metric: str, *, label: str, notes: list[str]) -> Card:
    main = main_subject(report)
    before = report.find("victim", metric) if main == "purified" else None
    after = report.find(main, metric)
    return Card(label, words.value_of(before) if before else "", words.value_of(after), notes, measured=_has(after))


def _gain(found: Measurement) -> str:
    """Return the gain that was kept; where rows were counted and it has no value, there was none to keep."""
    return words.NO_GAIN if found.value is None and found.n else words.value_of(found)


def _has(found: Measurement | None) -> bool:
    return found is not None and found.value is not None


def _row(found: Measurement, *, main: bool, missing: str) -> Row:
    value = _gain(found) if found.metric == "gain_kept" else words.value_of(found)
    if found.value is None and found.n == 0 and found.metric in words.NEEDS_TRUTH:
        value = missing
    return Row(
        visible(words.subject_name(found.subject)),
        visible(words.metric_name(found.metric)),
        value,
        words.interval_of(found) or "–",
        f"{found.n:,}",
        measured=found.value is not None,
        main=main,
    )


def _place(found: Measurement) -> tuple[int, str, int, str]:
    metrics, subjects = list(words.METRICS), list(words.SUBJECTS)
    return (
        metrics.index(found.metric) if found.metric in metrics else len(metrics),
        found.metric,
        subjects.index(found.subject) if found.subject in subjects else len(subjects),
        found.subject,
    )


def _facts(values: Mapping[str, object], *, under: str = "") -> Facts:
    flat: Facts = []
    for key, value in values.items():
        name = under + visible(key).replace("_", " ")
        if isinstance(value, Mapping) and value:
            flat += _facts(value, under=f"{name} › ")
        else:
            full = words.scalar(value)
            flat.append((name, words.shortened(full), full))
    return flat


def _gap(finding: Candidate) -> float:
    return (finding.suspect.value or 0.0) - (finding.reference.value or 0.0)


def _cell(report: Report, subject: str, metric: str) -> str:
    """Return a cell of the comparison; a dash where the report has no such subject."""
    known = subject == "clean" or any(m.subject == subject for m in report.measurements)
    return words.value_of(report.find(subject, metric)) if known else "–"


def _gain_cell(report: Report) -> str:
    found = report.find("purified", "gain_kept")
    return "–" if found is None else _gain(found)


def _total(report: Report) -> tuple[float | None, float | None, int | None, int]:
    walls = [s.wall_s for s in report.stages if s.wall_s is not None]
    cpus = [s.cpu_s for s in report.stages if s.cpu_s is not None]
    peaks = [s.peak_rss_bytes for s in report.stages if s.peak_rss_bytes is not None]
    steps = sum(s.steps or 0 for s in report.stages)
    return sum(walls) if walls else None, sum(cpus) if cpus else None, max(peaks, default=None), steps
