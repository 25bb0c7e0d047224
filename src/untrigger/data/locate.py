"""From a name to the place of the rows: an asset, a set of the hub, a folder or a file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from untrigger.assets.datasets import embedded_names
from untrigger.core.errors import DataError, nearest
from untrigger.core.paths import local_path
from untrigger.data.hub_data import is_hub_name
from untrigger.data.layouts import folder_of, released_folder
from untrigger.data.public_datasets import PUBLIC_DATASETS, PublicDataset, find_public_dataset
from untrigger.data.tables import EXTENSIONS, missing_file

DATA_VARIABLE = "UNTRIGGER_DATA"
"""The environment variable that names a folder with one folder for each data set."""


@dataclass(frozen=True)
class Location:
    """Where rows are read from, and which public data set they are, if that is known.

    Attributes:
        kind: ``embedded`` for an asset.
        place: the name of the asset or hub set, or the path.
        dataset: the public data set, None for other data.
    """

    kind: Literal["embedded", "hub", "folder", "file"]
    place: str
    dataset: PublicDataset | None = None


def locate(name: str, *, offline: bool = False) -> Location:
    """Return the location of the data that ``name`` names.

    ``NAME=PATH`` gives the file or folder that holds the data set ``NAME``. ``NAME`` alone is searched for below the folder
    that ``UNTRIGGER_DATA`` names, then among the assets, then on the hub.

    Raises:
        DataError: if there are no data of that name, or it is not a valid name.
    """
    dataset_name, equals, path = name.partition("=")
    place = local_path(name, what="the data", error=DataError)
    if equals and not place.exists():
        place = local_path(path, what=f"the data set {dataset_name}", error=DataError)
        return _locate_given(place, dataset_name=dataset_name)
    dataset = find_public_dataset(name)
    if dataset is not None:
        return _locate_public(dataset, offline=offline)
    if name in embedded_names():
        return Location("embedded", name)
    return Location("hub", name) if is_hub_name(name) else _locate_local(place)


def not_available(dataset: PublicDataset, *, reason: str = "") -> DataError:
    """Return the error for a public data set that is not on this machine and cannot be fetched."""
    return DataError(
        f"the data set {dataset.name} ({dataset.description}) is not on this machine"
        + (f", and {reason}" if reason else ""),
        expected="its files" + (f", or the hub with hf:{dataset.hub}" if dataset.hub else ""),
        remedy=f"give its folder as {dataset.name}=PATH, or name the folder above it in {DATA_VARIABLE}",
    )


def _locate_given(place: Path, *, dataset_name: str) -> Location:
    """Return the location of a public data set whose file or folder is given."""
    dataset = find_public_dataset(dataset_name)
    if dataset is None:
        raise DataError(
            f"unknown data set {dataset_name!r}",
            expected="one of " + ", ".join(PUBLIC_DATASETS),
            nearest=nearest(dataset_name, PUBLIC_DATASETS),
        )
    if place.is_dir():
        return Location("folder", str(folder_of(place, names=(dataset.name, *dataset.aliases))), dataset)
    return Location("file", _existing(place), dataset)


def _locate_public(dataset: PublicDataset, *, offline: bool) -> Location:
    """Return the first location that holds a public data set."""
    variable = os.environ.get(DATA_VARIABLE)
    root = local_path(variable, what=f"the folder in {DATA_VARIABLE}", error=DataError) if variable else None
    folder = released_folder(root, names=(dataset.name, *dataset.aliases)) if root else None
    if folder is not None:
        return Location("folder", str(folder), dataset)
    if dataset.asset is not None:
        return Location("embedded", dataset.asset, dataset)
    if dataset.hub is not None and not offline:
        return Location("hub", f"hf:{dataset.hub}", dataset)
    raise not_available(dataset)


def _locate_local(place: Path) -> Location:
    if place.is_dir():
        return Location("folder", str(place))
    if place.exists() or place.suffix or len(place.parts) > 1:
        return Location("file", _existing(place))
    known = sorted({*embedded_names(), *PUBLIC_DATASETS})
    raise DataError(
        f"unknown data {str(place)!r}",
        expected=f"a data set ({', '.join(known)}), NAME=PATH, a file ({' '.join(EXTENSIONS)}), a folder or hf:NAME",
        nearest=nearest(place.name, [*known, *(one.name for one in Path().iterdir())]),
    )


def _existing(place: Path) -> str:
    if not place.exists():
        raise missing_file(place)
    return str(place)
