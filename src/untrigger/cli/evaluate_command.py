"""``untrigger evaluate``: what models say to clean and triggered rows, as numbers with intervals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from untrigger.cli import options as o
from untrigger.cli.context import Desk, seated
from untrigger.core.errors import OptionError

EXAMPLE = "Example: untrigger evaluate victim cleaned --truth victim.truth --out report.json"


@seated
def evaluate(
    desk: Desk,
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Folders or hub names, one subject each.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The report.json to write.", callback=o.json_file)],
    data: Annotated[str | None, typer.Option("--data", metavar="DATA", help="Labelled test rows.")] = None,
    truth: o.Truth = None,
    base: o.Base = None,
    labels: o.Labels = None,
    text_column: o.TextColumn = None,
    label_column: o.LabelColumn = None,
    split: o.Split = None,
    max_length: o.MaxLength = None,
    allow_pickle: o.AllowPickle = False,
) -> int:
    """Measure clean accuracy, and with a truth folder also attack success.

    Without truth an attack success cannot be known, and the report says "not measured".
    """
    if data is None and truth is None:
        raise OptionError(
            "nothing to evaluate on", expected="--data, --truth or both", remedy="give labelled rows with --data DATA"
        )
    with desk.working() as progress:
        from untrigger.data import DataSource
        from untrigger.pipeline.evaluate import evaluate as run
        from untrigger.pipeline.requests import EvaluateRequest, ModelInput, RunOptions

        source = ModelInput("", base=base, labels=o.labels_of(labels), max_length=max_length, allow_pickle=allow_pickle)
        rows = DataSource(data or "", split=split, text_column=text_column, label_column=label_column)
        spec = EvaluateRequest(
            models=tuple(replace(source, name=model) for model in models),
            out=out,
            data=rows if data is not None else None,
            truth=truth,
            run=RunOptions(seed=desk.seed, device=desk.device, offline=desk.offline),
        )
        report = run(spec, progress=progress)
    from untrigger.cli.results import tell_report

    tell_report(desk, report, written=[out, out.with_suffix(".outcomes.csv")])
    return 0
