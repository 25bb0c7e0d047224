"""``untrigger assets``: models and data sets that are fetched, checked and kept on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from untrigger.cli.context import CommandContext
from untrigger.cli.option_groups import with_option_groups

if TYPE_CHECKING:
    from rich.console import RenderableType

EXAMPLE = "Example: untrigger assets fetch minilm-l6 rotten-tomatoes"
app = typer.Typer(help="List, fetch and verify models and data sets.", epilog=EXAMPLE, invoke_without_command=True)


@app.callback()
@with_option_groups
def overview(context: CommandContext, typer_context: typer.Context) -> None:
    """List, fetch and verify models and data sets that install without a hub."""
    if typer_context.invoked_subcommand is None:
        print_assets(context)


@app.command("list", epilog="Example: untrigger assets list --json")
@with_option_groups
def show(context: CommandContext) -> int:
    """List all assets, and which of them are on this machine."""
    print_assets(context)
    return 0


@app.command(epilog=EXAMPLE)
@with_option_groups
def fetch(
    *,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Assets; see untrigger assets list.")],
    context: CommandContext,
) -> int:
    """Download, check and build assets. An asset that is here and whole is left as it is, a damaged one is built again."""
    with context.running() as bars, bars.bytes() as listener:
        from untrigger import assets

        known = [assets.asset(name).name for name in names]
        damaged = {name: assets.damage(name) for name in known}
        folders = {
            name: assets.fetch(
                name, progress=listener, offline=context.offline, rebuild=bool(wrong) and not context.offline
            )
            for name, wrong in damaged.items()
        }
    from untrigger.cli.console import escaped

    facts = [{"name": name, "path": str(folder), "was_damaged": damaged[name]} for name, folder in folders.items()]
    rebuilt = {name: f" (built again: {'; '.join(wrong)})" if wrong else "" for name, wrong in damaged.items()}
    context.print_result(
        {"assets": facts}, *(escaped(f"{name}: {folder}{rebuilt[name]}") for name, folder in folders.items())
    )
    return 0


@app.command(epilog="Example: untrigger assets verify")
@with_option_groups
def verify(
    *,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Assets; none: all that are here.")
    ] = None,
    context: CommandContext,
) -> int:
    """Hash every file of the assets that are here against what was built from the pinned packages."""
    from untrigger import assets
    from untrigger.cli.console import escaped
    from untrigger.core.errors import AssetError

    folders, damaged = dict[str, str](), list[str]()
    for name in names or [one.name for one in assets.listing() if one.path.exists()]:
        try:
            folders[name] = str(assets.verify(name))
        except AssetError as error:
            damaged.append(error.what)
    if damaged:
        raise AssetError(
            "; ".join(damaged), remedy="run `untrigger assets fetch` with their names: damaged assets are built again"
        )
    facts = [{"name": name, "path": folder} for name, folder in folders.items()]
    lines = (escaped(f"{name}: whole, {folder}") for name, folder in folders.items())
    context.print_result({"assets": facts}, *lines)
    return 0


@app.command(epilog="Example: untrigger assets path minilm-l6")
@with_option_groups
def path(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="An asset that was fetched.")],
    context: CommandContext,
) -> int:
    """Print the folder of a fetched asset, and nothing else."""
    from untrigger import assets
    from untrigger.cli.console import escaped

    folder = str(assets.path(name))
    context.print_result({"name": name, "path": folder}, escaped(folder), bare=folder + "\n")
    return 0


def asset_facts(kind: str | None = None) -> list[dict[str, Any]]:
    """Return the facts of every asset, or of those of one kind (``model`` or ``data``)."""
    from untrigger import assets

    return [
        {
            "name": one.name,
            "kind": one.kind,
            "state": one.state,
            "bytes": one.bytes,
            "path": str(one.path),
            "size_when_ready": assets.CATALOGUE[one.name].bytes,
            "licence": assets.CATALOGUE[one.name].licence,
            "description": assets.CATALOGUE[one.name].description,
        }
        for one in assets.listing()
        if kind in (None, one.kind)
    ]


def asset_table(facts: list[dict[str, Any]]) -> RenderableType:
    """Return one row an asset, its licence below the description."""
    from untrigger.cli.console import escaped, plain_table
    from untrigger.reporting.words import size

    colours = {"ready": "green", "partial": "yellow"}
    table = plain_table("name", "kind", "here", "size", "what it is, its licence")
    for column in table.columns[:4]:
        column.no_wrap = True
    for one in facts:
        here = f"[{colours.get(one['state'], 'dim')}]{one['state']}[/]"
        text = f"{escaped(one['description'])}\n[dim]{escaped(one['licence'])}[/]"
        table.add_row(escaped(one["name"]), one["kind"], here, size(one["size_when_ready"]), text)
    return table


def print_assets(context: CommandContext) -> None:
    """Print all assets."""
    with context.running():
        facts = asset_facts()
    context.print_result({"assets": facts}, asset_table(facts), bare="".join(f"{one['name']}\n" for one in facts))
