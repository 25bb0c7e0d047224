"""What ``untrigger list`` tells of data sets and presets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from untrigger.attacks.presets import Preset


def data_facts() -> list[dict[str, Any]]:
    """What is known of every data set: those of the literature, then the other assets."""
    from untrigger.cli.assets_command import asset_facts
    from untrigger.data.public_datasets import PUBLIC_DATASETS

    assets = {one["name"]: one for one in asset_facts("data")}
    told = []
    for one in PUBLIC_DATASETS.values():
        asset = assets.pop(one.asset or "", None)
        told.append(
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
    return told + rest


def preset_facts() -> list[dict[str, Any]]:
    """Every preset: its name, whose protocol it is, its hash and what it says."""
    from untrigger.attacks.presets import PRESETS

    return [one.to_dict() | {"source": one.source} for one in PRESETS.values()]


def data_table(facts: list[dict[str, Any]]) -> RenderableType:
    """One line a data set."""
    from rich.table import Table

    from untrigger.cli.console import said

    table = Table("name", "what it is", "classes", "where it comes from")
    table.columns[0].no_wrap = True
    for one in facts:
        places = [f"asset {one['embedded']} ({one['state']})"] if one["embedded"] else []
        places += [f"hf:{one['hub']}"] if one["hub"] else []
        classes = ", ".join(one["label_names"]) or "-"
        table.add_row(said(one["name"]), said(one["description"]), said(classes), said(", ".join(places)))
    return table


def preset_table(facts: list[dict[str, Any]]) -> RenderableType:
    """One line a preset."""
    from rich.table import Table

    from untrigger.cli.console import said

    table = Table("name", "policy", "rate", "SHA-256", "whose protocol it is")
    table.columns[0].no_wrap = table.columns[3].no_wrap = True
    for one in facts:
        says = one["says"]
        table.add_row(said(one["name"]), says["policy"], str(says["rate"]), one["sha256"][:12], said(one["source"]))
    return table


def told_preset(name: str) -> tuple[dict[str, Any], RenderableType]:
    """All that one preset says, as plain values and as a table.

    Raises:
        OptionError: for an unknown name.
    """
    from untrigger.attacks.presets import preset

    chosen = preset(name)
    return chosen.to_dict() | {"source": chosen.source}, _preset_page(chosen)


def _preset_page(chosen: Preset) -> RenderableType:
    from rich.table import Table

    from untrigger.cli.console import said
    from untrigger.reporting.words import scalar

    table = Table("it says", "value", title=said(f"{chosen.name}: {chosen.source}"), title_justify="left")
    for name, value in chosen.record().items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for key, one in parts:
            inner = ", ".join(f"{k}={scalar(v)}" for k, v in one.items()) if isinstance(one, dict) else scalar(one)
            table.add_row(said(f"{name} {key}".strip()), said(inner))
    table.add_row("SHA-256", chosen.sha256())
    table.columns[1].overflow = "fold"
    return table


def told_data(name: str, *, offline: bool) -> tuple[dict[str, Any], list[RenderableType]]:
    """The card of any data, as plain values and as what is shown.

    Raises:
        DataError: as ``load_data``.
        AssetError: as ``load_data``.
    """
    from rich.table import Table

    from untrigger.cli.console import said
    from untrigger.data import card_of

    card = card_of(name, offline=offline)
    table = Table(
        "split", "rows", "as published", "classes", "content hash", title=said(card.description), title_justify="left"
    )
    table.columns[4].overflow = "fold"
    for split, told in card.splits.items():
        classes = ", ".join(f"{label} {count}" for label, count in told["classes"].items())
        table.add_row(split, str(told["rows"]), str(card.published.get(split, "-")), said(classes), told["sha256"])
    return card.to_dict(), [
        table,
        said(card.overlap_sentence()),
        said(f"source: {card.source}"),
        said(f"licence: {card.licence}"),
    ]
