"""The zoo's members on this machine, and the receipts of their builds, made here or shipped with untrigger."""

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
        state: ``ready`` if it is on this machine, ``outdated`` if it was made here by another recipe.
        path: the adapter's folder; the truth folder is next to it.
        receipt: the receipt of the build here, else the shipped one: hashes, bytes, measurements; empty if this recipe was
            never measured.
    """

    recipe: Recipe
    state: State
    path: Path
    receipt: dict[str, Any] = field(default_factory=dict)

    def value(self, metric: str) -> float | None:
        """Return the measured value of a metric; None if it was not measured."""
        value = self.receipt.get("measured", {}).get(metric, {}).get("value")
        return float(value) if isinstance(value, int | float) else None

    @property
    def clean_model_asr(self) -> float | None:
        """Return the attack success rate of the clean model on the same triggered rows; None if it was not measured."""
        value = self.receipt.get("clean_model_asr")
        return float(value) if isinstance(value, int | float) else None

    def to_dict(self) -> dict[str, Any]:
        """Return the member as plain JSON values."""
        return {
            "name": self.recipe.name,
            "description": self.recipe.description,
            "poisoned": self.recipe.poisoned,
            "state": self.state,
            "path": str(self.path),
            "recipe": self.recipe.to_dict(),
            "recipe_sha256": self.recipe.sha256(),
            "receipt": self.receipt,
        }


def member(name: str, *, home: Home = None) -> Member:
    """Return the member of that name.

    Raises:
        OptionError: for an unknown name.
    """
    return _member(recipe(name), home=home, index=shipped_receipts())


def list_members(*, home: Home = None) -> list[Member]:
    """Return every member, in the order of the recipes."""
    index = shipped_receipts()
    return [_member(one, home=home, index=index) for one in RECIPES.values()]


def path(name: str, *, home: Home = None) -> Path:
    """Return the adapter's folder of a member that is on this machine.

    Raises:
        AssetError: if it was not made here, or by another recipe.
        OptionError: for an unknown name.
    """
    one = member(name, home=home)
    if one.state != "ready":
        raise AssetError(
            f"{name} is not on this machine" if one.state == "absent" else f"{name} was made here by another recipe",
            remedy=f"run `untrigger zoo make {name}`",
        )
    return one.path


def folder_of(name: str, *, home: Home = None) -> Path:
    """Return the folder that holds, or will hold, a member with all its files."""
    return home_folder(home) / "zoo" / name


def shipped_receipts() -> dict[str, Any]:
    """Return the receipts that are shipped with untrigger, by name."""
    receipts: dict[str, Any] = json.loads((resources.files("untrigger.zoo") / INDEX).read_text(encoding="utf-8"))
    return receipts


def _member(one: Recipe, *, home: Home, index: dict[str, Any]) -> Member:
    folder, sha256 = folder_of(one.name, home=home), one.sha256()
    local = _read_receipt(folder)
    state: State = "absent" if local is None else "ready" if local.get("recipe_sha256") == sha256 else "outdated"
    receipt = local if local is not None and state == "ready" else index.get(one.name, {})
    return Member(one, state, folder / one.name, receipt if receipt.get("recipe_sha256") == sha256 else {})


def _read_receipt(folder: Path) -> dict[str, Any] | None:
    """Return the receipt in a member's folder; None if it cannot be read, or the adapter is missing."""
    try:
        receipt = json.loads((folder / RECEIPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    complete = isinstance(receipt, dict) and (folder / folder.name / "adapter_model.safetensors").is_file()
    return receipt if complete else None
