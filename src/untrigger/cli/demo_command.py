"""``untrigger demo``: a poisoned model purified from end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from untrigger.cli.context import CommandContext
from untrigger.cli.option_groups import with_option_groups

EXAMPLE = "Example: untrigger demo --out untrigger-demo"


@with_option_groups
def demo(
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder for all results.")] = Path(
        "untrigger-demo"
    ),
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Also make the victim, which takes longer.")
    ] = False,
    chat: Annotated[
        bool,
        typer.Option("--chat", help="A chat model with a hidden refusal; it is poisoned first, half an hour more."),
    ] = False,
    context: CommandContext,
) -> int:
    """Purify a poisoned model that comes with untrigger, and show the report.

    To end within eight minutes on two cores, the demo of a classifier takes 40 of the 64 steps that purify takes by
    default, and trains one teacher of three. Ends with 0 whatever the verdict.
    """
    with context.running(out=out) as progress:
        from untrigger.pipeline.demo import demo as classifier
        from untrigger.pipeline.demo_chat import demo_chat
        from untrigger.pipeline.requests import DemoRequest

        run = demo_chat if chat else classifier
        request = DemoRequest(out=out, from_scratch=from_scratch, run=context.run_options())
        report = run(request, progress=progress)
    from untrigger.cli.results import print_report

    pages = [page for pattern in ("report.html", "*/report.html") for page in sorted(out.glob(pattern))]
    print_report(context, report, written=[out, *pages])
    return 0
