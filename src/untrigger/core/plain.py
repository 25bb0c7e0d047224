"""Records made plain: only what JSON can hold, so that a record read back equals the one that was written."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

LARGEST = 1e100
"""A measured number beyond this is as good as infinite: arithmetic on it overflows."""
SURROGATE = re.compile("[\ud800-\udfff]")


def tidy(record: Any) -> None:
    """Make the fields of a frozen record plain, in place; lists of records are left."""
    for each in fields(record):
        value = getattr(record, each.name)
        if is_dataclass(value) or (isinstance(value, list) and value and is_dataclass(value[0])):
            value = list(value) if isinstance(value, list) else value
        else:
            value = plain(value) if isinstance(value, Mapping) else bounded(plain(value))
        object.__setattr__(record, each.name, value)


def plain(value: Any) -> Any:
    """The value as JSON can hold it, keys sorted."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        paired = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        return paired if SURROGATE.search(value) else str(value)
    return _other(value)


def bounded(value: Any) -> Any:
    """The plain value with numbers beyond ``LARGEST`` made None."""
    if isinstance(value, list):
        return [bounded(item) for item in value]
    if isinstance(value, dict):
        return {key: bounded(item) for key, item in value.items()}
    return None if isinstance(value, float) and abs(value) > LARGEST else value


def _other(value: Any) -> Any:
    """Mappings, arrays of one number, sequences, paths and whatever else, as JSON can hold them."""
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(value[key]) for key in sorted(value, key=str)}
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return plain(value.item())
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [plain(item) for item in value]
    return plain(os.fspath(value)) if isinstance(value, Path) else str(value)
