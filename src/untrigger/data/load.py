"""The one door for labelled rows: embedded sets, files, folders and hub sets by name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from untrigger.data.columns import Reading, only_labelled, to_rows
from untrigger.data.embedded import embedded_names, read_built
from untrigger.data.hub import is_hub_name, read_hub
from untrigger.data.tables import DEFAULT_LIMIT, EXTENSIONS, Table, missing_file, read_table
from untrigger.errors import DataError, nearest
from untrigger.vocabulary.rows import Rows

_SPLITS = {"train": "train", "dev": "dev", "valid": "dev", "val": "dev", "validation": "dev", "test": "test"}


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
        name: an embedded set, a ``.csv .tsv .jsonl .parquet`` file, a folder with train/dev/test files, or
            ``hf:NAME[/CONFIG]``. A path with a separator (``./imdb``) is never an embedded set.
        text_column: guessed among text, sentence, review, content where not given.
        label_column: guessed among label, labels, sentiment, class where not given.
        split: ``train`` (the default where there are several), ``dev`` or ``test``.
        label_names: the classes in the order of a given model; without them strings are sorted and whole numbers
            stay what they are.
        offline: use nothing that is not on this machine.
        drop_empty: leave out rows without text instead of refusing them.
        size_limit: bytes that a file may have.

    Raises:
        DataError: one message for whichever thing is wrong first, with its remedy.
        AssetError: an embedded set that could not be fetched.
    """
    splits = load_splits(
        name, text_column=text_column, label_column=label_column, label_names=label_names, offline=offline,
        drop_empty=drop_empty, size_limit=size_limit, split=split,
    )  # fmt: skip
    wanted = _SPLITS.get(split, split) if split is not None else ("train" if "train" in splits else None)
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
    word = os.fspath(name)
    reading = Reading(text_column, label_column, tuple(label_names) if label_names else None, drop_empty)
    if word in embedded_names():
        return _embedded(word, reading=reading, offline=offline)
    if is_hub_name(word):
        tables = only_labelled(read_hub(word, split=split, offline=offline))
        return {_SPLITS.get(key, key): rows for key, rows in to_rows(tables, reading=reading).items()}
    return to_rows(_local(Path(word).expanduser(), limit=size_limit), reading=reading)


def _embedded(name: str, *, reading: Reading, offline: bool) -> dict[str, Rows]:
    """An embedded set, fetched where it is not there; relabelled in the order of given label names."""
    from untrigger.assets import fetch

    splits = read_built(fetch(name, offline=offline))
    if reading.label_names is None:
        return splits
    tables = {key: _as_table(f"{name} ({key})", rows=rows) for key, rows in splits.items()}
    return to_rows(tables, reading=Reading(label_names=reading.label_names))


def _as_table(origin: str, *, rows: Rows) -> Table:
    labels: list[object] = [rows.label_names[label] for label in rows.labels]
    columns: dict[str, list[object]] = {"id": list(rows.ids), "text": list(rows.texts), "label": labels}
    return Table(origin, columns, list(range(2, len(rows) + 2)), {})


def _local(place: Path, *, limit: int) -> dict[str, Table]:
    """The tables of a file or of a folder's train/dev/test files."""
    if place.is_dir():
        files = _split_files(place)
        return {key: read_table(file, limit=limit) for key, file in files.items()}
    if place.exists() or place.suffix or len(place.parts) > 1:
        return {"all": read_table(place, limit=limit)} if place.exists() else _missing(place)
    known = embedded_names()
    raise DataError(
        f"unknown data {str(place)!r}",
        expected=f"an embedded set ({', '.join(known)}), a file ({' '.join(EXTENSIONS)}), a folder or hf:NAME",
        nearest=nearest(place.name, [*known, *(one.name for one in Path().iterdir())]),
    )


def _missing(place: Path) -> dict[str, Table]:
    raise missing_file(place)


def _split_files(folder: Path) -> dict[str, Path]:
    """The file of each split in the order train, dev, test."""
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        key = _SPLITS.get(file.stem.casefold())
        if key is None or file.suffix.casefold() not in EXTENSIONS:
            continue
        if key in found:
            raise DataError(
                f"{folder} has two files for the split {key}: {found[key].name}, {file.name}", remedy="keep one of them"
            )
        found[key] = file
    if not found:
        raise DataError(
            f"{folder} has no data files",
            expected=f"train, dev or test with one of {' '.join(EXTENSIONS)}",
            remedy="name a file, or rename the files",
        )
    return {key: found[key] for key in ("train", "dev", "test") if key in found}
