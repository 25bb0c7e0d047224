"""Data sets and presets in ``untrigger list``: their facts as plain values, and the tables that show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from untrigger.attacks.presets import PublishedSettings


def data_facts() -> list[dict[str, Any]]:
    """Return the facts of every data set: those of the literature, then the other assets."""
    from untrigger.cli.assets_command import asset_facts
    from untrigger.data.public_datasets import PUBLIC_DATASETS

    assets = {one["name"]: one for one in asset_facts("data")}
    facts = []
    for one in PUBLIC_DATASETS.values():
        asset = assets.pop(one.asset or "", None)
        facts.append(
            {
                "name": one.name,
                "description": one.description,
                "label_names": list(one.label_names),
                "embedded": one.asset,
                "hub": one.hub,
                "state": asset["state"] if asset else "absent",
                "published": dict(one.published_sizes),
                "licence": asset["licence"] if asset else one.licence,
            }
        )
    rest = [one | {"label_names": [], "embedded": one["name"], "hub": None, "published": {}} for one in assets.values()]
    return facts + rest


def preset_facts() -> list[dict[str, Any]]:
    """Return the facts of every preset: name, source, hash and settings; of language models what differs from the source too."""
    from untrigger.attacks.presets import BEHAVIOUR_PRESETS, PRESETS

    return [_preset_facts(one) for one in [*PRESETS.values(), *BEHAVIOUR_PRESETS.values()]]


def _preset_facts(one: PublishedSettings) -> dict[str, Any]:
    notes = {name: getattr(one, name) for name in ("source", "differs") if hasattr(one, name)}
    return one.to_dict() | notes


def data_table(facts: list[dict[str, Any]]) -> RenderableType:
    """Return one row a data set, its classes and sources below the description."""
    from untrigger.cli.console import escaped, plain_table

    table = plain_table("name", "what it is, its classes, where it comes from")
    table.columns[0].no_wrap = True
    for one in facts:
        places = [f"asset {one['embedded']} ({one['state']})"] if one["embedded"] else []
        places += [f"hf:{one['hub']}"] if one["hub"] else []
        classes = [", ".join(one["label_names"])] if one["label_names"] else []
        table.add_row(
            escaped(one["name"]),
            f"{escaped(one['description'])}\n[dim]{escaped('; '.join([*classes, *places]))}[/]",
        )
    return table


def preset_table(facts: list[dict[str, Any]]) -> RenderableType:
    """Return one row a preset."""
    from untrigger.cli.console import escaped, plain_table

    table = plain_table("name", "policy, behaviours", "rate", "SHA-256", "whose protocol it is")
    for column in (table.columns[i] for i in (0, 2, 3)):
        column.no_wrap = True
    for one in facts:
        says = one["says"]
        table.add_row(
            escaped(one["name"]),
            escaped(", ".join(says.get("behaviours") or [says["policy"]])),
            f"{says['count']} prompts" if says.get("count") else str(says["rate"]),
            one["sha256"][:12],
            escaped(one["source"]),
        )
    return table


def preset_page(name: str) -> tuple[dict[str, Any], list[RenderableType]]:
    """Return all settings of one preset, as plain values and as a table.

    Raises:
        OptionError: for an unknown name.
    """
    from untrigger.attacks.presets import BEHAVIOUR_PRESETS, preset

    chosen = BEHAVIOUR_PRESETS.get(name) or preset(name)
    return _preset_facts(chosen), [_preset_table(chosen)]


def _preset_table(chosen: PublishedSettings) -> RenderableType:
    from untrigger.cli.console import escaped, plain_table
    from untrigger.reporting.words import scalar

    table = plain_table("setting", "value", title=escaped(f"{chosen.name}: {chosen.source}"))
    for name, value in chosen.record().items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for key, one in parts:
            inner = ", ".join(f"{k}={scalar(v)}" for k, v in one.items()) if isinstance(one, dict) else scalar(one)
            table.add_row(escaped(f"{name} {key}".strip()), escaped(inner))
    if differs := getattr(chosen, "differs", ""):
        table.add_row("differs", escaped(differs))
    table.add_row("SHA-256", chosen.sha256())
    return table


def data_page(name: str, *, offline: bool) -> tuple[dict[str, Any], list[RenderableType]]:
    """Return the card of any data, as plain values and as lines.

    Raises:
        DataError: as ``load_data``.
        AssetError: as ``load_data``.
    """
    from untrigger.cli.console import escaped, plain_table
    from untrigger.data import card_of

    card = card_of(name, offline=offline)
    table = plain_table("split", "rows", "as published", "classes", "content hash", title=escaped(card.description))
    for split, facts in card.splits.items():
        classes = ", ".join(f"{label} {count}" for label, count in facts["classes"].items())
        published = str(card.published.get(split, "-"))
        table.add_row(split, str(facts["rows"]), published, escaped(classes), facts["sha256"])
    sources = (card.overlap_sentence(), f"source: {card.source}", f"licence: {card.licence}")
    return card.to_dict(), [table, *map(escaped, sources)]
