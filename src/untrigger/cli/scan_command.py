"""``untrigger scan``: is this model backdoored? A verdict with its evidence, for a person or a pipeline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from untrigger.cli import completion
from untrigger.cli import options as o
from untrigger.cli.context import CommandContext
from untrigger.cli.evidence_files import EvidenceFiles
from untrigger.cli.option_groups import OptionGroup, with_option_groups
from untrigger.core.errors import OptionError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from untrigger.core.report import Report
    from untrigger.data import DataSource

EXAMPLE = "Example: untrigger scan suspicious-model --clean rows.csv --fail-on suspicious --out scan.html"
WAY_IN = """untrigger scan MODEL, to see which rows a scan of it needs
untrigger scan MODEL --clean rows.csv, for a verdict in minutes
untrigger scan MODEL --static-only, for hints in seconds
untrigger demo, to see a whole run; untrigger doctor, to check this installation"""
_COLUMNS = range(6)
"""The columns of the report's table of candidates that fit a terminal."""


class Format(StrEnum):
    """The format of a scan's report."""

    json = "json"
    sarif = "sarif"
    junit = "junit"
    html = "html"
    md = "md"


@dataclass(frozen=True)
class ScanInputs(OptionGroup):
    """What is scanned with, and by which scanner."""

    clean: Annotated[
        str | None,
        typer.Option("--clean", metavar="DATA", help="Labelled rows or prompts with answers that you trust."),
    ] = None
    clean_rows: o.CleanRows = 1000
    rewritten: Annotated[
        str | None,
        typer.Option("--rewritten", metavar="DATA", help="Labelled rows in a style or sentence pattern to test."),
    ] = None
    static_only: Annotated[
        bool, typer.Option("--static-only", help="Read the weights alone: seconds, and only hints.")
    ] = False
    method: Annotated[
        str, typer.Option("--method", metavar="NAME", help="The scanner.", autocompletion=completion.scanners)
    ] = "insertions"
    settings: o.Settings = None
    fail_on: Annotated[
        o.FailOn | None,
        typer.Option(
            "--fail-on",
            metavar="VERDICT",
            help="Mildest verdict that ends with 1: undecided, suspicious (the default) or backdoored.",
        ),
    ] = None
    baseline: Annotated[
        Path | None, typer.Option("--baseline", metavar="FILE", help="scan.json of the last scan, to compare with.")
    ] = None

    def rewritten_source(self, *, drop_empty: bool) -> DataSource | None:
        """Return the rewritten rows, None where none were given."""
        from untrigger.data import DataSource

        return DataSource(self.rewritten, drop_empty=drop_empty) if self.rewritten is not None else None


@dataclass(frozen=True)
class ScanOutput(OptionGroup):
    """Where the report is written."""

    format: Annotated[
        Format | None,
        typer.Option(
            "--format", metavar="FORMAT", help="json, sarif, junit, html or md; by default as the suffix says."
        ),
    ] = None
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out", metavar="FILE", help="New file for the report; may be repeated, a suffix for each format."
        ),
    ] = None

    @property
    def paths(self) -> list[Path]:
        """The files to write."""
        return self.out or []

    @property
    def log_owner(self) -> Path | None:
        """The file that gets the log beside it: the first."""
        return self.paths[0] if self.paths else None

    def formats(self, *, as_json: bool) -> list[str]:
        """Return the format of each file; without a file, that of standard output if one is named.

        Raises:
            OptionError: for two formats on standard output, for a suffix that names none, for one format or name of several files.
            OutputError: for a file that already exists.
        """
        from untrigger.core.files import check_new_paths
        from untrigger.reporting.scan_page import format_of

        named = self.format.value if self.format is not None else ""
        if named and as_json and not self.paths:
            raise OptionError(
                "--json together with --format", expected="one form of the result", remedy="name a file with --out"
            )
        if named and len(self.paths) > 1:
            raise OptionError(
                f"--format {named} together with several --out",
                expected="files whose suffixes name their formats",
                remedy="leave out --format",
            )
        if len({path.absolute() for path in self.paths}) < len(self.paths):
            raise OptionError("--out names a file twice", expected="a file for each format")
        formats = [named or format_of(path) for path in self.paths]
        check_new_paths(*self.paths)
        return formats or [named] * bool(named)


