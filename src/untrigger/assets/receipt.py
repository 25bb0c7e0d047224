"""The receipt of a built asset: its sources, versions and file hashes, stored next to its files."""

from __future__ import annotations

import json
import platform
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from untrigger.assets.catalogue import Asset
from untrigger.assets.home import sha256_of
from untrigger.core.errors import AssetError

RECEIPT = "untrigger-asset.json"
_PACKAGES = ("torch", "transformers", "safetensors", "gguf")


def write_receipt(entry: Asset, *, folder: Path) -> Path:
    """Write the receipt of a finished build, and return its path.

    Raises:
        AssetError: if a split of a data set does not have its pinned content.
    """
    splits = split_hashes(folder) if entry.kind == "data" else {}
    _check_splits(entry, splits=splits)
    files = {
        file.relative_to(folder).as_posix(): {"sha256": sha256_of(file), "bytes": file.stat().st_size}
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != RECEIPT
    }
    receipt = {
        "schema": 1,
        "name": entry.name,
        "kind": entry.kind,
        "licence": entry.licence,
        "sources": [
            {"package": a.package, "version": a.version, "file": a.file, "sha256": a.sha256} for a in entry.archives
        ],
        "versions": _versions() if entry.kind == "model" else {},
        "splits": splits,
        "files": files,
    }
    target = folder / RECEIPT
    target.write_text(json.dumps(receipt, indent=2) + "\n", encoding="utf-8")
    return target


def read_receipt(folder: Path) -> dict[str, Any]:
    """Return the receipt in ``folder``.

    Raises:
        AssetError: if it cannot be read.
    """
    try:
        receipt: dict[str, Any] = json.loads((folder / RECEIPT).read_text(encoding="utf-8"))
        receipt["files"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AssetError(f"{folder / RECEIPT} cannot be read: {error}", remedy=f"remove {folder}") from error
    return receipt


def changed_files(folder: Path) -> list[str]:
    """Return which files of a build are missing or changed since it was made, in words.

    The files are hashed once a process, and again if one of them was written since.

    Raises:
        AssetError: if the receipt cannot be read.
    """
    times = tuple(sorted((file.name, file.stat().st_mtime_ns) for file in folder.iterdir()))
    return list(_changed_files(folder, times))


@lru_cache(maxsize=64)
def _changed_files(folder: Path, times: tuple[tuple[str, int], ...]) -> tuple[str, ...]:  # noqa: ARG001 - part of the cache key
    files = read_receipt(folder)["files"]
    missing = [name for name in files if not (folder / name).is_file()]
    changed = [name for name in files if name not in missing and sha256_of(folder / name) != files[name]["sha256"]]
    return (*(f"{name} is missing" for name in missing), *(f"{name} has changed" for name in changed))


def damage_of(entry: Asset, *, folder: Path) -> list[str]:
    """Return what is wrong with a build, in words; empty if every file and split is as it was made."""
    receipt, problems = read_receipt(folder), changed_files(folder)
    pinned = [(a.file, a.sha256) for a in entry.archives]
    if [(s["file"], s["sha256"]) for s in receipt["sources"]] != pinned:
        problems.append("it was built from other archives than are pinned now")
    if entry.kind == "data" and not problems:
        differing = _differing_splits(entry, splits=split_hashes(folder))
        problems += [f"split {name} is not the pinned content" for name in differing]
    return problems


def split_hashes(folder: Path) -> dict[str, str]:
    """Return the content hash of each split of a built data set."""
    from untrigger.assets.datasets import read_built

    return {name: rows.content_hash() for name, rows in read_built(folder).items()}


def _differing_splits(entry: Asset, *, splits: dict[str, str]) -> list[str]:
    return [name for name, pinned in entry.splits.items() if splits.get(name) != pinned]


def _check_splits(entry: Asset, *, splits: dict[str, str]) -> None:
    if differing := _differing_splits(entry, splits=splits):
        raise AssetError(
            f"{entry.name} was built with other rows than are pinned (split {', '.join(differing)})",
            expected=", ".join(entry.splits[name] for name in differing),
            remedy="this is a fault of untrigger or of its Python version: please report it",
        )


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
