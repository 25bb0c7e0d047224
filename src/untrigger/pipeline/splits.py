"""Which splits of the data an attack trains and tests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from untrigger.core.errors import check_choice

T = TypeVar("T")


def training_split(splits: Mapping[str, T]) -> T:
    """Return the training rows: the split ``train``, the only one, or the first."""
    return splits.get("train") or splits.get("all") or next(iter(splits.values()))


def split_to_test(splits: Mapping[str, T], *, name: str) -> T | None:
    """Return the split to test on; None if one has to be drawn.

    Args:
        splits: by name.
        name: the split that the user named; empty for ``test``, or ``dev`` where there is no other.

    Raises:
        OptionError: if the named one is not there.
    """
    if name:
        return splits[check_choice(name, splits, kind="test split")]
    return splits.get("test") or splits.get("dev")
