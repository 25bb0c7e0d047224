"""The methods in ``untrigger list``: their facts as plain values, and the tables that show them."""

from __future__ import annotations

from dataclasses import MISSING
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from untrigger.core.registry import Family


def method_facts(family: Family) -> list[dict[str, Any]]:
    """Return name, summary, needs, what it can also use, variants and options of every method of a family."""
    from untrigger.core.registry import flat_options, methods_of, summary

    return [
        {
            "name": name,
            "summary": summary(kind),
            "needs": sorted(getattr(kind, "needs", ())),
            "uses": sorted(getattr(kind, "uses", ())),
            "variants": sorted(getattr(kind, "variants", {})),
            "options": [
                {"name": one.name, "type": type_name(one.type), "default": json_value(one.default), "doc": one.doc}
                for one in flat_options(kind)
            ],
        }
        for name, kind in methods_of(family).items()
    ]


def defence_facts() -> list[dict[str, Any]]:
    """Return the facts of all purifiers and detectors, each with the commands that take it."""
    from untrigger.core.registry import methods_of

    detectors, known = set(methods_of("detectors")), method_facts("defences")
    purifiers = {one["name"] for one in known}
    alone = [
        one | {"needs": sorted({*one["needs"], "suspect"})}
        for one in method_facts("detectors")
        if one["name"] not in purifiers
    ]
    both = sorted([*known, *alone], key=lambda one: str(one["name"]))
    by_command = (("purify", purifiers), ("detect", detectors))
    return [one | {"commands": [word for word, names in by_command if one["name"] in names]} for one in both]


def language_defence_facts() -> list[dict[str, Any]]:
    """Return the facts of all purifiers of language models."""
    return [one | {"commands": ["purify"]} for one in method_facts("language_defences")]


def type_name(hint: Any) -> str:
    """Return a type as Python writes it."""
    return (
        hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint).replace("typing.", "")
    )


def json_value(value: Any) -> Any:
    """Return a default as JSON can hold it; None where an option must be given."""
    if value is MISSING:
        return None
    if isinstance(value, tuple | list):
        return [json_value(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def without_marks(text: str) -> str:
    """Return a docstring's text without its marks for code."""
    return text.replace("``", "")


def method_table(entries: list[dict[str, Any]], *, details: bool) -> RenderableType:
    """Return one row a method; with ``details`` also its commands and variants."""
    from untrigger.cli.console import escaped, plain_table

    table = plain_table("name", "needs", "what it does")
    table.columns[0].no_wrap = True
    for one in entries:
        text = without_marks(one["summary"])
        if details and one.get("commands"):
            text += f" For {' and '.join(one['commands'])}."
        if details and one["uses"]:
            text += f" Also uses, where given: {', '.join(one['uses'])}."
        if details and one["variants"]:
            text += f" Variants: {', '.join(one['variants'])}."
        table.add_row(
            *map(escaped, (one["name"], "\n".join(one["needs"]) if details else ", ".join(one["needs"]), text))
        )
    return table


def option_table(entry: dict[str, Any]) -> list[RenderableType]:
    """Return the options of a method: name, default and meaning."""
    from untrigger.cli.console import escaped, plain_table
    from untrigger.reporting.words import scalar

    table = plain_table("option", "type", "default", "what it is")
    table.columns[0].no_wrap = True
    for one in entry["options"]:
        doc = escaped(without_marks(one["doc"]))
        table.add_row(escaped(one["name"]), escaped(one["type"]), escaped(scalar(one["default"])), doc)
    return [f"options of [bold]{escaped(entry['name'])}[/]", table, ""]
