"""``untrigger canary``: a pinned clean set and a pinned triggered set, run again after a model was merged or quantised."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from untrigger.cli import options as o
from untrigger.cli.context import CommandContext
from untrigger.cli.option_groups import with_option_groups
from untrigger.core.errors import OptionError

if TYPE_CHECKING:
    from untrigger.core.report import Report

EXAMPLE = (
    "Example: untrigger canary merged --clean victim.truth/test_clean.csv --triggered victim.truth/test_triggered.csv "
    "--target positive"
)
_SUFFIXES = (".json", ".md", ".html")


@with_option_groups
def canary(
    *,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder or hub name of the model or adapter.")],
    clean: Annotated[str, typer.Option("--clean", metavar="SET", help="Labelled rows without a trigger.")],
    triggered: Annotated[
        str, typer.Option("--triggered", metavar="SET", help="Rows with the trigger and their true labels.")
    ],
    target: Annotated[
        str, typer.Option("--target", metavar="LABEL", help="The label that the trigger flips predictions to.")
    ],
    min_accuracy: Annotated[
        float, typer.Option("--min-accuracy", metavar="SHARE", help="Smallest accuracy on the clean rows.")
    ] = 0.8,
    max_asr: Annotated[
        float, typer.Option("--max-asr", metavar="SHARE", help="Largest attack success rate on the triggered rows.")
    ] = 0.1,
    pin: Annotated[
        str | None,
        typer.Option(
            "--pin", metavar="HASH,HASH", help="Content hashes that the clean and the triggered set must have."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="New file for the report: .json, .md or .html.")
    ] = None,
    reading: o.ModelOptions,
    rows: o.DataOptions,
    context: CommandContext,
) -> int:
    """Check that a model still works, and that a known trigger still does not.

    Ends with 0 where both bounds hold at the worse end of their 95 % intervals, with 1 where one does not, with 3 where there are
    too few rows to show it.
    """
    with context.running() as progress:
        from untrigger.core.files import check_new_paths
        from untrigger.pipeline.canary import canary as run
        from untrigger.pipeline.requests import CanaryRequest

        if out is not None:
            check_suffix(out)
            check_new_paths(out)
        request = CanaryRequest(
            model=reading.model(model),
            clean=rows.source(clean),
            triggered=rows.whole_source(triggered),
            target=target,
            min_accuracy=min_accuracy,
            max_asr=max_asr,
            pins=o.split_list(pin),
            run=context.run_options(),
        )
        report = run(request, progress=progress)
        if out is not None:
            write_report(report, out)
    print_canary(context, report, out=out)
    from untrigger.core.verdicts import exit_code

    return exit_code(report.verdict.status)


def check_suffix(out: Path) -> None:
    """Raise OptionError unless the suffix names a format."""
    if out.suffix.lower() not in _SUFFIXES:
        raise OptionError(f"the ending of {out.name} names no format", expected="one of " + ", ".join(_SUFFIXES))


def write_report(report: Report, out: Path) -> None:
    """Write the report in the format of the suffix.

    Raises:
        OutputError: if the file cannot be written.
    """
    from untrigger.reporting import write_page

    if out.suffix.lower() == ".json":
        report.write(out)
    else:
        write_page(report, out)


def print_canary(context: CommandContext, report: Report, *, out: Path | None) -> None:
    """Print the rates and the verdict, and where nothing was pinned the hashes to pin."""
    import json

    from rich.text import Text

    from untrigger.cli.results import measurement_table, verdict_lines, written_lines

    given = report.given
    pins = (
        []
        if given.get("pinned")
        else [f"pin these sets with --pin {given['clean']['sha256']},{given['triggered']['sha256']}"]
    )
    lines = [Text(line, style="dim") for line in pins]
    table = measurement_table(report)
    written = written_lines([out] if out else [])
    context.print_result(json.loads(report.to_json()), table, *lines, *verdict_lines(report), *written)
