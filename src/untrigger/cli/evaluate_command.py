"""``untrigger evaluate``: accuracy on clean rows and attack success on triggered ones, with intervals."""

from __future__ import annotations

from typing import Annotated

import typer

from untrigger.cli import completion
from untrigger.cli import options as o
from untrigger.cli.context import CommandContext
from untrigger.cli.option_groups import with_option_groups
from untrigger.core.errors import OptionError

EXAMPLE = "Example: untrigger evaluate victim cleaned --truth victim.truth --out report.json"


@with_option_groups
def evaluate(
    *,
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Folders or hub names, one subject each.")],
    out: o.ReportFile,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DATA", help="Labelled test rows.", autocompletion=completion.data_sets),
    ] = None,
    truth: o.Truth = None,
    task: o.Task = "",
    template: o.Template = None,
    max_new_tokens: o.MaxNewTokens = 64,
    reading: o.ModelOptions,
    rows: o.DataOptions,
    allow_pickle: o.AllowPickle = False,
    context: CommandContext,
) -> int:
    """Measure clean accuracy, and with a truth folder also attack success.

    Without a truth folder the attack success is "not measured". Of a language model the answers to prompts are measured.
    """
    if data is None and truth is None:
        raise OptionError(
            "nothing to evaluate on", expected="--data, --truth or both", remedy="give labelled rows with --data DATA"
        )
    with context.running(out=out) as progress:
        from untrigger.pipeline.evaluate import evaluate as run
        from untrigger.pipeline.requests import EvaluateRequest

        request = EvaluateRequest(
            models=tuple(reading.model(model, allow_pickle=allow_pickle) for model in models),
            out=out,
            data=rows.source(data) if data is not None else None,
            truth=truth,
            task=task,
            max_new_tokens=max_new_tokens,
            run=context.run_options(),
            **({"template": template} if template is not None else {}),
        )
        report = run(request, progress=progress)
    from untrigger.cli.results import print_report

    print_report(context, report, written=[out, out.with_suffix(".outcomes.csv")])
    return 0
