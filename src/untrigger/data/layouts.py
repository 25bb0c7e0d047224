"""Folders of public releases, recognised by the files in them.

=================  =====================================================================================
HiddenKiller,      ``clean/sst-2/{train,dev,test}.tsv`` with the header ``sentence label``; variants such as
StyleAttack        ``test_100.tsv`` beside them
OpenBackdoor       ``SentimentAnalysis/SST-2/*.tsv``, ``TextClassification/agnews/*.csv`` without a header,
                   ``imdb/{train.txt,train_labels.txt}``, and what it saves: ``train-clean.csv`` with an index
DUP                ``poison_data/sst-2/1/badnets/dirty/0.2/train-poison.csv``
datasets           what ``save_to_disk`` writes: ``dataset_dict.json``, or ``state.json`` beside Arrow files
GMS, BeDKD         ``sst2/{train,test}_clean.json`` beside ``test_badnet.json``, one object a line
=================  =====================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from untrigger.core.errors import DataError
from untrigger.data.saved import is_saved, read_saved
from untrigger.data.tables import EXTENSIONS, Table, read_lines, read_table

SPLITS = {"train": "train", "dev": "dev", "valid": "dev", "val": "dev", "validation": "dev", "test": "test"}
ORDER = ("train", "dev", "test")
_FILE = re.compile(r"(train|dev|validation|valid|val|test)(?:[-_](.+))?", re.IGNORECASE)
_SHARD = re.compile(r"\d{5}-of-(\d{5})")
_LABELS = "labels"
_GROUPS = (
    "",
    "clean",
    "clean_data",
    "data/clean",
    "data",
    "datasets",
    "SentimentAnalysis",
    "TextClassification",
    "Toxic",
    "Spam",
    "datasets/SentimentAnalysis",
    "datasets/TextClassification",
    "datasets/Toxic",
    "datasets/Spam",
)


def read_folder(folder: Path, *, limit: int) -> dict[str, Table]:
    """Return the tables of a folder's splits, in the order train, dev, test.

    A file belongs to a split if its name is that of the split, alone or followed by ``clean``. If there is none, and the
    files of all splits are of one variant (``train-poison.csv``), those are taken.

    Raises:
        DataError: for no such file, two files of one split, several variants, or a file that cannot be read.
    """
    if is_saved(folder):
        return {SPLITS.get(split, split): table for split, table in read_saved(folder, limit=limit).items()}
    variants = _by_variant(folder)
    clean = {split: file for variant in ("", "clean") for split, file in variants.get(variant, {}).items()}
    double = set(variants.get("", {})) & set(variants.get("clean", {}))
    if double:
        raise _two_files(folder, split=min(double), files=[variants[variant][min(double)] for variant in ("", "clean")])
    if not clean and len(variants) > 1:
        names = ", ".join(file.name for files in variants.values() for file in files.values())
        raise DataError(f"{folder} has only variants of its splits: {names}", remedy="name one of the files")
    files = clean or next(iter(variants.values()), {})
    if not files:
        raise DataError(
            f"{folder} has no data files",
            expected=f"train, dev or test with one of {' '.join(EXTENSIONS)}",
            remedy="name a file, or rename the files",
        )
    return {split: _read(files[split], limit=limit) for split in ORDER if split in files}


def folder_of(place: Path, *, names: Sequence[str]) -> Path:
    """Return the folder that holds the splits of the data set with these names: ``place``, its ``clean``, or one below it.

    Raises:
        DataError: if there is none.
    """
    folder = next((folder for folder in (place, place / "clean") if holds_splits(folder)), None)
    folder = folder or released_folder(place, names=names)
    if folder is None:
        raise DataError(
            f"{place} has no files of {names[0]}",
            expected=f"train, dev or test there, or in a folder {' or '.join(names)} below it",
            remedy="name the folder that holds the files",
        )
    return folder


def released_folder(root: Path, *, names: Sequence[str]) -> Path | None:
    """Return the folder of the data set with these names below the root of a public release; None if there is none."""
    folders = (root / group / name / end for group in _GROUPS for name in names for end in ("", "clean"))
    return next((folder for folder in folders if holds_splits(folder)), None)


def holds_splits(folder: Path) -> bool:
    """Return whether the folder is one that ``read_folder`` can read."""
    return folder.is_dir() and (is_saved(folder) or bool(_by_variant(folder)))


def _by_variant(folder: Path) -> dict[str, dict[str, Path]]:
    """Return the file of each split by variant; ``""`` for those with the split's name alone."""
    variants: dict[str, dict[str, Path]] = {}
    for file in sorted(folder.iterdir()):
        parts = _FILE.fullmatch(file.stem)
        if parts is None or not _is_data(file):
            continue
        split, variant = SPLITS[parts[1].casefold()], (parts[2] or "").casefold()
        if (shard := _SHARD.fullmatch(variant)) and int(shard[1]) > 1:
            raise DataError(f"{file} is one of {int(shard[1])} parts of a split", remedy="write the split as one file")
        if split in variants.setdefault(variant, {}):
            raise _two_files(folder, split=split, files=[variants[variant][split], file])
        variants[variant][split] = file
    return variants


def _is_data(file: Path) -> bool:
    return file.suffix.casefold() in EXTENSIONS or (file.suffix == ".txt" and _labels_of(file).is_file())


def _labels_of(file: Path) -> Path:
    return file.with_name(f"{file.stem}_{_LABELS}.txt")


def _read(file: Path, *, limit: int) -> Table:
    return (
        read_lines(file, labels=_labels_of(file), limit=limit)
        if file.suffix == ".txt"
        else read_table(file, limit=limit)
    )


def _two_files(folder: Path, *, split: str, files: Sequence[Path]) -> DataError:
    return DataError(
        f"{folder} has two files for the split {split}: {', '.join(file.name for file in files)}",
        remedy="keep one of them",
    )
