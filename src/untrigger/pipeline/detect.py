"""``detect``: a suspicious model, a pool of suspect rows and clean rows in; a score, a flag and a rank for every row out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from untrigger.core.errors import OptionError
from untrigger.core.files import check_new_paths, new_files
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Report, Verdict
from untrigger.data import DataSource, check_rows, load_data, write_table
from untrigger.detectors.detector import FOLLOWED, Detected, Detector, ranks
from untrigger.evaluation.detection_metrics import detection
from untrigger.evaluation.ground_truth import read_poisoned
from untrigger.models.classifier import Classifier
from untrigger.pipeline.agreement import check_agreement, notes_of
from untrigger.pipeline.choose import made
from untrigger.pipeline.model_facts import model_facts
from untrigger.pipeline.purify import load, suspect_rows
from untrigger.pipeline.spec import DetectSpec
from untrigger.runtime.cost import Clock, environment

ENDINGS = (".csv", ".parquet")
SUSPICIOUS, NOTHING = "suspicious", "nothing found"


def detect(spec: DetectSpec, *, progress: Progress = silent) -> Report:
    """The report of a detection; the scored rows are written to ``spec.out``, the report beside it.

    The method gets a ``Grant`` and nothing else; what the truth folder holds is used after it has ended.

    Raises:
        UserError: for any input that cannot be used; then nothing is written.
    """
    if spec.out.suffix.casefold() not in ENDINGS:
        raise OptionError(f"--out {str(spec.out)!r}", expected="a file that ends with " + " or ".join(ENDINGS))
    beside = spec.out.with_suffix(".report.json")
    check_new_paths(spec.out, beside)
    method, clock = made("detectors", spec.method, variant=spec.variant, options=spec.options), Clock()
    assert isinstance(method, Detector)
    with clock.stage("load"):
        victim = load(spec, spec.model)
        grant = granted(spec, victim)
        assert grant.suspect is not None and grant.clean is not None
        check_agreement(victim, grant.clean, what=spec.clean)
        poisoned = read_poisoned(spec.truth, rows=grant.suspect) if spec.truth else None
    with clock.stage("detect"):
        told = method.detect(victim, grant, progress=progress)
    clock.steps(told.history.steps)
    measured = detection(told.scores, flagged=told.flagged, poisoned=poisoned) if poisoned is not None else []
    report = Report(
        kind="detection",
        title=f"{method.name} on {Path(spec.model).name}",
        verdict=verdict(told),
        given=_given(victim, grant),
        method={"name": method.name, "options": method.options() | told.summary()},
        environment=environment(seed=spec.seed, device=str(victim.device)),
        stages=clock.stages,
        measurements=measured,
        outcomes=spec.out.name,
        warnings=[*notes_of(grant.clean, grant.suspect, model=victim), *told.warnings],
        curves=told.curves,
    )
    with new_files(spec.out, beside) as (rows, written):
        write_scored(told, rows)
        report.write(written)
    return report


def granted(spec: DetectSpec, victim: Classifier) -> Grant:
    """What the method may use.

    Raises:
        DataError: for rows that cannot be used.
    """
    clean = load_data(
        DataSource(
            spec.clean,
            text_column=spec.text_column,
            label_column=spec.label_column,
            split=spec.split,
            drop_empty=spec.drop_empty,
        ),
        label_names=victim.label_names,
        offline=spec.offline,
    )
    check_rows(clean, require_classes=2, what=spec.clean)
    return Grant(clean=clean, suspect=suspect_rows(spec, victim), seed=spec.seed)


def verdict(told: Detected) -> Verdict:
    """Whether anything was found, and the counts behind it."""
    summary, rows = told.summary(), len(told.rows)
    chance = summary.get("expected_by_chance")
    explained = f"; the false-positive rate explains {chance:.1f}" if isinstance(chance, float) else ""
    if not told.found:
        return Verdict(NOTHING, f"Nothing found: {_why_nothing(summary, rows=rows, explained=explained)}.")
    labels = ", ".join(f"{count} {name}" for name, count in told.suspects.class_counts().items() if count)
    return Verdict(SUSPICIOUS, f"{sum(told.flagged):,} of {rows:,} rows are flagged ({labels}){explained}.")


def _why_nothing(summary: Mapping[str, Any], *, rows: int, explained: str) -> str:
    """Why no row is flagged, although some may lie above the threshold."""
    above, followed, far = summary.get("above_threshold", 0), summary.get("followed", 1.0), summary.get("far_above")
    little = "" if far is None else f", {far} of them far enough to count"
    counts = f"{above} of {rows:,} rows lie above the threshold{little}{explained}"
    if followed >= FOLLOWED:
        return counts
    return (
        f"the model predicts the label of only {100 * followed:.0f} % of the {above} unusual rows, so whatever is odd about them "
        f"is no backdoor of this model ({counts})"
    )


def write_scored(told: Detected, path: Path) -> None:
    """``id,text,label,score,flagged,rank``, most suspicious first.

    Raises:
        OutputError: if the file cannot be written.
    """
    order, names = told.order, told.rows.label_names
    places = ranks(order)
    rows = [told.rows[i] for i in order]
    write_table(
        {
            "id": [row.id for row in rows],
            "text": [row.text for row in rows],
            "label": [names[row.label] for row in rows],
            "score": [told.scores[i] for i in order],
            "flagged": [told.flagged[i] for i in order],
            "rank": [places[i] for i in order],
        },
        path,
    )


def _given(victim: Classifier, grant: Grant) -> dict[str, Any]:
    return {
        "model": model_facts(victim),
        "labels": list(victim.label_names),
        "defender": grant.describe(),
        "max_length": victim.max_length,
    }
