"""The folders of assets on this machine."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from untrigger.assets.catalogue import Asset

_CHUNK = 1 << 20


def home_folder(home: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of everything that is fetched: ``home``, else ``UNTRIGGER_HOME``, else the user's cache folder."""
    if home is not None:
        return Path(home).expanduser()
    if os.environ.get("UNTRIGGER_HOME"):
        return Path(os.environ["UNTRIGGER_HOME"]).expanduser()
    if os.name == "nt" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "untrigger"
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if os.path.isabs(cache) else Path.home() / ".cache") / "untrigger"


def asset_folder(entry: Asset, *, home: Path) -> Path:
    """Return the folder that holds, or will hold, the finished asset."""
    return home / ("models" if entry.kind == "model" else "data") / entry.name


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
