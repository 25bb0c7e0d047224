"""``detect`` for language models: a suspect, prompts with answers and clean prompts in; a score, a flag and a rank for each out."""

from __future__ import annotations

from pathlib import Path

from untrigger.core import verdicts
from untrigger.core.errors import NeedsError
from untrigger.core.files import check_new_paths, new_files
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Report, Verdict
from untrigger.data import write_table
from untrigger.data.prompt_data import load_prompts
from untrigger.detectors.detector import ranks
from untrigger.detectors.language.answer_gap import NAME, AnswerDetection, AnswerGapDetector
from untrigger.evaluation.ground_truth import GENERATION, poisoned_among, read_content
from untrigger.evaluation.metrics import detection_metrics
from untrigger.evaluation.prompt_truth import TRAIN
from untrigger.methods.untouched import untouched
from untrigger.pipeline.detect import check_scored_file
from untrigger.pipeline.generation_request import GenerationDetectRequest
from untrigger.pipeline.language_base import trusted_base_of
from untrigger.pipeline.load_inputs import load_language
from untrigger.pipeline.model_facts import model_facts
from untrigger.runtime.cost import Clock, environment

OTHER_ROWS = (
    "the suspect prompts are not exactly those that the truth folder is about: rates are counted by their ids, and mean nothing if "
    "these are of other prompts"
)


def detect_generation(request: GenerationDetectRequest, *, progress: Progress = silent) -> Report:
    """Return the report of a detection; write the scored prompts to ``request.out``, the report next to it.

    Raises:
        UserError: for any input that cannot be used; then nothing is written.
    """
    report_file = check_scored_file(request.out)
    check_new_paths(request.out, report_file)
    method, clock, offline = AnswerGapDetector(**request.options), Clock(), request.run.offline
    with clock.stage("load"):
        clean, suspect = (
            load_prompts(source, template=request.template, offline=offline)
            for source in (request.clean, request.suspect)
        )
        content = read_content(request.truth, task=GENERATION) if request.truth else None
        poisoned = (
            poisoned_among(suspect.ids, content, file=request.truth / TRAIN) if content and request.truth else None
        )
        model = load_language(request.model, request.run)
        base = trusted_base_of(model, request.model, request.run, prompts=clean)
        if base is None:
            raise NeedsError(
                f"{NAME} needs the model that {request.model.name!r} was made from",
                remedy="name it with --base, if you trust it",
            )
    with clock.stage("detect"), untouched(model, NAME):
        detected = method.detect(
            model, base.model, clean=clean, suspect=suspect, seed=request.run.seed, progress=progress
        )
    clock.steps(detected.history.steps)
    shared = len(set(clean.conversations) & set(suspect.conversations))
    report = Report(
        kind="detection",
        title=f"{NAME} on {Path(request.model.name).name}",
        verdict=_verdict(detected),
        given={
            "task": GENERATION,
            "model": model_facts(model),
            "defender": {"clean": clean.describe(), "suspect": suspect.describe(), "base": base.model.name},
        },
        method={"name": NAME, "options": {"fpr": method.fpr, "window": method.window} | detected.metadata},
        environment=environment(seed=request.run.seed, device=str(model.device)),
        stages=clock.stages,
        measurements=detection_metrics(detected.scores, flagged=detected.flagged, poisoned=poisoned)
        if poisoned
        else [],
        outcomes=request.out.name,
        warnings=[
            *clean.notes,
            *base.warnings,
            *([f"{shared} of the clean prompts are suspect prompts too"] if shared else []),
            *([OTHER_ROWS] if content and content.get("train_sha256") != suspect.content_hash() else []),
        ],
        curves=detected.curves,
    )
    with new_files(request.out, report_file) as (rows, written):
        _write_scored(detected, rows)
        report.write(written)
    return report


def _verdict(detected: AnswerDetection) -> Verdict:
    facts, flagged = detected.metadata, sum(detected.flagged)
    chance = f"{facts['expected_by_chance']:.1f}"
    if flagged:
        sentence = f"{flagged} of {len(detected.prompts):,} prompts are flagged; chance explains {chance}."
        return Verdict(verdicts.SUSPICIOUS, sentence)
    above = f"{facts['above_threshold']} of {len(detected.prompts):,} prompts lie above the threshold"
    return Verdict(verdicts.NOTHING_FOUND, f"Nothing found: {above}, chance explains {chance}.")


def _write_scored(detected: AnswerDetection, path: Path) -> None:
    """Write ``id,prompt,answer,score,flagged,rank``, most suspicious first.

    Raises:
        OutputError: if the file cannot be written.
    """
    order, places = detected.order, ranks(detected.order)
    rows = [detected.prompts[i] for i in order]
    write_table(
        {
            "id": [row.id for row in rows],
            "prompt": [row.conversation[-1].content for row in rows],
            "answer": [row.answer for row in rows],
            "score": [detected.scores[i] for i in order],
            "flagged": [detected.flagged[i] for i in order],
            "rank": [places[i] for i in order],
        },
        path,
    )
