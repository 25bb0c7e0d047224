"""``untrigger assets``: models and data sets that are fetched, checked and kept on this machine."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from untrigger.cli.context import Desk, seated

EXAMPLE = "Example: untrigger assets fetch minilm-l6 rotten-tomatoes"
app = typer.Typer(help="Models and data sets that install without a hub.", epilog=EXAMPLE, invoke_without_command=True)


@app.callback()
@seated
def overview(desk: Desk, context: typer.Context) -> None:
    """Models and data sets that install without a hub: list, fetch, verify, path."""
    if context.invoked_subcommand is None:
        tell_assets(desk)


@app.command("list", epilog="Example: untrigger assets list --json")
@seated
def show(desk: Desk) -> int:
    """What there is, and what of it is on this machine."""
    tell_assets(desk)
    return 0


@app.command(epilog=EXAMPLE)
@seated
def fetch(
    desk: Desk,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Assets; see untrigger assets list.")],
) -> int:
    """Download, check and build assets. What is there already is left as it is if it is whole, else built again."""
    with desk.working() as bars, bars.bytes() as listener:
        from untrigger import assets

        known = [assets.asset(name).name for name in names]
        damaged = {name: assets.damage(name) for name in known}
        folders = {
            name: assets.fetch(name, progress=listener, offline=desk.offline, rebuild=bool(wrong) and not desk.offline)
            for name, wrong in damaged.items()
        }
    from untrigger.cli.console import said

    told = [{"name": name, "path": str(folder), "was_damaged": damaged[name]} for name, folder in folders.items()]
    rebuilt = {name: f" (built again: {'; '.join(wrong)})" if wrong else "" for name, wrong in damaged.items()}
    desk.answer(
        {"assets": told}, *(f"{said(name)}: {said(folder)}{said(rebuilt[name])}" for name, folder in folders.items())
    )
    return 0


@app.command(epilog="Example: untrigger assets verify")
@seated
def verify(
    desk: Desk,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Assets; none: all that are here.")
    ] = None,
) -> int:
    """Hash every file of the assets that are here against what was built from the pinned packages."""
    from untrigger import assets
    from untrigger.cli.console import said
    from untrigger.core.errors import AssetError

    folders, damaged = dict[str, str](), list[str]()
    for name in names or [one.name for one in assets.listing() if one.path.exists()]:
        try:
            folders[name] = str(assets.verify(name))
        except AssetError as error:
            damaged.append(error.what)
    if damaged:
        raise AssetError(
            "; ".join(damaged), remedy="run `untrigger assets fetch` with their names: what is damaged is built again"
        )
    told = [{"name": name, "path": folder} for name, folder in folders.items()]
    desk.answer({"assets": told}, *(f"{said(name)}: whole, {said(folder)}" for name, folder in folders.items()))
    return 0


@app.command(epilog="Example: untrigger assets path minilm-l6")
@seated
def path(
    desk: Desk,
    name: Annotated[str, typer.Argument(metavar="NAME", help="An asset that was fetched.")],
) -> int:
    """Print the folder of a fetched asset, and nothing else."""
    from untrigger import assets
    from untrigger.cli.console import said

    folder = str(assets.path(name))
    desk.answer({"name": name, "path": folder}, said(folder), bare=folder + "\n")
    return 0


def asset_facts(kind: str | None = None) -> list[dict[str, Any]]:
    """What is known of every asset, of one kind (``model`` or ``data``) if so asked."""
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


def asset_table(facts: list[dict[str, Any]]) -> Any:
    """One line an asset."""
    from rich.table import Table

    from untrigger.cli.console import said
    from untrigger.reporting.words import size

    colours = {"ready": "green", "partial": "yellow"}
    table = Table("name", "kind", "here", "size", "licence", "what it is")
    for one in facts:
        here = f"[{colours.get(one['state'], 'dim')}]{one['state']}[/]"
        table.add_row(
            said(one["name"]),
            one["kind"],
            here,
            size(one["size_when_ready"]),
            said(one["licence"]),
            said(one["description"]),
        )
    return table


def tell_assets(desk: Desk) -> None:
    """The end of ``assets list``."""
    facts = asset_facts()
    desk.answer({"assets": facts}, asset_table(facts), bare="".join(f"{one['name']}\n" for one in facts))
