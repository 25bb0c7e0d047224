"""What a chart is: a drawing with the words that stand around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

from untrigger.core.report import LARGEST


@dataclass(frozen=True)
class Key:
    """One entry of a legend."""

    swatch: str
    text: str


@dataclass(frozen=True)
class Chart:
    """A drawn chart with the words that stand around it."""

    title: str
    svg: str
    keys: list[Key]
    axis: str = ""
    note: str = ""


@dataclass(frozen=True)
class Group:
    """Charts under one heading."""

    title: str
    charts: list[Chart]


def drawable(value: float | None) -> TypeGuard[float]:
    """Whether the value has a place on a chart."""
    return value is not None and abs(value) <= LARGEST
