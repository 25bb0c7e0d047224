"""Reader of Parquet files, with the class names that ``datasets`` writes into them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from untrigger.core.errors import DataError
from untrigger.data.raw import MIB, Table, check_unique_names

_KEY = b"huggingface"


def read_parquet(file: Path, limit: int) -> Table:
    """Return the table in a Parquet file that unpacks to ``limit`` bytes at most.

    Raises:
        DataError: if it is larger or cannot be read.
    """
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    except ImportError as error:
        raise DataError(f"{file} needs pyarrow to be read", remedy="pip install pyarrow, or give a CSV") from error
    try:
        source = pq.ParquetFile(file)
        groups = range(source.metadata.num_row_groups)
        unpacked = sum(source.metadata.row_group(i).total_byte_size for i in groups)
        if unpacked > limit:
            raise DataError(
                f"{file} unpacks to {unpacked / MIB:,.1f} MiB",
                expected=f"at most {limit / MIB:,.1f} MiB",
                remedy="give a smaller file or raise the limit (size_limit)",
            )
        check_unique_names(file, source.schema_arrow.names)
        table = source.read()
        columns = {name: _cells(table[name], pa=pa) for name in table.column_names}
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise DataError(f"{file} is not a readable parquet file: {error}", remedy="write it again") from error
    return Table(str(file), columns, list(range(1, table.num_rows + 1)), declared_classes(source.schema_arrow.metadata))


def _cells(column: Any, *, pa: Any) -> list[object]:
    """Return the cells of a column; strings that are not UTF-8 as bytes, which are refused where they are used."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return list(column.cast(pa.binary()).to_pylist())


def declared_classes(metadata: dict[bytes, bytes] | None) -> dict[str, tuple[str, ...]]:
    """Return the class names of each ``ClassLabel`` column, as ``datasets`` writes them into the metadata of a schema."""
    try:
        info = json.loads((metadata or {}).get(_KEY, b"{}"))
        features = info["info"]["features"]
        kinds = {
            name: kind
            for name, kind in features.items()
            if isinstance(kind, dict) and kind.get("_type") == "ClassLabel"
        }
        named = {name: kind.get("names") for name, kind in kinds.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {name: tuple(map(str, names)) for name, names in named.items() if isinstance(names, list) and names}
