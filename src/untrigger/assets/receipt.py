"""The receipt of a build: source, versions and the hash of each file, kept beside the files."""

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
    """The receipt file, written after everything else.

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
    """The receipt in ``folder``.

    Raises:
        AssetError: if it cannot be read.
    """
    try:
        receipt: dict[str, Any] = json.loads((folder / RECEIPT).read_text(encoding="utf-8"))
        receipt["files"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AssetError(f"{folder / RECEIPT} cannot be read: {error}", remedy=f"remove {folder}") from error
    return receipt


def changed(folder: Path) -> list[str]:
    """The files of a build that are missing or other than they were made, in words.

    They are hashed once a process, and again where one of them was written since.

    Raises:
        AssetError: if the receipt cannot be read.
    """
    return list(_changed(folder, tuple(sorted((file.name, file.stat().st_mtime_ns) for file in folder.iterdir()))))


@lru_cache(maxsize=64)
def _changed(folder: Path, written: tuple[tuple[str, int], ...]) -> tuple[str, ...]:  # noqa: ARG001 - part of the question
    files = read_receipt(folder)["files"]
    gone = [name for name in files if not (folder / name).is_file()]
    other = [name for name in files if name not in gone and sha256_of(folder / name) != files[name]["sha256"]]
    return (*(f"{name} is missing" for name in gone), *(f"{name} has changed" for name in other))


def faults(entry: Asset, *, folder: Path) -> list[str]:
    """What is wrong with a build, in words; empty where every file and split is as it was made."""
    receipt, wrong = read_receipt(folder), changed(folder)
    pinned = [(a.file, a.sha256) for a in entry.archives]
    if [(s["file"], s["sha256"]) for s in receipt["sources"]] != pinned:
        wrong.append("it was built from other archives than are pinned now")
    if entry.kind == "data" and not wrong:
        wrong += [f"split {name} is not the pinned content" for name in _differing(entry, splits=split_hashes(folder))]
    return wrong


def split_hashes(folder: Path) -> dict[str, str]:
    """The content hash of each split of a built data set."""
    from untrigger.assets.datasets import read_built

    return {name: rows.content_hash() for name, rows in read_built(folder).items()}


def _differing(entry: Asset, *, splits: dict[str, str]) -> list[str]:
    return [name for name, pinned in entry.splits.items() if splits.get(name) != pinned]


def _check_splits(entry: Asset, *, splits: dict[str, str]) -> None:
    wrong = _differing(entry, splits=splits)
    if wrong:
        raise AssetError(
            f"{entry.name} was built with other rows than are pinned (split {', '.join(wrong)})",
            expected=", ".join(entry.splits[name] for name in wrong),
            remedy="this is a fault of untrigger or of its Python version: please report it",
        )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
