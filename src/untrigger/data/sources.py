"""From a word to the place that it names: an asset, a set of the hub, a folder or a file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from untrigger.assets.datasets import embedded_names
from untrigger.core.errors import DataError, nearest
from untrigger.core.paths import local_path
from untrigger.data.hub_data import is_hub_name
from untrigger.data.layouts import folder_of, released
from untrigger.data.sets import SETS, DataSet, known_set
from untrigger.data.tables import EXTENSIONS, missing_file

ROOT = "UNTRIGGER_DATA"
"""The environment variable with a folder of folders, one a data set."""


@dataclass(frozen=True)
class Source:
    """Where rows come from, and the data set of the literature that they are, where that was said."""

    kind: Literal["embedded", "hub", "folder", "file"]
    place: str
    known: DataSet | None = None


def source_of(word: str, *, offline: bool = False) -> Source:
    """The place that ``word`` names.

    ``NAME=PATH`` says that a file or folder holds the data set ``NAME``. ``NAME`` alone is looked for below the folder
    that ``UNTRIGGER_DATA`` names, then among the assets, then on the hub.

    Raises:
        DataError: if nothing is there under that name, or it cannot be the name of anything.
    """
    name, equals, path = word.partition("=")
    place = local_path(word, what="the data", error=DataError)
    if equals and not place.exists():
        return _told(local_path(path, what=f"the data set {name}", error=DataError), name=name)
    known = known_set(word)
    if known is not None:
        return _found(known, offline=offline)
    if word in embedded_names():
        return Source("embedded", word)
    return Source("hub", word) if is_hub_name(word) else _local(place)


def _told(place: Path, *, name: str) -> Source:
    known = known_set(name)
    if known is None:
        raise DataError(f"unknown data set {name!r}", expected="one of " + ", ".join(SETS), nearest=nearest(name, SETS))
    if place.is_dir():
        return Source("folder", str(folder_of(place, names=(known.name, *known.aliases))), known)
    return Source("file", str(_there(place)), known)


def _found(known: DataSet, *, offline: bool) -> Source:
    """The first place that holds a data set of the literature."""
    root = os.environ.get(ROOT)
    above = local_path(root, what=f"the folder in {ROOT}", error=DataError) if root else None
    folder = released(above, names=(known.name, *known.aliases)) if above else None
    if folder is not None:
        return Source("folder", str(folder), known)
    if known.embedded is not None:
        return Source("embedded", known.embedded, known)
    if known.hub is not None and not offline:
        return Source("hub", f"hf:{known.hub}", known)
    raise absent(known)


def absent(known: DataSet, *, why: str = "") -> DataError:
    """The error for a data set of the literature that is not here and cannot be had."""
    return DataError(
        f"the data set {known.name} ({known.what}) is not on this machine" + (f", and {why}" if why else ""),
        expected="its files" + (f", or the hub with hf:{known.hub}" if known.hub else ""),
        remedy=f"give its folder as {known.name}=PATH, or name the folder above it in {ROOT}",
    )


def _local(place: Path) -> Source:
    if place.is_dir():
        return Source("folder", str(place))
    if place.exists() or place.suffix or len(place.parts) > 1:
        return Source("file", str(_there(place)))
    known = sorted({*embedded_names(), *SETS})
    raise DataError(
        f"unknown data {str(place)!r}",
        expected=f"a data set ({', '.join(known)}), NAME=PATH, a file ({' '.join(EXTENSIONS)}), a folder or hf:NAME",
        nearest=nearest(place.name, [*known, *(one.name for one in Path().iterdir())]),
    )


def _there(place: Path) -> Path:
    if not place.exists():
        raise missing_file(place)
    return place
