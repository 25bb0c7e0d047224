"""Faults that were found and are mended elsewhere; a row goes when the mending is merged."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fuzz.damages import Damage

LEFT: tuple[tuple[str, str, str], ...] = ()
"""Words of the damage, words of the fault, and where it is mended."""


def left_to_others(damages: Sequence[Damage], why: str) -> bool:
    """Whether a fault is one of the known ones."""
    names = " + ".join(map(str, damages))
    return any(damage in names and fault in why for damage, fault, _ in LEFT)
