"""``untrigger demo``: a poisoned model purified from end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from untrigger.cli.context import Desk, seated

EXAMPLE = "Example: untrigger demo --out untrigger-demo"


@seated
def demo(
    desk: Desk,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder for all of it.")] = Path(
        "untrigger-demo"
    ),
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Also make the victim, which takes longer.")
    ] = False,
) -> int:
    """Purify a poisoned model that comes with untrigger, and show the report.

    To end within eight minutes on two cores, it takes 40 of the 64 steps that purify takes by default, and
    asks one teacher of three. Ends with 0 whatever the verdict.
    """
    with desk.working() as progress:
        from untrigger.pipeline.demo import demo as run
        from untrigger.pipeline.requests import DemoRequest, RunOptions

        options = RunOptions(seed=desk.seed, device=desk.device, offline=desk.offline)
        spec = DemoRequest(out=out, from_scratch=from_scratch, run=options)
        report = run(spec, progress=progress)
    from untrigger.cli.results import tell_report

    pages = [page for pattern in ("report.html", "*/report.html") for page in sorted(out.glob(pattern))]
    tell_report(desk, report, written=[out, *pages])
    return 0
