"""Records of a chart: its drawing, title, legend and notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

from untrigger.core.json_values import LARGEST


@dataclass(frozen=True)
class Key:
    """One entry of a legend.

    Attributes:
        swatch: its sample, as SVG.
        text: what the sample means.
    """

    swatch: str
    text: str


@dataclass(frozen=True)
class Chart:
    """A drawn chart.

    Attributes:
        title: above it.
        svg: the drawing.
        keys: the legend.
        axis: label of the horizontal axis, empty for none.
        note: a sentence below it, empty for none.
    """

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
    """Return whether the value can be drawn."""
    return value is not None and abs(value) <= LARGEST
