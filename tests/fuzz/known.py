"""Faults that were found and are mended elsewhere; a row goes when the mending is merged."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fuzz.damages import Damage

LEFT: tuple[tuple[str, str, str], ...] = (
    # words of the damage, words of the fault, where it is mended
    ("", "IndexError: index out of range in self", "conformance: a text that cannot be read is one message"),
    ("", "has neither a pad, an unknown nor an end token", "conformance: no pad token is made up"),
    ("tokenizer.json: padding = {'strategy': 'BatchLongest'", "other answers", "conformance: the model's own pad id is kept"),
    ("pad_token", "other answers", "conformance: the model's own pad id is kept"),
)


def left_to_others(damages: Sequence[Damage], why: str) -> bool:
    """Whether a fault is one of the known ones."""
    names = " + ".join(map(str, damages))
    return any(damage in names and fault in why for damage, fault, _ in LEFT)
