"""The format of embedded data sets: a folder with one CSV a split, the label names and a card."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

from untrigger.core.errors import AssetError, DataError
from untrigger.core.rows import Rows
from untrigger.core.table_files import write_rows

LABELS, CARD = "labels.json", "README.md"


def write_built(splits: Mapping[str, Rows], folder: Path) -> None:
    """Write a data set's splits and its label names into ``folder``."""
    label_names = next(iter(splits.values())).label_names
    content = {"label_names": list(label_names), "splits": list(splits)}
    (folder / LABELS).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for name, rows in splits.items():
        write_rows(rows, folder / f"{name}.csv", escape=False)


def read_built(folder: Path) -> dict[str, Rows]:
    """Return the splits in ``folder`` by name, in the order they were written.

    Raises:
        AssetError: if a file is missing or was changed so that it cannot be read.
    """
    try:
        content = json.loads((folder / LABELS).read_text(encoding="utf-8"))
        names = tuple(str(name) for name in content["label_names"])
        return {split: _read_split(folder / f"{split}.csv", label_names=names) for split in content["splits"]}
    except (OSError, ValueError, KeyError, TypeError, csv.Error, DataError) as error:
        raise AssetError(
            f"the data set at {folder} cannot be read: {error}",
            remedy=f"remove the folder and run `untrigger assets fetch {folder.name}`",
        ) from error


def _read_split(file: Path, *, label_names: tuple[str, ...]) -> Rows:
    index = {name: i for i, name in enumerate(label_names)}
    with file.open(encoding="utf-8", newline="") as stream:
        cells = list(csv.DictReader(stream))
    return Rows.of(
        (cell["text"] for cell in cells),
        (index[cell["label"]] for cell in cells),
        label_names=label_names,
        ids=(cell["id"] for cell in cells),
    )


def embedded_names() -> list[str]:
    """Return the names of the embedded data sets, sorted."""
    from untrigger.assets.catalogue import names

    return names("data")
