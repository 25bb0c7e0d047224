"""``untrigger audit``: does a purification hold when the model is tuned, merged and quantised?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from untrigger.cli import options as o
from untrigger.cli.context import CommandContext
from untrigger.cli.option_groups import OptionGroup, with_option_groups
from untrigger.core.errors import OptionError
from untrigger.core.progress import Progress

if TYPE_CHECKING:
    from untrigger.core.report import Report

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


FOR_CLASSIFIERS = ("epochs", "settings", "reference", "teacher", "policy", "allow_undecided", "labels")
FOR_LANGUAGE_MODELS = ("template", "max_new_tokens", "steps")
"""Options that the audit of the other task does not have."""


@dataclass(frozen=True)
class LanguageAuditOptions(o.LanguageOptions):
    """What only a language model is given."""

    steps: Annotated[
        int,
        typer.Option(
            "--steps", metavar="N", min=1, help="Steps of the fine-tuning.", rich_help_panel="Language models"
        ),
    ] = 20


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
    language: LanguageAuditOptions,
    typer_context: typer.Context,
    context: CommandContext,
) -> int:
    """Scan a purified model again, as it is and after fine-tuning, merging and quantising it.

    Of a language model attack success and skill are measured instead, which needs a truth folder. With a truth folder a clean
    model gets the same treatments. Ends with 0 where the purification held, with 1 where the backdoor is still there or comes
    back, with 3 where that could not be decided. Rows that the purifier used are left out.
    """
    named = o.split_list(options.treatments)
    if "repoison" in named and options.truth is None:
        raise OptionError("--treatments repoison needs the true trigger", remedy="give the truth folder with --truth")
    given = o.options_given(typer_context, of_trigger=(), settings=None)
    with context.running(out=out) as progress:
        from untrigger.core.verdicts import exit_code
        from untrigger.pipeline.subjects import checked_task

        run = context.run_options()
        generation = checked_task(
            given,
            model=model,
            task=language.task,
            truth=options.truth,
            offline=run.offline,
            of_classifiers=FOR_CLASSIFIERS,
            of_language_models=FOR_LANGUAGE_MODELS,
        )
        fields: dict[str, Any] = {
            "model": reading.model(model),
            "clean": rows.source(clean),
            "clean_rows": options.clean_rows,
            "run": run,
        }
        if generation:
            report = _audit_language_model(fields, options, language, out=out, progress=progress)
            code = exit_code(report.verdict.status)
        else:
            report, code = _audit_classifier(fields, options, scanning, out=out, progress=progress)
    from untrigger.cli.results import print_report

    print_report(context, report, written=[out, out.with_suffix(".outcomes.csv")])
    return code


def _audit_classifier(
    fields: dict[str, Any], options: AuditOptions, scanning: o.ScanOptions, *, out: Path, progress: Progress
) -> tuple[Report, int]:
    """Audit a classifier and return the report, and the exit code by the policy of its scans."""
    from untrigger.cli.settings import method_settings
    from untrigger.pipeline.audit import audit as run
    from untrigger.pipeline.requests import TREATMENTS, AuditRequest, ScanRequest

    scan = ScanRequest(
        **fields,
        reference=scanning.reference,
        teacher=scanning.teacher,
        options=method_settings("insertions", given=options.settings or [], family="scanners"),
        policy=scanning.merged_policy(),
    )
    request = AuditRequest(
        scan,
        out,
        truth=options.truth,
        treatments=o.split_list(options.treatments) or tuple(TREATMENTS),
        epochs=options.epochs,
        poisoned=options.poisoned,
    )
    report = run(request, progress=progress)
    return report, scan.policy.exit_code(report.verdict.status)


def _audit_language_model(
    fields: dict[str, Any], options: AuditOptions, language: LanguageAuditOptions, *, out: Path, progress: Progress
) -> Report:
    """Audit a language model and return the report.

    Raises:
        OptionError: without a truth folder.
    """
    from untrigger.pipeline.audit_generation import GenerationAuditRequest, audit_generation
    from untrigger.pipeline.requests import TREATMENTS

    if options.truth is None:
        raise OptionError(
            "an audit of a language model without the truth of its attack",
            expected="--truth DIR.truth: attack success is measured before and after each treatment",
            remedy="of a model whose attack is not known, run untrigger scan before and after the treatment",
        )
    request = GenerationAuditRequest(
        **fields,
        out=out,
        truth=options.truth,
        treatments=o.split_list(options.treatments) or tuple(TREATMENTS),
        poisoned=options.poisoned,
        steps=language.steps,
        **language.fields(),
    )
    return audit_generation(request, progress=progress)
