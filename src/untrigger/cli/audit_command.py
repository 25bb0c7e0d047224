"""``untrigger audit``: does a purification hold when the model is tuned, merged and quantised?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from untrigger.cli import options as o
from untrigger.cli.context import Desk, seated
from untrigger.cli.scan_command import AllowUndecided, PolicyFile, Reference, Teacher, policy_of

EXAMPLE = "Example: untrigger audit purified --clean rows.csv --truth victim.truth --out audit.json"


@seated
def audit(
    desk: Desk,
    model: Annotated[
        str, typer.Argument(metavar="PURIFIED", help="Folder or hub name of the purified model or adapter.")
    ],
    clean: Annotated[str, typer.Option("--clean", metavar="DATA", help="Labelled rows of the task that you trust.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The report.json to write.", callback=o.json_file)],
    treatments: Annotated[
        str | None,
        typer.Option("--treatments", metavar="A,B", help="Of finetune, merge, int8, repoison; by default all."),
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes of the fine-tuning.")] = 2,
    poisoned: Annotated[
        int, typer.Option("--poisoned", min=1, help="Poisoned rows of repoison, which needs --truth.")
    ] = 8,
    truth: o.Truth = None,
    reference: Reference = None,
    teacher: Teacher = "minilm-l6",
    settings: o.Set = None,
    policy: PolicyFile = None,
    allow_undecided: AllowUndecided = False,
    clean_rows: Annotated[int, typer.Option("--clean-rows", min=0, help="Use at most as many rows; 0: all.")] = 1000,
    base: o.Base = None,
    labels: o.Labels = None,
    text_column: o.TextColumn = None,
    label_column: o.LabelColumn = None,
    split: o.Split = None,
    drop_empty: Annotated[bool, typer.Option("--drop-empty", help="Leave out rows without text.")] = False,
    max_length: o.MaxLength = None,
) -> int:
    """Scan a purified model again, as it is and after what its next users will do with it.

    With a truth folder a never-poisoned model goes through the same. Ends with 0 where the purification held, with 1 where the
    backdoor is still there or comes back, with 3 where that could not be decided. Rows that the purifier used are left out.
    """
    with desk.working() as progress:
        from untrigger.cli.settings import settings as options_of
        from untrigger.core.errors import OptionError
        from untrigger.core.registry import get_method
        from untrigger.data import DataSource
        from untrigger.pipeline.audit import audit as run
        from untrigger.pipeline.requests import TREATMENTS, AuditRequest, ModelInput, RunOptions, ScanRequest

        named = o.words(treatments)
        if "repoison" in named and truth is None:
            raise OptionError(
                "--treatments repoison needs the true trigger", remedy="give the truth folder with --truth"
            )
        asked = ScanRequest(
            model=ModelInput(model, base=base, labels=o.labels_of(labels), max_length=max_length),
            clean=DataSource(
                clean,
                split=split,
                text_column=text_column,
                label_column=label_column,
                drop_empty=drop_empty,
            ),
            reference=reference,
            teacher=teacher,
            policy=policy_of(policy, None, allow_undecided=allow_undecided),
            options=options_of(get_method("scanners", "insertions"), settings or [], what="scanner insertions"),
            clean_rows=clean_rows,
            run=RunOptions(seed=desk.seed, device=desk.device, offline=desk.offline),
        )
        spec = AuditRequest(
            asked, out, truth=truth, treatments=named or tuple(TREATMENTS), epochs=epochs, poisoned=poisoned
        )
        report = run(spec, progress=progress)
    from untrigger.cli.results import tell_report

    tell_report(desk, report, written=[out, out.with_suffix(".outcomes.csv")])
    return asked.policy.exit_code(report.verdict.status)
