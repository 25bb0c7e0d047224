"""Loading labelled rows by name: embedded sets, files, folders and hub sets."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from untrigger.assets.datasets import read_built
from untrigger.core.errors import DataError, nearest
from untrigger.core.rows import Rows
from untrigger.data.columns import only_classes, only_labelled, to_rows, with_known_names
from untrigger.data.data_source import DataSource, as_source
from untrigger.data.hub_data import read_hub
from untrigger.data.labels import with_label_names
from untrigger.data.layouts import SPLITS, read_folder
from untrigger.data.locate import Location, locate, not_available
from untrigger.data.tables import Table, read_table

logger = logging.getLogger(__name__)


def load_data(
    source: str | os.PathLike[str] | DataSource, *, label_names: Sequence[str] | None = None, offline: bool = False
) -> Rows:
    """Return the labelled rows of one split of a data source.

    Args:
        source: the name of a data set, a file or a folder; or a ``DataSource``, which also names columns and split.
        label_names: the classes in the order of a given model. Labels are matched to them by name, or by number where that
            is certain (see ``untrigger.data.labels``). Default: the data set's own classes, or strings sorted and whole
            numbers as they are. What was assumed is in ``Rows.notes``.
        offline: use only what is on this machine.

    Raises:
        DataError: one message for the first thing that is wrong, with its remedy.
        AssetError: an embedded set that could not be fetched.
    """
    source = as_source(source)
    splits = load_splits(source, label_names=label_names, offline=offline)
    wanted = choose_split(source, splits)
    logger.info("read %d rows of %s, split %s", len(splits[wanted]), source, wanted)
    return splits[wanted]


def choose_split(source: DataSource, splits: Iterable[str]) -> str:
    """Return the split that a source names, else ``train`` or the only one.

    Raises:
        DataError: if there is no such split, or there are several.
    """
    known, split = list(splits), source.split
    wanted = SPLITS.get(split, split) if split is not None else ("train" if "train" in known else None)
    if wanted is None and len(known) == 1:
        return known[0]
    if wanted is None or wanted not in known:
        raise DataError(
            f"{source} has no split {split!r}" if split else f"{source} has several splits",
            expected="one of " + ", ".join(known),
            nearest=nearest(split, known) if split else None,
            remedy="name the split (split)",
        )
    return wanted


def load_splits(
    source: str | os.PathLike[str] | DataSource, *, label_names: Sequence[str] | None = None, offline: bool = False
) -> dict[str, Rows]:
    """Return the splits of a data source by name; a single file gives one split, ``"all"``.

    All splits have the same label names. ``DataSource.split`` only avoids reading the other splits of a hub set. See
    ``load_data`` for the arguments.

    Raises:
        DataError: one message for the first thing that is wrong, with its remedy.
        AssetError: an embedded set that could not be fetched.
    """
    source = as_source(source)
    names = tuple(label_names) if label_names else None
    location = locate(source.name, offline=offline)
    if location.kind == "embedded":
        return _with_names(read_embedded(location, offline=offline), names)
    tables = read_tables(location, source=source, offline=offline)
    if location.dataset is None:
        return to_rows(tables, source=source, label_names=names)
    if location.kind == "hub":
        source = replace(
            source,
            text_column=source.text_column or location.dataset.hub_text_column,
            label_column=source.label_column or location.dataset.hub_label_column,
        )
    splits = to_rows(tables, source=source, label_names=location.dataset.label_names)
    return _with_names({key: replace(rows, notes=()) for key, rows in splits.items()}, names)


def read_embedded(location: Location, *, offline: bool) -> dict[str, Rows]:
    """Return the splits of an embedded set, fetched first if it is not on this machine."""
    from untrigger.assets import fetch

    return read_built(fetch(location.place, offline=offline))


def read_tables(location: Location, *, source: DataSource, offline: bool, labelled: bool = True) -> dict[str, Table]:
    """Return the tables of a file (``"all"``), of a folder or of the hub, by split; ``labelled`` of the hub only with labels."""
    if location.kind == "file":
        return {"all": read_table(Path(location.place), limit=source.size_limit)}
    if location.kind == "folder":
        return read_folder(Path(location.place), limit=source.size_limit)
    dataset = location.dataset
    try:
        loaded = read_hub(
            location.place, split=source.split, offline=offline, revision=dataset.hub_revision if dataset else None
        )
    except DataError as error:
        raise not_available(dataset, reason=error.what) if dataset else error from error
    tables = {SPLITS.get(key, key): table for key, table in (only_labelled(loaded) if labelled else loaded).items()}
    if dataset is None or not labelled:
        return tables
    return with_known_names(only_classes(tables, count=len(dataset.label_names)), names=dataset.label_names)


def _with_names(splits: dict[str, Rows], names: tuple[str, ...] | None) -> dict[str, Rows]:
    """Return the splits with their classes in the order of ``names``, unchanged where they already are."""
    if names is None or all(rows.label_names == names for rows in splits.values()):
        return splits
    return {key: with_label_names(rows, names, origin=key) for key, rows in splits.items()}
