"""``untrigger audit``: does a purification hold when the model is tuned, merged and quantised?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from untrigger.cli import options as o
from untrigger.cli.context import CommandContext
from untrigger.cli.option_groups import OptionGroup, with_option_groups
from untrigger.core.errors import OptionError

EXAMPLE = "Example: untrigger audit purified --clean rows.csv --truth victim.truth --out audit.json"


@dataclass(frozen=True)
class AuditOptions(OptionGroup):
    """What is done to the model, and what it is compared with."""

    treatments: Annotated[
        str | None,
        typer.Option(
            "--treatments", metavar="A,B", help="Treatments: finetune, merge, int8, repoison; by default all."
        ),
    ] = None
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=1, help="Passes of the fine-tuning.")] = 2
    poisoned: Annotated[
        int, typer.Option("--poisoned", metavar="N", min=1, help="Poisoned rows of repoison, which needs --truth.")
    ] = 8
    truth: o.Truth = None
    settings: o.Settings = None
    clean_rows: o.CleanRows = 1000


@with_option_groups
def audit(
    *,
    model: Annotated[
        str, typer.Argument(metavar="PURIFIED", help="Folder or hub name of the purified model or adapter.")
    ],
    clean: o.CleanData,
    out: o.ReportFile,
    options: AuditOptions,
    scanning: o.ScanOptions,
    reading: o.ModelOptions,
    rows: o.DataOptions,
    context: CommandContext,
) -> int:
    """Scan a purified model again, as it is and after fine-tuning, merging and quantising it.

    With a truth folder a clean model gets the same treatments. Ends with 0 where the purification held, with 1 where the
    backdoor is still there or comes back, with 3 where that could not be decided. Rows that the purifier used are left out.
    """
    named = o.split_list(options.treatments)
    if "repoison" in named and options.truth is None:
        raise OptionError("--treatments repoison needs the true trigger", remedy="give the truth folder with --truth")
    with context.running(out=out) as progress:
        from untrigger.cli.settings import method_settings
        from untrigger.pipeline.audit import audit as run
        from untrigger.pipeline.requests import TREATMENTS, AuditRequest, ScanRequest

        scan = ScanRequest(
            model=reading.model(model),
            clean=rows.source(clean),
            reference=scanning.reference,
            teacher=scanning.teacher,
            options=method_settings("insertions", given=options.settings or [], family="scanners"),
            policy=scanning.merged_policy(),
            clean_rows=options.clean_rows,
            run=context.run_options(),
        )
        request = AuditRequest(
            scan,
            out,
            truth=options.truth,
            treatments=named or tuple(TREATMENTS),
            epochs=options.epochs,
            poisoned=options.poisoned,
        )
        report = run(request, progress=progress)
    from untrigger.cli.results import print_report

    print_report(context, report, written=[out, out.with_suffix(".outcomes.csv")])
    return scan.policy.exit_code(report.verdict.status)
