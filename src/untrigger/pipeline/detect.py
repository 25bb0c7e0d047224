"""``detect``: a suspect model, a pool of suspect rows and clean rows in; a score, a flag and a rank for every row out."""

from __future__ import annotations

from pathlib import Path

from untrigger.core.errors import OptionError
from untrigger.core.files import check_new_paths, new_files
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Report
from untrigger.data import write_table
from untrigger.detectors.detector import Detection, Detector, ranks
from untrigger.evaluation.ground_truth import read_poisoned
from untrigger.evaluation.metrics import detection_metrics
from untrigger.pipeline.agreement import notes_of
from untrigger.pipeline.build_method import build_method
from untrigger.pipeline.load_inputs import load_classifier, load_clean_rows, load_rows
from untrigger.pipeline.model_facts import given_entry
from untrigger.pipeline.requests import DetectRequest
from untrigger.pipeline.verdict_rules import detection_verdict
from untrigger.runtime.cost import Clock, environment

ENDINGS = (".csv", ".parquet")


def detect(request: DetectRequest, *, progress: Progress = silent) -> Report:
    """Return the report of a detection; write the scored rows to ``request.out``, the report next to it.

    The method gets a ``Grant`` and nothing else; the truth folder is used after it has ended.

    Raises:
        UserError: for any input that cannot be used; then nothing is written.
    """
    report_file = check_scored_file(request.out)
    check_new_paths(request.out, report_file)
    method, clock = build_method("detectors", request.method, variant=request.variant, options=request.options), Clock()
    assert isinstance(method, Detector)
    with clock.stage("load"):
        victim = load_classifier(request.model, request.run)
        clean = load_clean_rows(request.clean, victim, request.run)
        suspect = load_rows(request.suspect, victim, request.run)
        grant = Grant(clean=clean, suspect=suspect, seed=request.run.seed)
        poisoned = read_poisoned(request.truth, rows=suspect) if request.truth else None
    with clock.stage("detect"):
        detected = method.detect(victim, grant, progress=progress)
    clock.steps(detected.history.steps)
    measured = (
        detection_metrics(detected.scores, flagged=detected.flagged, poisoned=poisoned) if poisoned is not None else []
    )
    report = Report(
        kind="detection",
        title=f"{method.name} on {Path(request.model.name).name}",
        verdict=detection_verdict(detected),
        given=given_entry(victim, grant),
        method={"name": method.name, "options": method.options() | detected.summary()},
        environment=environment(seed=request.run.seed, device=str(victim.device)),
        stages=clock.stages,
        measurements=measured,
        outcomes=request.out.name,
        warnings=[*notes_of(clean, suspect, model=victim), *detected.warnings],
        curves=detected.curves,
    )
    with new_files(request.out, report_file) as (rows, written):
        write_scored(detected, rows)
        report.write(written)
    return report


def check_scored_file(out: Path) -> Path:
    """Return where the report goes beside the file of scored rows.

    Raises:
        OptionError: for a file that ends otherwise than a table.
    """
    if out.suffix.casefold() not in ENDINGS:
        raise OptionError(f"--out {str(out)!r}", expected="a file that ends with " + " or ".join(ENDINGS))
    return out.with_suffix(".report.json")


def write_scored(detection: Detection, path: Path) -> None:
    """Write ``id,text,label,score,flagged,rank``, most suspicious first.

    Raises:
        OutputError: if the file cannot be written.
    """
    order, names = detection.order, detection.rows.label_names
    places = ranks(order)
    rows = [detection.rows[i] for i in order]
    write_table(
        {
            "id": [row.id for row in rows],
            "text": [row.text for row in rows],
            "label": [names[row.label] for row in rows],
            "score": [detection.scores[i] for i in order],
            "flagged": [detection.flagged[i] for i in order],
            "rank": [places[i] for i in order],
        },
        path,
    )
