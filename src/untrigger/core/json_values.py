"""Values as JSON can hold them, and the hash of such a value."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

LARGEST = 1e100
"""A measured number beyond this is as good as infinite: arithmetic on it overflows."""
SURROGATE = re.compile("[\ud800-\udfff]")


def to_json_value(value: Any, *, sort_keys: bool = False) -> Any:
    """Return the value as JSON holds it: tuples, sets and arrays as lists, paths as text, NaN and infinities as None.

    What has no counterpart becomes its ``str``; the result comes back from JSON equal to itself.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        paired = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        return paired if SURROGATE.search(value) else str(value)
    return _other_value(value, sort_keys=sort_keys)


def _other_value(value: Any, *, sort_keys: bool) -> Any:
    """Return mappings, arrays of one number, sequences, paths and anything else as JSON holds them."""
    if isinstance(value, Mapping):
        keys = sorted(value, key=str) if sort_keys else value
        return {to_json_value(str(key)): to_json_value(value[key], sort_keys=sort_keys) for key in keys}
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return to_json_value(value.item())
    if isinstance(value, set | frozenset):
        return sorted((to_json_value(item, sort_keys=sort_keys) for item in value), key=str)
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [to_json_value(item, sort_keys=sort_keys) for item in value]
    return to_json_value(os.fspath(value)) if isinstance(value, Path) else str(value)


def to_measured_number(value: Any) -> Any:
    """Return a measured number as a float, None where it is beyond ``LARGEST``; anything else as ``to_json_value`` gives it."""
    number = to_json_value(value)
    if isinstance(number, bool) or not isinstance(number, int | float):
        return number
    try:
        measured = float(number)
    except OverflowError:
        return number
    return measured if abs(measured) <= LARGEST else None


def content_hash(value: Any) -> str:
    """Return the SHA-256 over the canonical JSON (sorted keys, no blanks, ASCII) of a value, 64 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
