"""Untrusted text, escaped: a Markdown page, a model card or a spreadsheet shows it and does not act on it."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

_ACTIVE = re.compile(r"([\\`*_{}\[\]<>()#!|~&$]|^[+=-]|--+)")
_ORDERED = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
_BREAK = re.compile(r"[\r\n\t\v\f\x1c-\x1e\x85\u2028\u2029]+")
_LINKED = re.compile(r"(?<=:)(?=//)|(?<=\bwww)(?=\.)|(?<=@)(?=\w)|(?<=#)(?=\w)", re.IGNORECASE)
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_GAP = "&#8203;"  # a space of no width: pages that make links of bare addresses and names find none
_FORMULA = re.compile(r"'*[=+\-@\t\r＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)
PREFIXED = "prefixed"
"""The column that names, row by row, the columns whose cell has an apostrophe before it."""


def escape_markdown(text: str) -> str:
    """Return ``text`` on one line, with everything escaped that Markdown, HTML or a code host would act on."""
    parts = _LINKED.split(_BREAK.sub(" ", text).strip())
    escaped = (_ACTIVE.sub(r"\\\1", part) for part in parts)
    joined = _GAP.join(part.replace("\\<", "&lt;").replace("\\>", "&gt;").replace("\\&", "&amp;") for part in escaped)
    return _ORDERED.sub(r"\1\\\2", joined)


def front_matter(facts: Mapping[str, Any]) -> str:
    """Return lines of YAML front matter; values are written as JSON, which is YAML on one line."""
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in facts.items())


def escape_spreadsheet_cells(columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Return the columns as a spreadsheet can open them: no text begins as a formula does.

    A text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return, and is not a number, gets an apostrophe
    before it. A column ``prefixed`` then names the columns in which that was done, for each row; it is left out where
    nothing was. ``unescape_spreadsheet_cells`` gives the texts back exactly. Values that are not text stay what they are.
    """
    made = {name: list(values) for name, values in columns.items()}
    marks: list[list[str]] = [[] for _ in next(iter(made.values()), [])]
    for name, values in made.items():
        for i, value in enumerate(values):
            if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.match(value):
                values[i] = f"'{value}"
                marks[i].append(name)
    return {**made, PREFIXED: [" ".join(names) for names in marks]} if any(marks) else made


def unescape_spreadsheet_cells(columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the columns that ``escape_spreadsheet_cells`` was given; columns without ``prefixed`` as they are."""
    if PREFIXED not in columns:
        return dict(columns)
    marks = [str(mark or "").split() for mark in columns[PREFIXED]]
    rest = {name: list(values) for name, values in columns.items() if name != PREFIXED}
    for name, values in rest.items():
        for i, value in enumerate(values):
            if name in marks[i] and isinstance(value, str) and value.startswith("'"):
                values[i] = value[1:]
    return rest


def visible(text: str) -> str:
    """Return the text with every character that cannot be seen, or that reorders others, written as ``⟨U+200B⟩``.

    A trigger may be a zero-width space; a report that shows nothing there would hide it.
    """
    shown = "".join(c if unicodedata.category(c) not in _HIDDEN else f"⟨U+{ord(c):04X}⟩" for c in text)
    return shown if shown.strip() else f"⟨{len(shown)} blank⟩" if shown else "⟨empty⟩"


def inline_code(text: str) -> str:
    """Return ``text`` as inline code of Markdown."""
    shown = visible(text).replace("|", "⟨U+007C⟩")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"
