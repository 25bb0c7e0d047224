"""``untrigger detect``: which rows of a training file are poisoned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from untrigger.cli import completion
from untrigger.cli import options as o
from untrigger.cli.context import CommandContext
from untrigger.cli.option_groups import OptionGroup, with_option_groups

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
    allow_pickle: o.AllowPickle = False,
    context: CommandContext,
) -> int:
    """Find the poisoned rows of a training file.

    Every row gets a score, a flag and a rank, most suspicious first. Ends with 1 where rows are flagged, with 0 where
    nothing suspicious was found.
    """
    with context.running(out=out) as progress:
        from untrigger.cli.settings import method_settings
        from untrigger.pipeline.detect import detect as run
        from untrigger.pipeline.requests import DetectRequest

        fpr = [f"fpr={options.fpr}"] if options.fpr is not None else []
        given = [*(options.settings or []), *fpr]
        request = DetectRequest(
            model=reading.model(model, allow_pickle=allow_pickle),
            suspect=rows.whole_source(suspect),
            clean=rows.source(clean),
            out=out,
            method=options.method,
            variant=options.variant,
            options=method_settings(options.method, given=given, variant=options.variant, family="detectors"),
            truth=options.truth,
            run=context.run_options(),
        )
        report = run(request, progress=progress)
    from untrigger.cli.results import print_report
    from untrigger.core.verdicts import exit_code

    print_report(context, report, written=[out, out.with_suffix(".report.json")])
    return exit_code(report.verdict.status)
