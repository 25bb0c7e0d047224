"""``untrigger list``: attacks, behaviours, defences, guards, scanners, data sets, presets and assets, with their options."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from untrigger.cli import options as o
from untrigger.cli.context import CommandContext
from untrigger.cli.option_groups import with_option_groups
from untrigger.cli.renamed import KINDS
from untrigger.core.errors import OptionError, check_choice

if TYPE_CHECKING:
    from rich.console import RenderableType

EXAMPLE = "Example: untrigger list defences --have clean,teacher"


class Kind(StrEnum):
    """What can be listed."""

    attacks = "attacks"
    behaviours = "behaviours"
    defences = "defences"
    language_defences = "language-defences"
    guards = "guards"
    scanners = "scanners"
    data = "data"
    presets = "presets"
    assets = "assets"


_METHODS = (Kind.attacks, Kind.behaviours, Kind.defences, Kind.language_defences, Kind.guards, Kind.scanners)
_DEFENCES = (Kind.defences, Kind.language_defences)


@with_option_groups
def show(
    *,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="attacks, behaviours, defences, language-defences, guards, scanners, data, presets or assets; all of them "
            "without it.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="One preset, or any DATA: its sizes, hashes, and what its splits share."),
    ] = None,
    have: Annotated[
        str | None,
        typer.Option(
            "--have",
            metavar="A,B",
            help="Only defences that run with what you have: clean, unlabelled, suspect, teacher, base.",
        ),
    ] = None,
    context: CommandContext,
) -> int:
    """List methods, data sets, presets and models; a kind alone with all options."""
    kind = None if what is None else kind_named(what)
    if name is not None:
        return show_one(context, kind, name)
    with context.running():
        facts = facts_of(kind, available=needs_met(have, kind=kind))
    lines: list[RenderableType] = []
    for each, entries in facts.items():
        lines += _section(each, entries, details=kind is not None)
    names = [str(entry["name"]) for entries in facts.values() for entry in entries]
    context.print_result(facts, *lines, bare="".join(f"{one}\n" for one in names))
    return 0


def kind_named(word: str) -> Kind:
    """Return the kind of that name.

    Raises:
        OptionError: for another word; for an old name with the new one.
    """
    if word in KINDS:
        raise OptionError(f"{word!r} is called {KINDS[word]!r} now", remedy=f"write untrigger list {KINDS[word]}")
    return Kind(check_choice(word, [one.value for one in Kind], kind="thing to list"))


def show_one(context: CommandContext, kind: Kind | None, name: str) -> int:
    """Print one preset, or one data set with the hashes of its splits.

    Raises:
        OptionError: for another kind.
    """
    from untrigger.cli.catalog import data_page, preset_page

    if kind not in (Kind.data, Kind.presets):
        raise OptionError(f"{name!r} with {kind}", expected="untrigger list data DATA, or untrigger list presets NAME")
    with context.running():
        if kind is Kind.presets:
            facts, lines = preset_page(name)
            hashes = [facts["sha256"]]
        else:
            facts, lines = data_page(name, offline=context.offline)
            hashes = [one["sha256"] for one in facts["splits"].values()]
    context.print_result(facts, *lines, bare="".join(f"{one}\n" for one in hashes))
    return 0


def needs_met(have: str | None, *, kind: Kind | None) -> frozenset[str] | None:
    """Return what the user has, in the words of a grant; None where that was not given.

    Raises:
        OptionError: for another word, or where other things than defences are listed.
    """
    if have is None:
        return None
    if kind not in (None, *_DEFENCES):
        raise OptionError(f"--have with {kind}", expected="untrigger list defences --have ...")
    from dataclasses import fields

    from untrigger.core.grant import Grant

    known = [one.name for one in fields(Grant) if one.name != "seed"]
    return frozenset(check_choice(word, known, kind="thing to have") for word in o.split_list(have))


def facts_of(kind: Kind | None, *, available: frozenset[str] | None) -> dict[str, list[dict[str, Any]]]:
    """Return the facts of one kind, or of all; with ``available`` only of the defences that need no more."""
    from untrigger.cli.assets_command import asset_facts
    from untrigger.cli.catalog import data_facts, preset_facts
    from untrigger.cli.method_list import defence_facts, language_defence_facts, method_facts

    facts = {
        Kind.attacks: lambda: method_facts("attacks"),
        Kind.behaviours: lambda: method_facts("behaviours"),
        Kind.defences: lambda: _usable(defence_facts(), available),
        Kind.language_defences: lambda: _usable(language_defence_facts(), available),
        Kind.guards: lambda: method_facts("guards"),
        Kind.scanners: lambda: method_facts("scanners"),
        Kind.data: data_facts,
        Kind.presets: preset_facts,
        Kind.assets: asset_facts,
    }
    if kind is not None:
        return {kind.value: facts[kind]()}
    if available is not None:
        return {one.value: facts[one]() for one in _DEFENCES}
    listed = {one.value: facts[one]() for one in Kind if one is not Kind.assets}
    return listed | {"models": asset_facts("model")}


def _usable(entries: list[dict[str, Any]], available: frozenset[str] | None) -> list[dict[str, Any]]:
    """Return the methods that need no more than what is available; all where that is None."""
    return [one for one in entries if available is None or available >= set(one["needs"])]


def _section(name: str, entries: list[dict[str, Any]], *, details: bool) -> list[RenderableType]:
    """Return the title and the table of one kind; with ``details`` also the options of methods."""
    from untrigger.cli.assets_command import asset_table
    from untrigger.cli.catalog import data_table, preset_table
    from untrigger.cli.method_list import method_table, option_table

    title = f"[bold]{name}[/]"
    if name not in _METHODS:
        tables = {Kind.data.value: data_table, Kind.presets.value: preset_table}
        return [title, tables.get(name, asset_table)(entries), ""]
    if not entries:
        return [title, "none: no method runs with that alone", ""]
    options = [part for entry in entries if details for part in option_table(entry)]
    return [title, method_table(entries, details=details), "", *options]
