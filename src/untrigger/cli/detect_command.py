"""``untrigger detect``: which rows of a training file are poisoned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from untrigger.cli import options as o
from untrigger.cli.context import Desk, seated

EXAMPLE = "Example: untrigger detect suspicious --suspect train.csv --clean rows.csv --fpr 0.01 --out scored.csv"


@seated
def detect(
    desk: Desk,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Folder or hub name of the suspicious model or adapter.")
    ],
    suspect: Annotated[
        str, typer.Option("--suspect", metavar="DATA", help="Rows that the model may have been trained on, unmarked.")
    ],
    clean: Annotated[str, typer.Option("--clean", metavar="DATA", help="Labelled rows of the task that you trust.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="New .csv or .parquet; the report goes beside it.")
    ],
    method: Annotated[str, typer.Option("--method", metavar="NAME", help="A detector: bedkd, ...")] = "bedkd",
    variant: Annotated[str, typer.Option("--variant", metavar="NAME", help="A variant of the method.")] = "",
    fpr: Annotated[
        float | None, typer.Option("--fpr", help="The most that may be flagged of clean rows; usually 0.01.")
    ] = None,
    settings: o.Set = None,
    truth: o.Truth = None,
    base: o.Base = None,
    labels: o.Labels = None,
    text_column: o.TextColumn = None,
    label_column: o.LabelColumn = None,
    split: o.Split = None,
    drop_empty: Annotated[bool, typer.Option("--drop-empty", help="Leave out rows without text.")] = False,
    max_length: o.MaxLength = None,
    allow_pickle: o.AllowPickle = False,
) -> int:
    """Find the poisoned rows of a training file.

    Every row gets a score, a flag and a rank, most suspicious first. Ends with 1 where rows are flagged, with 0 where
    nothing suspicious was found.
    """
    with desk.working() as progress:
        from untrigger.cli.purify_command import method_options
        from untrigger.data import DataSource
        from untrigger.pipeline.detect import detect as run
        from untrigger.pipeline.requests import DetectRequest, ModelInput, RunOptions

        given = [*(settings or []), *([f"fpr={fpr}"] if fpr is not None else [])]
        rows = DataSource(clean, split=split, text_column=text_column, label_column=label_column, drop_empty=drop_empty)
        spec = DetectRequest(
            model=ModelInput(
                model, base=base, labels=o.labels_of(labels), max_length=max_length, allow_pickle=allow_pickle
            ),
            suspect=replace(rows, name=suspect, split=None),
            clean=rows,
            out=out,
            method=method,
            variant=variant,
            options=method_options(method, variant, given=given, family="detectors"),
            truth=truth,
            run=RunOptions(seed=desk.seed, device=desk.device, offline=desk.offline),
        )
        report = run(spec, progress=progress)
    from untrigger.cli.results import tell_report
    from untrigger.core.verdicts import exit_code

    tell_report(desk, report, written=[out, out.with_suffix(".report.json")])
    return exit_code(report.verdict.status)
