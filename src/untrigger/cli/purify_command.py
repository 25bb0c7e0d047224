"""``untrigger purify``: the same model without its backdoor, in the same format, with evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from untrigger.cli import options as o
from untrigger.cli.context import Desk, seated

if TYPE_CHECKING:
    from untrigger.core.registry import Family

EXAMPLE = """Example: untrigger purify suspicious-adapter --clean rows.csv --out cleaned --set unlearn.rounds=2

From scan to cure: untrigger purify suspicious-model --clean rows.csv --out cleaned --scan --set rounds=4"""

USUAL = "ours"
"""The word for a method without a variant."""


@seated
def purify(
    desk: Desk,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Folder or hub name of the suspicious model or adapter.")
    ],
    clean: Annotated[str, typer.Option("--clean", metavar="DATA", help="Labelled rows of the task that you trust.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder for model, card and reports.")],
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="NAME[,NAME]",
            help="See untrigger list defences; several work in turn. Usually w2sdefense.",
        ),
    ] = "",
    scan: Annotated[
        bool,
        typer.Option(
            "--scan", help="Unlearn what a scan recovers, scan again, until nothing is found: the method scancure."
        ),
    ] = False,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="FILE", help="With --scan: TOML file with thresholds and allowed findings."),
    ] = None,
    variant: Annotated[str, typer.Option("--variant", metavar="NAME", help="A variant of the method.")] = "",
    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher", metavar="MODEL", help="Small encoder that you trust; where one is needed, minilm-l6."
        ),
    ] = None,
    suspect: Annotated[
        str | None,
        typer.Option("--suspect", metavar="DATA", help="Rows that the model may have been trained on, unmarked."),
    ] = None,
    settings: o.Set = None,
    clean_rows: Annotated[int, typer.Option("--clean-rows", min=0, help="Use at most as many rows; 0: all.")] = 1000,
    control: Annotated[
        bool, typer.Option("--control/--no-control", help="Also run plain fine-tuning of the same budget.")
    ] = True,
    benign: Annotated[bool, typer.Option("--benign", help="Also purify the clean twin of the truth folder.")] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify", help="Without --truth, scan the result on held-out rows (else it is not verified)."
        ),
    ] = True,
    merge: Annotated[bool, typer.Option("--merge", help="Write merged full weights instead of an adapter.")] = False,
    truth: o.Truth = None,
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="MODEL", help="The pre-trained model that it was made from, if you trust it."),
    ] = None,
    labels: o.Labels = None,
    text_column: o.TextColumn = None,
    label_column: o.LabelColumn = None,
    split: o.Split = None,
    drop_empty: Annotated[bool, typer.Option("--drop-empty", help="Leave out rows without text.")] = False,
    max_length: o.MaxLength = None,
    allow_pickle: o.AllowPickle = False,
) -> int:
    """Remove a backdoor from a classifier or adapter.

    An adapter in gives one adapter out, on the same base. Ends with 0 where the evidence shows a purified model, or nothing was
    found; with 1 where a stated bound was not met or something is still found; with 3 where the evidence does not suffice.
    """
    with desk.working() as progress:
        from untrigger.data import DataSource
        from untrigger.pipeline.purify import purify as run
        from untrigger.pipeline.requests import ModelInput, PurifyRequest, RunOptions, purifier_name

        method = purifier_name(method, scan=scan)
        options = method_options(method, variant, given=settings or []) | policy_options(
            policy, method, given=settings or []
        )
        rows = DataSource(
            clean,
            split=split,
            text_column=text_column,
            label_column=label_column,
            drop_empty=drop_empty,
        )
        spec = PurifyRequest(
            model=ModelInput(
                model, base=base, labels=o.labels_of(labels), max_length=max_length, allow_pickle=allow_pickle
            ),
            clean=rows,
            out=out,
            suspect=replace(rows, name=suspect, split=None) if suspect is not None else None,
            method=method,
            scan=scan,
            variant=variant,
            teacher=teacher,
            options=options,
            truth=truth,
            merge=merge,
            clean_rows=clean_rows,
            control=control,
            benign=benign,
            verify=verify,
            run=RunOptions(seed=desk.seed, device=desk.device, offline=desk.offline),
        )
        report = run(spec, progress=progress)
    from untrigger.cli.results import tell_report
    from untrigger.core.verdicts import exit_code

    tell_report(desk, report, written=[out, out / "report.json", out / "report.html"])
    return exit_code(report.verdict.status)


def policy_options(file: Path | None, method: str, *, given: Sequence[str]) -> dict[str, Any]:
    """The policy file as an option of the method that scans, none where no file was given.

    Raises:
        OptionError: for another method, for a policy that is set twice, and for a file that cannot be used.
    """
    from untrigger.core.errors import OptionError
    from untrigger.pipeline.requests import SCANNING_PURIFIER

    if file is None:
        return {}
    if method != SCANNING_PURIFIER:
        raise OptionError(
            f"--policy with the method {method!r}, which does not scan", expected="--policy together with --scan"
        )
    if twice := [item for item in given if item.strip().startswith("policy.")]:
        raise OptionError(
            f"--policy and --set {twice[0]}", expected="one of the two", remedy="write it in the policy file"
        )
    from untrigger.scanners.policy import read_policy

    return {"policy": read_policy(file)}


def method_options(method: str, variant: str, *, given: Sequence[str], family: Family = "defences") -> dict[str, Any]:
    """The options of ``--set`` for a method, its nested records started from the variant's; of several, by method name.

    Raises:
        OptionError: for an unknown method, variant or option, or a value of the wrong type.
    """
    from untrigger.cli.settings import settings
    from untrigger.core.errors import OptionError, check_choice
    from untrigger.core.registry import get_method

    names = [name.strip() for name in method.split(",")]
    if len(names) > 1:
        loose = [item for item in given if item.partition(".")[0] not in names]
        if loose:
            raise OptionError(f"--set {loose[0]}", expected="METHOD.KEY=VALUE, the method one of " + ", ".join(names))
        own = {name: [item.partition(".")[2] for item in given if item.partition(".")[0] == name] for name in names}
        return {name: method_options(name, "", given=items) for name, items in own.items() if items}
    kind = get_method(family, method)
    variants = getattr(kind, "variants", {})
    other = variant not in ("", USUAL)
    if other:
        check_choice(variant, [*variants, USUAL], kind=f"variant of {method}")
    base = variants[variant]() if other and given else None
    return settings(kind if base is None else type(base), given, what=f"method {method}", base=base)
