"""``untrigger list``: attacks, defences, scanners, data sets, presets and assets that there are, with their options."""

from __future__ import annotations

from dataclasses import MISSING
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from untrigger.cli import options as o
from untrigger.cli.context import Desk, seated
from untrigger.core.errors import OptionError, check_choice

if TYPE_CHECKING:
    from rich.console import RenderableType

    from untrigger.core.registry import Family

EXAMPLE = "Example: untrigger list defences --have clean,teacher"


class Kind(StrEnum):
    """What can be listed."""

    attacks = "attacks"
    defences = "defences"
    scanners = "scanners"
    data = "data"
    presets = "presets"
    assets = "assets"


@seated
def show(
    desk: Desk,
    what: Annotated[
        str | None,
        typer.Argument(metavar="attacks|defences|scanners|data|presets|assets", help="Without it, all of them."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="One preset, or any DATA: its sizes, hashes, and what its splits share."),
    ] = None,
    have: Annotated[
        str | None,
        typer.Option(
            "--have", metavar="A,B", help="Only defences that run with what you have: clean, suspect, teacher."
        ),
    ] = None,
) -> int:
    """List what there is; options of a method are shown when its family is named."""
    kind = None if what is None else Kind(check_choice(what, [one.value for one in Kind], kind="thing to list"))
    if name is not None:
        return tell_one(desk, kind, name)
    with desk.working():
        told = facts(kind, granted=granted(have, kind=kind))
    shown: list[RenderableType] = []
    for name, entries in told.items():
        shown += _drawn(name, entries, whole=kind is not None)
    names = "".join(f"{entry['name']}\n" for entries in told.values() for entry in entries)
    desk.answer(told, *shown, bare=names)
    return 0


def tell_one(desk: Desk, kind: Kind | None, name: str) -> int:
    """The end of the command where one preset or one data set was named.

    Raises:
        OptionError: where something else is listed.
    """
    from untrigger.cli.catalog import told_data, told_preset

    if kind not in (Kind.data, Kind.presets):
        raise OptionError(f"{name!r} with {kind}", expected="untrigger list data DATA, or untrigger list presets NAME")
    with desk.working():
        if kind is Kind.presets:
            told, page = told_preset(name)
            shown, hashes = [page], [told["sha256"]]
        else:
            told, shown = told_data(name, offline=desk.offline)
            hashes = [one["sha256"] for one in told["splits"].values()]
    desk.answer(told, *shown, bare="".join(f"{one}\n" for one in hashes))
    return 0


def granted(have: str | None, *, kind: Kind | None) -> frozenset[str] | None:
    """What the user has, in the words of a grant; None where it was not said.

    Raises:
        OptionError: for another word, or where not defences are listed.
    """
    if have is None:
        return None
    if kind not in (None, Kind.defences):
        raise OptionError(f"--have with {kind}", expected="untrigger list defences --have ...")
    from dataclasses import fields

    from untrigger.core.grant import Grant

    known = [one.name for one in fields(Grant) if one.name != "seed"]
    return frozenset(check_choice(word, known, kind="thing to have") for word in o.words(have))


def facts(kind: Kind | None, *, granted: frozenset[str] | None) -> dict[str, list[dict[str, Any]]]:
    """What is known of each kind that was asked for, as plain values."""
    from untrigger.cli.assets_command import asset_facts
    from untrigger.cli.catalog import data_facts, preset_facts

    wanted = [kind] if kind else [Kind.defences] if granted is not None else list(Kind)
    told: dict[str, list[dict[str, Any]]] = {}
    for one in wanted:
        if one in (Kind.attacks, Kind.scanners):
            told[one.value] = methods(one.value)  # type: ignore[arg-type]
        elif one is Kind.defences:
            told[one.value] = [d for d in defences() if granted is None or set(d["needs"]) <= granted]
        elif one is Kind.data:
            told[one.value] = data_facts()
        elif one is Kind.presets:
            told[one.value] = preset_facts()
        elif kind is not None:
            told[one.value] = asset_facts()
        else:
            told["models"] = asset_facts("model")
    return told


def methods(family: Family) -> list[dict[str, Any]]:
    """Name, summary, needs, variants and options of every method of a family."""
    from untrigger.core.registry import flat_options, methods_of, summary

    return [
        {
            "name": name,
            "summary": summary(kind),
            "needs": sorted(getattr(kind, "needs", ())),
            "variants": sorted(getattr(kind, "variants", {})),
            "options": [
                {"name": one.name, "type": type_name(one.type), "default": plain(one.default), "doc": one.doc}
                for one in flat_options(kind)
            ],
        }
        for name, kind in methods_of(family).items()
    ]


def defences() -> list[dict[str, Any]]:
    """All methods that defend, each with the commands that take it."""
    from untrigger.core.registry import methods_of

    detectors, known = set(methods_of("detectors")), methods("defences")
    purifiers = {one["name"] for one in known}
    alone = [
        one | {"needs": sorted({*one["needs"], "suspect"})}
        for one in methods("detectors")
        if one["name"] not in purifiers
    ]
    both = sorted([*known, *alone], key=lambda one: str(one["name"]))
    by_command = (("purify", purifiers), ("detect", detectors))
    return [one | {"commands": [word for word, names in by_command if one["name"] in names]} for one in both]


def type_name(hint: Any) -> str:
    """A type as Python writes it."""
    return (
        hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint).replace("typing.", "")
    )


def plain(value: Any) -> Any:
    """A default as JSON can hold it; None where an option must be given."""
    if value is MISSING:
        return None
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def bare(text: str) -> str:
    """A docstring's words without its marks for code."""
    return text.replace("``", "")


def _drawn(name: str, entries: list[dict[str, Any]], *, whole: bool) -> list[RenderableType]:
    from untrigger.cli.assets_command import asset_table
    from untrigger.cli.catalog import data_table, preset_table

    title = f"[bold]{name}[/]"
    if name not in (Kind.attacks, Kind.defences, Kind.scanners):
        if name == Kind.data:
            return [title, data_table(entries)]
        return [title, preset_table(entries) if name == Kind.presets else asset_table(entries)]
    if not entries:
        return [title, "none: no method runs with that alone"]
    return [title, _method_table(entries), *(part for entry in entries if whole for part in _options_of(entry))]


def _method_table(entries: list[dict[str, Any]]) -> RenderableType:
    from rich.table import Table

    from untrigger.cli.console import said

    commands = any("commands" in one for one in entries)
    table = Table("name", "needs", "variants", *(["for"] if commands else []), "what it does")
    for one in entries:
        needs, variants = ", ".join(one["needs"]) or "-", ", ".join(one["variants"]) or "-"
        used = [", ".join(one["commands"])] if commands else []
        table.add_row(*map(said, (one["name"], needs, variants, *used, bare(one["summary"]))))
    return table


def _options_of(entry: dict[str, Any]) -> list[RenderableType]:
    from rich.table import Table

    from untrigger.cli.console import said
    from untrigger.reporting.words import scalar

    table = Table("option", "type", "default", "what it is")
    for one in entry["options"]:
        table.add_row(said(one["name"]), said(one["type"]), said(scalar(one["default"])), said(bare(one["doc"])))
    return [f"options of [bold]{said(entry['name'])}[/]", table]
