"""Extraction of named members from zip and tar archives, within bounds and never to paths that the archive names."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from untrigger.core.errors import AssetError, UnsafeFileError, nearest

DEFAULT_LIMIT = 2 << 30


def unpack(archive: Path, *, members: Mapping[str, str], into: Path, limit: int = DEFAULT_LIMIT) -> list[Path]:
    """Extract members to ``into`` under names that the caller chooses, and return the written files.

    Args:
        archive: a ``.zip``, ``.whl``, ``.tar``, ``.tar.gz`` or ``.tgz`` file.
        members: file name below ``into`` by member name in the archive.
        into: folder to write to; created if missing.
        limit: bytes that a single member may have when unpacked.

    Raises:
        AssetError: a missing member, or an archive that cannot be read.
        UnsafeFileError: a member that is not a regular file, is too large, or a target outside ``into``.
    """
    targets = {member: _inside(into, name) for member, name in members.items()}
    try:
        if zipfile.is_zipfile(archive):
            _from_zip(archive, targets=targets, limit=limit)
        else:
            _from_tar(archive, targets=targets, limit=limit)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise AssetError(f"{archive.name} cannot be read as an archive: {error}", remedy="fetch it again") from error
    return list(targets.values())


def _inside(into: Path, name: str) -> Path:
    """Return ``into / name``; raise UnsafeFileError if it is outside of ``into``."""
    target = (into / name).resolve()
    if not target.is_relative_to(into.resolve()):
        raise UnsafeFileError(f"{name!r} would be written outside {into}")
    return target


def _from_zip(archive: Path, *, targets: Mapping[str, Path], limit: int) -> None:
    with zipfile.ZipFile(archive) as source:
        for member, target in targets.items():
            if member not in source.NameToInfo:
                raise _missing(archive, member=member, known=source.namelist())
            info = source.getinfo(member)
            if info.is_dir() or (info.external_attr >> 28) == 0xA:
                raise UnsafeFileError(f"{member!r} in {archive.name} is not a regular file")
            with source.open(info) as stream:
                _write(stream, target=target, limit=limit, size=info.file_size, label=member)


def _from_tar(archive: Path, *, targets: Mapping[str, Path], limit: int) -> None:
    with tarfile.open(archive) as source:
        for member, target in targets.items():
            try:
                info = source.getmember(member)
            except KeyError:
                raise _missing(archive, member=member, known=source.getnames()) from None
            stream = source.extractfile(info) if info.isreg() else None
            if stream is None:
                raise UnsafeFileError(f"{member!r} in {archive.name} is not a regular file")
            with stream:
                _write(stream, target=target, limit=limit, size=info.size, label=member)


def _missing(archive: Path, *, member: str, known: list[str]) -> AssetError:
    return AssetError(f"{archive.name} has no member {member!r}", nearest=nearest(member, known))


def _write(stream: IO[bytes], *, target: Path, limit: int, size: int, label: str) -> None:
    """Copy the member; raise UnsafeFileError if it is, or turns out to be, larger than ``limit``."""
    if size > limit:
        raise UnsafeFileError(f"{label!r} unpacks to {size} bytes", expected=f"at most {limit}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as out:
        shutil.copyfileobj(_Bounded(stream, limit=limit, label=label), out, 1 << 20)


class _Bounded:
    """A reader that raises after ``limit`` bytes, independent of the archive's header."""

    def __init__(self, stream: IO[bytes], *, limit: int, label: str) -> None:
        self._stream, self._left, self._label = stream, limit, label

    def read(self, count: int = -1) -> bytes:
        chunk = self._stream.read(count)
        self._left -= len(chunk)
        if self._left < 0:
            raise UnsafeFileError(f"{self._label!r} unpacks to more bytes than its header names")
        return chunk
