"""``untrigger zoo``: small poisoned and benign adapters to try scanners and purifiers on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from untrigger.cli.context import CommandContext
from untrigger.cli.option_groups import with_option_groups
from untrigger.core.errors import OptionError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from untrigger.zoo import Member

EXAMPLE = "Example: untrigger zoo make badnets-dirty benign-decoy"
app = typer.Typer(
    help="Make small poisoned and benign adapters to test on.", epilog=EXAMPLE, invoke_without_command=True
)


@app.callback()
@with_option_groups
def overview(context: CommandContext, typer_context: typer.Context) -> None:
    """Make small poisoned and benign adapters to test on, with recipe, truth and measurements."""
    if typer_context.invoked_subcommand is None:
        print_members(context)


@app.command("list", epilog="Example: untrigger zoo list --json")
@with_option_groups
def show(context: CommandContext) -> int:
    """List all members, their measurements, and which of them are on this machine."""
    print_members(context)
    return 0


@app.command(epilog=EXAMPLE)
@with_option_groups
def make(
    *,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Members; see untrigger zoo list.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every member (an hour and more on two cores).")] = False,
    context: CommandContext,
) -> int:
    """Poison, train and measure members. Those that are here already are left as they are.

    Each member's seed is part of its recipe: --seed changes nothing.
    """
    if bool(names) == everything:
        raise OptionError("nothing to make" if not names else "names and --all", expected="one or more names, or --all")
    with context.running() as progress:
        from untrigger.zoo import RECIPES, member, recipe
        from untrigger.zoo.make import make as run

        wanted = [recipe(name).name for name in names or RECIPES]
        for name in wanted:
            run(name, progress=progress, device=context.device.value, offline=context.offline)
    made = [member(name) for name in wanted]
    bare = "".join(f"{one.path}\n" for one in made)
    context.print_result({"zoo": [one.to_dict() for one in made]}, member_table(made), bare=bare)
    return 0


@app.command(epilog="Example: untrigger purify $(untrigger zoo path badnets-dirty) --clean rows.csv --out cleaned")
@with_option_groups
def path(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A member that was made.")],
    context: CommandContext,
) -> int:
    """Print the adapter's folder of a member, and nothing else.

    Its truth is in PATH.truth, clean rows in PATH/../clean.csv.
    """
    from untrigger import zoo
    from untrigger.cli.console import escaped

    folder = str(zoo.path(name))
    context.print_result({"name": name, "path": folder}, escaped(folder), bare=folder + "\n")
    return 0


def member_table(members: list[Member]) -> RenderableType:
    """Return one row a member: rates in per cent, the attack success also of its clean model."""
    from untrigger.cli.console import escaped, plain_table

    colours = {"ready": "green", "outdated": "yellow"}
    table = plain_table("name", "CACC", "ASR", "clean\nmodel", "here", "what it is")
    for column in table.columns[:5]:
        column.no_wrap = True
    for column in table.columns[1:4]:
        column.justify = "right"
    for one in members:
        table.add_row(
            f"[{'red' if one.recipe.poisoned else 'default'}]{escaped(one.recipe.name)}[/]",
            percent(one.value("cacc")),
            percent(one.value("asr")),
            percent(one.clean_model_asr),
            f"[{colours.get(one.state, 'dim')}]{one.state}[/]",
            escaped(one.recipe.description),
        )
    return table


def percent(value: float | None) -> str:
    """Return a rate in per cent, a dash where it was not measured."""
    return "–" if value is None else f"{100 * value:.1f}"


def print_members(context: CommandContext) -> None:
    """Print all members of the zoo."""
    from untrigger.zoo import list_members

    with context.running():
        listed = list_members()
    facts: dict[str, Any] = {"zoo": [one.to_dict() for one in listed]}
    note = "[dim]Rates in per cent: measured here where ready, else as shipped with untrigger.[/]"
    bare = "".join(f"{one.recipe.name}\n" for one in listed)
    context.print_result(facts, member_table(listed), note, bare=bare)
