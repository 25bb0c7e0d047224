"""Records that are told apart by a hash of all that they say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def plain_record(told: Mapping[str, Any]) -> dict[str, Any]:
    """The record as it comes back from JSON: tuples are lists."""
    plain: dict[str, Any] = json.loads(json.dumps(told))
    return plain


def record_hash(told: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON (sorted keys, no blanks, ASCII) of a record, 64 hex digits."""
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
