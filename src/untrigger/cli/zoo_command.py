"""``untrigger zoo``: small poisoned and benign adapters to try scanners and purifiers on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from untrigger.cli.context import Desk, seated
from untrigger.core.errors import OptionError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from untrigger.zoo import Member

EXAMPLE = "Example: untrigger zoo make badnets-dirty benign-decoy"
app = typer.Typer(help="Small poisoned and benign adapters: a test bed.", epilog=EXAMPLE, invoke_without_command=True)


@app.callback()
@seated
def overview(desk: Desk, context: typer.Context) -> None:
    """Small poisoned and benign adapters, with recipe, truth and figures: list, make, path."""
    if context.invoked_subcommand is None:
        tell_members(desk)


@app.command("list", epilog="Example: untrigger zoo list --json")
@seated
def show(desk: Desk) -> int:
    """What there is, what was measured of it, and what of it is on this machine."""
    tell_members(desk)
    return 0


@app.command(epilog=EXAMPLE)
@seated
def make(
    desk: Desk,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Members; see untrigger zoo list.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every member (an hour and more on two cores).")] = False,
) -> int:
    """Poison, train and measure members anew. What is here already is left as it is.

    Each member's seed is part of its recipe: --seed changes nothing.
    """
    if bool(names) == everything:
        raise OptionError("nothing to make" if not names else "names and --all", expected="one or more names, or --all")
    with desk.working() as progress:
        from untrigger.zoo import RECIPES, member, recipe

        wanted = [recipe(name).name for name in names or RECIPES]
        from untrigger.zoo.make import make as run

        for name in wanted:
            run(name, progress=progress, device=desk.device, offline=desk.offline)
    made = [member(name) for name in wanted]
    desk.answer(
        {"zoo": [one.to_dict() for one in made]}, zoo_table(made), bare="".join(f"{one.path}\n" for one in made)
    )
    return 0


@app.command(epilog="Example: untrigger purify $(untrigger zoo path badnets-dirty) --clean rows.csv --out cleaned")
@seated
def path(
    desk: Desk,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A member that was made.")],
) -> int:
    """Print the adapter's folder of a member, and nothing else. Its truth is in PATH.truth, clean rows in PATH/../clean.csv."""
    from untrigger import zoo
    from untrigger.cli.console import said

    folder = str(zoo.path(name))
    desk.answer({"name": name, "path": folder}, said(folder), bare=folder + "\n")
    return 0


def zoo_table(found: list[Member]) -> RenderableType:
    """One row a member, what it is below its name."""
    from rich.table import Table

    from untrigger.cli.console import said

    colours = {"ready": "green", "outdated": "yellow"}
    table = Table("name", "kind", "CACC", "ASR", "clean model", "here")
    for column in table.columns[1:]:
        column.no_wrap = True
    for one in found:
        kind = "[red]poisoned[/]" if one.recipe.poisoned else "benign"
        here = f"[{colours.get(one.state, 'dim')}]{one.state}[/]"
        table.add_row(
            f"{said(one.recipe.name)}\n[dim]{said(one.recipe.description)}[/]",
            kind,
            share(one.value("cacc")),
            share(one.value("asr")),
            share(one.clean_model_asr),
            here,
        )
    return table


def share(value: float | None) -> str:
    """A rate in per cent, a dash where it was not measured."""
    return "–" if value is None else f"{100 * value:.1f} %"


def tell_members(desk: Desk) -> None:
    """The end of ``zoo list``."""
    from untrigger.zoo import members

    found = members()
    told: dict[str, Any] = {"zoo": [one.to_dict() for one in found]}
    note = "[dim]Figures of members that are ready were measured here; the others' are those that untrigger ships.[/]"
    desk.answer(told, zoo_table(found), note, bare="".join(f"{one.recipe.name}\n" for one in found))
