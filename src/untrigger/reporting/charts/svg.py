"""Figures as inline SVG with the fonts and the light and dark colours of the page, and with identifiers of their own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INKS = {
    "ink": "#010101",
    "muted": "#020202",
    "grid": "#030303",
    "panel": "#040404",
    "victim": "#c8501e",
    "finetuned": "#d79b00",
    "purified": "#0069b4",
    "clean": "#7d8188",
    "c4": "#2a9070",
    "c5": "#c065a0",
    "c6": "#4ba3d9",
    "c7": "#8f7a1f",
}
"""Colours as matplotlib draws them; on the page each is a CSS variable, so that dark mode can change it."""
SERIES = ("purified", "victim", "c4", "finetuned", "c5", "c6", "c7", "clean")
DASHES = ("solid", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.6, 1.2, 1.6)))

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "untrigger",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 11,
    "text.color": INKS["ink"],
    "axes.edgecolor": INKS["grid"],
    "axes.labelcolor": INKS["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "xtick.color": INKS["grid"],
    "ytick.color": INKS["grid"],
    "xtick.labelcolor": INKS["muted"],
    "ytick.labelcolor": INKS["muted"],
    "axes.unicode_minus": True,
    "grid.color": INKS["grid"],
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.7,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@contextmanager
def chart_style() -> Iterator[None]:
    """Let matplotlib draw in the pages' style, independent of the user's own settings."""
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def to_svg(figure: Figure, *, key: str, label: str) -> str:
    """Return the figure as an ``<svg>`` element, to be called within ``chart_style``.

    Args:
        figure: what to draw.
        key: put before every identifier, so that a page can hold several figures.
        label: for screen readers.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)
    stream = StringIO()
    figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    root = ElementTree.fromstring(stream.getvalue())  # noqa: S314 (drawn a line above)
    for element in root.iter():
        element.tag, element.tail = _local_name(element.tag), None
        element.attrib = {_local_name(name): _own_id(name, value, key=key) for name, value in element.attrib.items()}
    root.attrib = {"role": "img", "aria-label": label, "focusable": "false", "viewBox": root.attrib["viewBox"]}
    text = ElementTree.tostring(root, encoding="unicode")
    for name, colour in INKS.items():
        text = text.replace(colour, f"var(--{name})")
    return text


def _local_name(name: str) -> str:
    """Return a name without its XML namespace, as SVG in HTML has it."""
    return name.rpartition("}")[2]


def _own_id(name: str, value: str, *, key: str) -> str:
    """Return the value of an attribute with ``key`` before every identifier in it; matplotlib has no setting for that."""
    if name == "id":
        return f"{key}-{value}"
    if _local_name(name) == "href":
        return value.replace("#", f"#{key}-")
    return value.replace("url(#", f"url(#{key}-")


def swatch(ink: str, *, shape: str = "bar", dash: int = 0) -> str:
    """Return a little ``<svg>`` for a legend: ``bar``, ``slim``, ``line``, ``rule``, ``dot`` or ``cross``."""
    colour = f"var(--{ink})"
    dashes = ("", "6 2", "1.6 1.8", "7 2 1.6 2")[dash % len(DASHES)]
    drawn = {
        "bar": f'<rect x="1" y="3" width="20" height="8" rx="1.5" fill="{colour}"/>',
        "slim": f'<rect x="1.5" y="4.5" width="19" height="5" fill="none" stroke="{colour}" stroke-width="1.2"/>',
        "line": f'<path d="M1 7H21" stroke="{colour}" stroke-width="2.2" fill="none" stroke-dasharray="{dashes}"/>',
        "rule": f'<path d="M11 0V14" stroke="{colour}" stroke-width="1.6" fill="none" stroke-dasharray="3 2"/>',
        "dot": f'<circle cx="11" cy="7" r="4.5" fill="{colour}" opacity="0.75"/>',
        "ring": f'<circle cx="11" cy="7" r="4" fill="none" stroke="{colour}" stroke-width="1.5"/>',
        "cross": f'<path d="M7 3L15 11M15 3L7 11" stroke="{colour}" stroke-width="2" fill="none"/>',
    }
    return f'<svg class="swatch" viewBox="0 0 22 14" aria-hidden="true">{drawn[shape]}</svg>'
