"""``untrigger doctor``: what is installed, what this machine has, and what is missing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from untrigger.cli.context import CommandContext
from untrigger.cli.option_groups import with_option_groups

if TYPE_CHECKING:
    from rich.console import RenderableType

    from untrigger.pipeline.doctor import Check

EXAMPLE = "Example: untrigger doctor --offline"
UNUSABLE = 2
_COLOURS = {"ok": "green", "note": "yellow", "missing": "red"}


@with_option_groups
def doctor(*, context: CommandContext) -> int:
    """Check this installation: versions, machine, assets, network and speed.

    Some seconds long; the network is not tried with --offline. Ends with 0 where untrigger can be used, with 2 where something
    that it needs is missing.
    """
    with context.running() as progress, progress.task("examining", total=0):
        from untrigger.pipeline.doctor import examine, usable

        checks = examine(offline=context.offline)
        ready = usable(checks)
    sentence = "untrigger can be used" if ready else "untrigger cannot be used: something that it needs is missing"
    colour = "green" if ready else "red"
    value = {"usable": ready, "checks": [asdict(one) for one in checks]}
    context.print_result(value, check_table(checks), f"[bold {colour}]{sentence}[/]")
    return 0 if ready else UNUSABLE


def check_table(checks: list[Check]) -> RenderableType:
    """Return one row a check, its remedy below what was found."""
    from untrigger.cli.console import escaped, plain_table

    table = plain_table("check", "state", "what was found, what to do")
    for column in table.columns[:2]:
        column.no_wrap = True
    topic = ""
    for one in checks:
        if one.topic != topic:
            table.add_row(f"[bold]{one.topic}[/]", "", "")
            topic = one.topic
        remedy = f"\n[dim]remedy:[/] {escaped(one.remedy)}" if one.remedy else ""
        table.add_row(escaped(one.name), f"[{_COLOURS[one.state]}]{one.state}[/]", escaped(one.text) + remedy)
    return table
