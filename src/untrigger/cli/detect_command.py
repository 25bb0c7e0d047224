"""``untrigger detect``: which rows of a training file are poisoned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from untrigger.cli import completion
from untrigger.cli import options as o
from untrigger.cli.context import CommandContext
from untrigger.cli.option_groups import OptionGroup, with_option_groups
from untrigger.core.progress import Progress

if TYPE_CHECKING:
    from untrigger.core.report import Report

EXAMPLE = "Example: untrigger detect suspicious --suspect train.csv --clean rows.csv --fpr 0.01 --out scored.csv"


@dataclass(frozen=True)
class DetectOptions(OptionGroup):
    """The detector, and what it is given."""

    method: Annotated[
        str,
        typer.Option("--method", metavar="NAME", help="A detector: bedkd, ...", autocompletion=completion.detectors),
    ] = "bedkd"
    variant: o.Variant = ""
    fpr: Annotated[
        float | None,
        typer.Option("--fpr", metavar="X", help="Largest share of clean rows that may be flagged; usually 0.01."),
    ] = None
    settings: o.Settings = None
    truth: o.Truth = None


@with_option_groups
def detect(
    *,
    model: o.SuspectModel,
    suspect: Annotated[
        str, typer.Option("--suspect", metavar="DATA", help="Rows that the model may have been trained on, unmarked.")
    ],
    clean: o.CleanData,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="New .csv or .parquet; the report is written next to it.")
    ],
    options: DetectOptions,
    reading: o.ModelOptions,
    rows: o.DataOptions,
    task: o.Task = "",
    template: o.Template = None,
    allow_pickle: o.AllowPickle = False,
    typer_context: typer.Context,
    context: CommandContext,
) -> int:
    """Find the poisoned rows of a training file; of a language model, prompts with poisoned answers.

    Every row gets a score, a flag and a rank, most suspicious first. Ends with 1 where rows are flagged, with 0 where
    nothing suspicious was found.
    """
    named = o.options_given(typer_context, of_trigger=(), settings=None)
    with context.running(out=out) as progress:
        from untrigger.pipeline.subjects import checked_task

        run = context.run_options()
        generation = checked_task(
            named,
            model=model,
            task=task,
            truth=options.truth,
            offline=run.offline,
            of_classifiers=("method", "variant", "labels"),
            of_language_models=("template",),
        )
        fpr = [f"fpr={options.fpr}"] if options.fpr is not None else []
        given = [*(options.settings or []), *fpr]
        fields: dict[str, Any] = {
            "model": reading.model(model, allow_pickle=allow_pickle),
            "suspect": rows.whole_source(suspect),
            "clean": rows.source(clean),
            "out": out,
            "truth": options.truth,
            "run": run,
        }
        if generation:
            report = _detect_prompts(fields, given, template=template, progress=progress)
        else:
            report = _detect_rows(fields, given, options, progress=progress)
    from untrigger.cli.results import print_report
    from untrigger.core.verdicts import exit_code

    print_report(context, report, written=[out, out.with_suffix(".report.json")])
    return exit_code(report.verdict.status)


def _detect_rows(fields: dict[str, Any], given: list[str], options: DetectOptions, *, progress: Progress) -> Report:
    """Find poisoned rows of a classifier and return the report."""
    from untrigger.cli.settings import method_settings
    from untrigger.pipeline.detect import detect as run
    from untrigger.pipeline.requests import DetectRequest

    request = DetectRequest(
        **fields,
        method=options.method,
        variant=options.variant,
        options=method_settings(options.method, given=given, variant=options.variant, family="detectors"),
    )
    return run(request, progress=progress)


def _detect_prompts(fields: dict[str, Any], given: list[str], *, template: str | None, progress: Progress) -> Report:
    """Find poisoned prompts of a language model and return the report."""
    from untrigger.cli.settings import settings
    from untrigger.detectors.language.answer_gap import NAME, AnswerGapDetector
    from untrigger.pipeline.detect_generation import detect_generation
    from untrigger.pipeline.generation_request import GenerationDetectRequest

    further: dict[str, Any] = {} if template is None else {"template": template}
    options = settings(AnswerGapDetector, given, what=f"method {NAME}")
    return detect_generation(GenerationDetectRequest(**fields, **further, options=options), progress=progress)
