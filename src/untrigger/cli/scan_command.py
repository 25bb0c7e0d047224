"""``untrigger scan``: is this model backdoored? A verdict with its evidence, for a person or a pipeline."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from untrigger.cli import options as o
from untrigger.cli.context import Desk, seated
from untrigger.core.errors import OptionError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from untrigger.core.report import Report
    from untrigger.scanners.policy import Policy

EXAMPLE = "Example: untrigger scan suspicious-model --clean rows.csv --fail-on suspicious --out scan.html"


class Format(StrEnum):
    """What a scan is written as."""

    json = "json"
    sarif = "sarif"
    junit = "junit"
    html = "html"
    md = "md"


class FailOn(StrEnum):
    """The mildest verdict that ends with exit code 1."""

    undecided = "undecided"
    suspicious = "suspicious"
    backdoored = "backdoored"


Clean = Annotated[str | None, typer.Option("--clean", metavar="DATA", help="Labelled rows of the task that you trust.")]
Reference = Annotated[
    str | None,
    typer.Option(
        "--reference", metavar="MODEL", help="A clean classifier of the task; else one is trained from the teacher."
    ),
]
Teacher = Annotated[str, typer.Option("--teacher", metavar="MODEL", help="Small encoder that you trust.")]
PolicyFile = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="TOML file with thresholds, limits and allowed findings."),
]
AllowUndecided = Annotated[
    bool, typer.Option("--allow-undecided", help="End with 0, not 3, where no verdict could be given.")
]


@seated
def scan(
    desk: Desk,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Folder or hub name of the suspicious model or adapter.")
    ],
    clean: Clean = None,
    reference: Reference = None,
    teacher: Teacher = "minilm-l6",
    static_only: Annotated[
        bool, typer.Option("--static-only", help="Read the weights alone: seconds, and only hints.")
    ] = False,
    rewritten: Annotated[
        str | None,
        typer.Option("--rewritten", metavar="DATA", help="Labelled rows in a style or sentence pattern to test."),
    ] = None,
    method: Annotated[str, typer.Option("--method", metavar="NAME", help="The scanner.")] = "insertions",
    settings: o.Set = None,
    policy: PolicyFile = None,
    fail_on: Annotated[
        FailOn | None,
        typer.Option("--fail-on", help="Mildest verdict that ends with 1; by default the policy's: suspicious."),
    ] = None,
    allow_undecided: AllowUndecided = False,
    format: Annotated[  # noqa: A002
        Format | None, typer.Option("--format", help="By default the ending of the file says which.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="New file for the report.")] = None,
    clean_rows: Annotated[int, typer.Option("--clean-rows", min=0, help="Use at most as many rows; 0: all.")] = 1000,
    base: o.Base = None,
    labels: o.Labels = None,
    text_column: o.TextColumn = None,
    label_column: o.LabelColumn = None,
    split: o.Split = None,
    drop_empty: Annotated[bool, typer.Option("--drop-empty", help="Leave out rows without text.")] = False,
    max_length: o.MaxLength = None,
) -> int:
    """Say whether a classifier or adapter is backdoored, and by which words.

    Ends with 0 where the verdict is clean, with 1 where it is suspicious or backdoored (--fail-on says from which), with 3 where
    it is undecided: no gate passes what was not seen, unless --allow-undecided says so.
    """
    with desk.working() as progress:
        from untrigger.cli.settings import settings as options_of
        from untrigger.core.files import check_new_paths
        from untrigger.core.registry import get_method
        from untrigger.data import DataSource
        from untrigger.pipeline.requests import ModelInput, RunOptions, ScanRequest
        from untrigger.pipeline.scan import scan as run

        rules, chosen = policy_of(policy, fail_on, allow_undecided=allow_undecided), format_of(format, out)
        if format is not None and out is None and desk.json:
            raise OptionError(
                "--json together with --format", expected="one form of the result", remedy="name a file with --out"
            )
        if out is not None:
            check_new_paths(out)
        rows = DataSource(
            clean or "",
            split=split,
            text_column=text_column,
            label_column=label_column,
            drop_empty=drop_empty,
        )
        spec = ScanRequest(
            model=ModelInput(model, base=base, labels=o.labels_of(labels), max_length=max_length),
            clean=rows if clean is not None else None,
            reference=reference,
            teacher=teacher,
            static_only=static_only,
            rewritten=DataSource(rewritten, drop_empty=drop_empty) if rewritten is not None else None,
            method=method,
            options=options_of(get_method("scanners", method), settings or [], what=f"scanner {method}"),
            policy=rules,
            clean_rows=clean_rows,
            run=RunOptions(seed=desk.seed, device=desk.device, offline=desk.offline),
        )
        report = run(spec, progress=progress)
        text = rendered(report, chosen, out=out)
    tell(desk, report, text=text if out is None else "", out=out)
    return rules.exit_code(report.verdict.status)


def policy_of(file: Path | None, fail_on: FailOn | None, *, allow_undecided: bool) -> Policy:
    """The policy of the file, or the usual one, with what the command line says on top.

    Raises:
        OptionError: for a file that cannot be used, and for words that contradict each other.
    """
    from dataclasses import replace

    from untrigger.scanners.policy import Policy, read_policy

    policy = read_policy(file) if file is not None else Policy()
    if fail_on is not None:
        softened = policy.allow_undecided and fail_on is not FailOn.undecided
        policy = replace(policy, fail_on=fail_on.value, allow_undecided=softened)
    return replace(policy, allow_undecided=True) if allow_undecided else policy


def format_of(format: Format | None, out: Path | None) -> str | None:  # noqa: A002
    """The format that was asked for, or that the ending of ``out`` names; None for the screen."""
    from untrigger.reporting.scan_page import format_of as by_ending

    if format is not None:
        return format.value
    return by_ending(out) if out is not None else None


def rendered(report: Report, chosen: str | None, *, out: Path | None) -> str:
    """The report in the chosen format, written to ``out`` where it is given; empty for the screen."""
    if chosen is None:
        return ""
    from untrigger.core.files import write_text
    from untrigger.reporting.scan_page import render_scan

    text = render_scan(report, format=chosen)
    if out is not None:
        write_text(out, text=text)
    return text


def tell(desk: Desk, report: Report, *, text: str, out: Path | None) -> None:
    """The whole text where one was asked for on standard output, else the candidates, the verdict and the written path."""
    from rich.text import Text

    from untrigger.cli.results import paths, verdict_lines

    if text and not desk.json:
        desk.answer(None, Text(text), bare=text)
        return
    shown: list[RenderableType] = [candidate_table(report)] if report.scan and report.scan.candidates else []
    shown += evidence_lines(report)
    desk.answer(json.loads(report.to_json()), *shown, *verdict_lines(report), *paths([out] if out else []))


def candidate_table(report: Report) -> RenderableType:
    """The worst candidates with the clean reference beside them."""
    from rich.table import Table

    from untrigger.cli.console import said
    from untrigger.reporting.scan_view import COLUMNS, table

    assert report.scan is not None
    kept = [0, 1, 2, 3, 4, 5]
    drawn = Table(title=said(report.title), title_justify="left")
    for i in kept:
        drawn.add_column(COLUMNS[i], justify="left" if i < 2 else "right", no_wrap=i > 1)
    for line in table(report.scan.candidates[:10]):
        drawn.add_row(*(said(line[i]) for i in kept))
    return drawn


def evidence_lines(report: Report) -> list[RenderableType]:
    """The weight evidence, where it is all there is or something of it is unusual."""
    from untrigger.cli.console import said
    from untrigger.reporting.scan_view import evidence

    if report.scan is None:
        return []
    told = [one for one in report.scan.evidence if one.unusual or not report.scan.candidates]
    return [
        f"[dim]weights:[/] {said(': '.join(line[:2]))} [dim]{said(line[3])} {said(line[4])}[/]"
        for line in evidence(told)
    ]
