"""What of the zoo is on this machine, and what was measured of it, here or by those who ship untrigger."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from untrigger.assets.home import home_folder
from untrigger.core.errors import AssetError
from untrigger.zoo.recipes import RECIPES, Recipe, recipe

Home = str | os.PathLike[str] | None
State = Literal["ready", "outdated", "absent"]
RECEIPT = "zoo.json"
INDEX = "index.json"


@dataclass(frozen=True)
class Member:
    """One member: its recipe, and what is known of a build of it.

    Attributes:
        recipe: how it is made.
        state: ``ready`` where it lies here, ``outdated`` where it was made here by another recipe.
        path: the adapter's folder; the truth lies beside it.
        told: the receipt of the build here, else the shipped one: hashes, bytes, measurements; empty where nobody has
            measured this recipe yet.
    """

    recipe: Recipe
    state: State
    path: Path
    told: dict[str, Any] = field(default_factory=dict)

    def value(self, metric: str) -> float | None:
        """What was measured; None where it was not."""
        found = self.told.get("measured", {}).get(metric, {}).get("value")
        return float(found) if isinstance(found, int | float) else None

    def facts(self) -> dict[str, Any]:
        """The member as plain JSON values."""
        return {
            "name": self.recipe.name,
            "what": self.recipe.what,
            "poisoned": self.recipe.poisoned,
            "state": self.state,
            "path": str(self.path),
            "recipe": self.recipe.record(),
            "recipe_sha256": self.recipe.sha256(),
            "told": self.told,
        }


def member(name: str, *, home: Home = None) -> Member:
    """The member of that name.

    Raises:
        OptionError: for an unknown name.
    """
    return _member(recipe(name), home=home, index=shipped())


def list_members(*, home: Home = None) -> list[Member]:
    """Every member, in the order of the recipes."""
    index = shipped()
    return [_member(one, home=home, index=index) for one in RECIPES.values()]


def path(name: str, *, home: Home = None) -> Path:
    """The adapter's folder of a member that lies here.

    Raises:
        AssetError: if it was not made here, or by another recipe.
        OptionError: for an unknown name.
    """
    found = member(name, home=home)
    if found.state != "ready":
        raise AssetError(
            f"{name} is not on this machine" if found.state == "absent" else f"{name} was made here by another recipe",
            remedy=f"run `untrigger zoo make {name}`",
        )
    return found.path


def folder_of(name: str, *, home: Home = None) -> Path:
    """The folder that holds, or will hold, a member with all that belongs to it."""
    return home_folder(home) / "zoo" / name


def shipped() -> dict[str, Any]:
    """The receipts that are shipped, by name."""
    told: dict[str, Any] = json.loads((resources.files("untrigger.zoo") / INDEX).read_text(encoding="utf-8"))
    return told


def _member(one: Recipe, *, home: Home, index: dict[str, Any]) -> Member:
    folder = folder_of(one.name, home=home)
    own, whole = _receipt(folder), one.sha256()
    state: State = "absent" if own is None else "ready" if own.get("recipe_sha256") == whole else "outdated"
    told = own if own is not None and state == "ready" else index.get(one.name, {})
    return Member(one, state, folder / one.name, told if told.get("recipe_sha256") == whole else {})


def _receipt(folder: Path) -> dict[str, Any] | None:
    """The receipt in a member's folder; None where there is none that can be read, or no adapter beside it."""
    try:
        told = json.loads((folder / RECEIPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(told, dict) and (folder / folder.name / "adapter_model.safetensors").is_file()
    return told if whole else None