@with_option_groups
def scan(
    *,
    model: o.OptionalSuspectModel = None,
    inputs: ScanInputs,
    output: ScanOutput,
    statements: EvidenceFiles,
    scanning: o.ScanOptions,
    reading: o.ModelOptions,
    rows: o.DataOptions,
    task: o.Task = "",
    template: o.Template = None,
    context: CommandContext,
) -> int:
    """Say whether a classifier, a language model or an adapter is backdoored, and by which words.

    Ends with 0 where the verdict is clean, with 1 where it is suspicious or backdoored (--fail-on says from which), with 3
    where it is undecided, unless --allow-undecided is given.
    """
    if model is None:
        raise OptionError("no model was named", expected=o.MODEL_NAMES, remedy=WAY_IN)
    with context.running(out=output.log_owner) as progress:
        from untrigger.cli.settings import method_settings
        from untrigger.pipeline.requests import ScanRequest
        from untrigger.pipeline.scan import FOR_CLASSIFIERS
        from untrigger.pipeline.scan import scan as run
        from untrigger.pipeline.subjects import checked_task

        if inputs.settings:  # before they are read as those of a scanner of classifiers
            checked_task(
                ("set",),
                model=model,
                task=task,
                truth=None,
                offline=context.run_options().offline,
                of_classifiers=FOR_CLASSIFIERS,
                of_language_models=(),
            )
        policy = scanning.merged_policy(fail_on=inputs.fail_on)
        formats = output.formats(as_json=context.json)
        statements.check(folders=[model, reading.base], others=output.paths)
        request = ScanRequest(
            model=reading.model(model),
            clean=rows.source(inputs.clean) if inputs.clean is not None else None,
            reference=scanning.reference,
            teacher=scanning.teacher,
            static_only=inputs.static_only,
            rewritten=inputs.rewritten_source(drop_empty=rows.drop_empty),
            method=inputs.method,
            options=method_settings(inputs.method, given=inputs.settings or [], family="scanners"),
            policy=policy,
            clean_rows=inputs.clean_rows,
            baseline=inputs.baseline,
            task=task,
            **({"template": template} if template is not None else {}),
            run=context.run_options(),
        )
        report = run(request, progress=progress)
        texts = rendered(report, formats, paths=output.paths)
        written = [*output.paths, *statements.write(report)]
    print_scan(context, report, text="" if output.paths else "".join(texts), written=written)
    return policy.exit_code(report.verdict.status)


def rendered(report: Report, formats: Sequence[str], *, paths: Sequence[Path]) -> list[str]:
    """Return the report in each format, after writing them to ``paths``: all of the files, or none."""
    from untrigger.core.files import new_files, write_text
    from untrigger.reporting.scan_page import render_scan

    texts = [render_scan(report, format=name) for name in formats]
    if paths:
        with new_files(*paths) as places:
            for place, text in zip(places, texts, strict=True):
                write_text(place, text=text)
    return texts


def print_scan(context: CommandContext, report: Report, *, text: str, written: Sequence[Path]) -> None:
    """Print ``text`` if a format was chosen for standard output, else candidates, evidence, verdict and written files."""
    from rich.text import Text

    from untrigger.cli.results import verdict_lines, written_lines

    if text and not context.json:
        context.print_result(None, Text(text), bare=text)
        return
    lines: list[RenderableType] = [candidate_table(report)] if report.scan and report.scan.candidates else []
    lines += [*evidence_lines(report), *baseline_lines(report), *verdict_lines(report), *written_lines(written)]
    context.print_result(json.loads(report.to_json()), *lines)


def candidate_table(report: Report) -> RenderableType:
    """Return the ten worst candidates, each with the rates of the suspect and of the reference."""
    from rich.table import Table

    from untrigger.cli.console import escaped
    from untrigger.reporting.scan_view import columns, table

    assert report.scan is not None
    drawn = Table(title=escaped(report.title), title_justify="left")
    names = columns(report)
    for i in _COLUMNS:
        drawn.add_column(names[i], justify="left" if i < 2 else "right", no_wrap=i > 1)
    for line in table(report, report.scan.candidates[:10]):
        drawn.add_row(*(escaped(line[i]) for i in _COLUMNS))
    return drawn


def evidence_lines(report: Report) -> list[RenderableType]:
    """Return the evidence from the weights: all of it where there are no candidates, else what is unusual."""
    from untrigger.cli.console import escaped
    from untrigger.reporting.scan_view import evidence

    if report.scan is None:
        return []
    shown = [one for one in report.scan.evidence if one.unusual or not report.scan.candidates]
    return [
        f"[dim]weights:[/] {escaped(': '.join(line[:2]))} [dim]{escaped(line[3])} {escaped(line[4])}[/]"
        for line in evidence(shown)
    ]


def baseline_lines(report: Report) -> list[RenderableType]:
    """Return what changed since the last scan, where one was given."""
    from untrigger.cli.console import escaped
    from untrigger.reporting.baseline_view import sentences

    return [f"[dim]since the last scan:[/] {escaped(line)}" for line in sentences(report)]
