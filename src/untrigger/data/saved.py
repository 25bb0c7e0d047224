"""Data sets in memory or saved by ``datasets``: a ``DatasetDict`` or one ``Dataset`` in a folder of Arrow files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from untrigger.core.errors import DataError
from untrigger.data.raw import MIB, Table

_WHOLE, _PART = "dataset_dict.json", "state.json"


def is_saved(folder: Path) -> bool:
    """Return whether ``save_to_disk`` of ``datasets`` wrote the folder."""
    return (folder / _WHOLE).is_file() or ((folder / _PART).is_file() and (folder / "dataset_info.json").is_file())


def read_saved(folder: Path, *, limit: int) -> dict[str, Table]:
    """Return the tables of a saved set by split, of one ``Dataset`` as ``all``; its indices are applied, its format is not.

    Raises:
        DataError: if it is larger than ``limit`` bytes, names files outside of it or cannot be read.
    """
    try:
        import datasets  # type: ignore[import-untyped]
    except ImportError as error:
        raise DataError(f"{folder} needs `datasets`", remedy="pip install datasets, or give a file") from error
    try:
        _check_files(folder, limit=limit)
        saved = datasets.load_from_disk(str(folder))
        parts = dict(saved) if isinstance(saved, datasets.DatasetDict) else {"all": saved}
        return {str(name): table_of(part, origin=f"{folder} ({name})") for name, part in parts.items()}
    except DataError:
        raise
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{folder} is not a readable data set: {first}", remedy="save it again with save_to_disk"
        ) from error


def table_of(part: Any, *, origin: str) -> Table:
    """Return the table of a ``datasets.Dataset`` with the class names that its features declare."""
    plain = part.with_format(None)
    names = {
        column: tuple(str(one) for one in kind.names)
        for column, kind in plain.features.items()
        if type(kind).__name__ == "ClassLabel" and kind.names
    }
    columns: dict[str, list[object]] = {column: list(plain[column]) for column in plain.column_names}
    return Table(origin, columns, list(range(1, len(plain) + 1)), names)


def _check_files(folder: Path, *, limit: int) -> None:
    """Raise DataError unless the folder names only files inside it, and these are small enough."""
    whole = folder / _WHOLE
    splits = json.loads(whole.read_text(encoding="utf-8"))["splits"] if whole.is_file() else [""]
    size = 0
    for split in splits:
        state = json.loads((_inside(folder, str(split)) / _PART).read_text(encoding="utf-8"))
        named = [*(state.get("_data_files") or []), *(state.get("_indices_data_files") or [])]
        size += sum(_inside(folder / split, str(one["filename"])).stat().st_size for one in named)
    if size > limit:
        raise DataError(
            f"{folder} has {size / MIB:,.1f} MiB",
            expected=f"at most {limit / MIB:,.1f} MiB",
            remedy="give a smaller set or raise the limit (size_limit)",
        )


def _inside(folder: Path, name: str) -> Path:
    place = (folder / name).resolve()
    if not place.is_relative_to(folder.resolve()):
        raise DataError(
            f"{folder} names {name!r}, which is outside of the folder", remedy="save it again with save_to_disk"
        )
    return place
