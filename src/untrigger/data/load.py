"""The one door for labelled rows: embedded sets, files, folders and hub sets by name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from untrigger.assets.datasets import read_built
from untrigger.core.errors import DataError, nearest
from untrigger.core.rows import Rows
from untrigger.data.columns import Reading, only_classes, only_labelled, to_rows, without_names
from untrigger.data.hub_data import read_hub
from untrigger.data.layouts import SPLITS, read_folder
from untrigger.data.sources import Source, absent, source_of
from untrigger.data.tables import DEFAULT_LIMIT, Table, read_table


def load_data(
    name: str | os.PathLike[str],
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    split: str | None = None,
    label_names: Sequence[str] | None = None,
    offline: bool = False,
    drop_empty: bool = False,
    size_limit: int = DEFAULT_LIMIT,
) -> Rows:
    """The labelled rows of one split of a data source.

    Args:
        name: a data set (``sst2``, ``agnews``, ``rotten-tomatoes``, ...), a ``.csv .tsv .json .jsonl .parquet`` file, a
            folder with train/dev/test files or one that ``datasets`` saved, ``hf:NAME[/CONFIG]``, or ``NAME=PATH``: a file or
            folder, laid out as public releases are, that holds the data set ``NAME``. ``./imdb`` is never a data set's name.
        text_column: guessed among text, sentence, review, content where not given; several of them are refused.
        label_column: guessed among label, labels, sentiment, class where not given; several of them are refused.
        split: ``train`` (the default where there are several), ``dev`` or ``test``.
        label_names: the classes in the order of a given model, to which labels are matched by name, or by number where that is
            certain (see ``untrigger.data.labels``); without them the data set's own, or strings sorted and whole numbers as they
            are. What was assumed is in ``Rows.notes``.
        offline: use nothing that is not on this machine.
        drop_empty: leave out rows without text instead of refusing them.
        size_limit: bytes that a file may have.

    Raises:
        DataError: one message for whichever thing is wrong first, with its remedy.
        AssetError: an embedded set that could not be fetched.
    """
    splits = load_splits(
        name,
        text_column=text_column,
        label_column=label_column,
        label_names=label_names,
        offline=offline,
        drop_empty=drop_empty,
        size_limit=size_limit,
        split=split,
    )
    wanted = SPLITS.get(split, split) if split is not None else ("train" if "train" in splits else None)
    if wanted is None and len(splits) == 1:
        return next(iter(splits.values()))
    if wanted not in splits:
        raise DataError(
            f"{os.fspath(name)} has no split {split!r}" if split else f"{os.fspath(name)} has several splits",
            expected="one of " + ", ".join(splits),
            nearest=nearest(split, splits) if split else None,
            remedy="name the split (split)",
        )
    return splits[wanted]


def load_splits(
    name: str | os.PathLike[str],
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    label_names: Sequence[str] | None = None,
    offline: bool = False,
    drop_empty: bool = False,
    size_limit: int = DEFAULT_LIMIT,
    split: str | None = None,
) -> dict[str, Rows]:
    """The splits of a data source by name; a single file gives one split, ``"all"``. Label names are shared.

    ``split`` only spares reading the others of a hub set. See ``load_data`` for the rest.

    Raises:
        DataError: one message for whichever thing is wrong first, with its remedy.
        AssetError: an embedded set that could not be fetched.
    """
    source = source_of(os.fspath(name), offline=offline)
    asked = tuple(label_names) if label_names else None
    reading = Reading(text_column, label_column, asked, drop_empty)
    if source.kind == "embedded":
        return _renamed(_embedded(source, offline=offline), names=asked)
    tables = _tables(source, split=split, offline=offline, limit=size_limit)
    if source.known is None:
        return to_rows(tables, reading=reading)
    return _renamed(to_rows(tables, reading=_reading_of(source, reading)), names=asked)


def _embedded(source: Source, *, offline: bool) -> dict[str, Rows]:
    """An embedded set, fetched where it is not there."""
    from untrigger.assets import fetch

    return read_built(fetch(source.place, offline=offline))


def _tables(source: Source, *, split: str | None, offline: bool, limit: int) -> dict[str, Table]:
    """The tables of a file (``"all"``), of a folder or of the hub, by split."""
    if source.kind == "file":
        return {"all": read_table(Path(source.place), limit=limit)}
    if source.kind == "folder":
        return read_folder(Path(source.place), limit=limit)
    known = source.known
    try:
        found = read_hub(source.place, split=split, offline=offline, revision=known.revision if known else None)
    except DataError as error:
        raise absent(known, why=error.what) if known else error from error
    tables = {SPLITS.get(key, key): table for key, table in only_labelled(found).items()}
    if known is None:
        return tables
    return without_names(only_classes(tables, count=len(known.label_names)), names=known.label_names)


def _reading_of(source: Source, asked: Reading) -> Reading:
    """How the tables of a data set of the literature are read: its own names for its numbers, the hub's columns."""
    assert source.known is not None
    hub = source.known if source.kind == "hub" else None
    return Reading(
        asked.text_column or (hub.text if hub else None),
        asked.label_column or (hub.label if hub else None),
        source.known.label_names,
        asked.drop_empty,
        notes=False,
    )


def _renamed(splits: Mapping[str, Rows], *, names: tuple[str, ...] | None) -> dict[str, Rows]:
    """The rows with their classes in the order of ``names``, each class by its name."""
    if names is None or all(rows.label_names == names for rows in splits.values()):
        return dict(splits)
    return to_rows({key: _as_table(key, rows=rows) for key, rows in splits.items()}, reading=Reading(label_names=names))


def _as_table(origin: str, *, rows: Rows) -> Table:
    columns: dict[str, list[object]] = {"id": list(rows.ids), "text": list(rows.texts), "label": list(rows.labels)}
    return Table(origin, columns, list(range(2, len(rows) + 2)), {"label": rows.label_names})
