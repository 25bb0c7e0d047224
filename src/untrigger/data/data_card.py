"""Data cards: source, licence, sizes and hashes of any data that can be loaded."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from itertools import permutations
from typing import Any

from untrigger.assets.catalogue import asset
from untrigger.core.escaping import escape_markdown
from untrigger.core.rows import overlap
from untrigger.data.load import load_splits
from untrigger.data.locate import Location, locate


@dataclass(frozen=True)
class DataCard:
    """Description of a data set, counted on its rows.

    Attributes:
        name: the name that loads it.
        description: one line about it.
        licence: the licence of its texts, if it is known.
        source: where the rows are read from, in words.
        label_names: the classes in their order.
        splits: for each split ``rows``, ``classes`` (rows of each) and ``sha256`` (of its content).
        overlap: for ``"a in b"`` the number of rows of split a whose text is also in split b; pairs without such rows are
            left out.
        published: rows of each split as published, if that is known.
    """

    name: str
    description: str
    licence: str
    source: str
    label_names: tuple[str, ...]
    splits: dict[str, dict[str, Any]]
    overlap: dict[str, int] = field(default_factory=dict)
    published: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the card as plain JSON values."""
        return asdict(self) | {"label_names": list(self.label_names)}

    def markdown(self) -> str:
        """Return the card as Markdown, with names from files escaped."""
        name, source = escape_markdown(self.name), escape_markdown(self.source)
        rows = "\n".join(
            f"| {escape_markdown(split)} | {one['rows']} | {self.published.get(split, '–')} | "
            f"{', '.join(f'{escape_markdown(k)} {v}' for k, v in one['classes'].items())} | `{one['sha256']}` |"
            for split, one in self.splits.items()
        )
        return (
            f"# {name}\n\n{self.description}.\n\n## Splits\n\n| split | rows | as published | classes | content hash |\n"
            f"|---|---|---|---|---|\n{rows}\n\n{self.overlap_sentence()}\n\n## Source\n\n{source}\n\n"
            f"## Licence\n\n{self.licence}\n"
        )

    def overlap_sentence(self) -> str:
        """Return a sentence about the texts that two splits share."""
        if not self.overlap:
            return "No text is in two splits (case and white space folded)."
        counts = ", ".join(f"{count} of {pair}" for pair, count in self.overlap.items())
        return f"Texts of one split that are also in another (case and white space folded): {counts}."


def card_of(name: str | os.PathLike[str], *, offline: bool = False) -> DataCard:
    """Return the card of any data that ``load_data`` knows, counted on its rows.

    Raises:
        DataError: as ``load_splits``.
        AssetError: as ``load_splits``.
    """
    word = os.fspath(name)
    location, splits = locate(word, offline=offline), load_splits(word, offline=offline)
    shared = {f"{a} in {b}": overlap(splits[a], splits[b]) for a, b in permutations(splits, 2)}
    description, licence = _description(location)
    return DataCard(
        name=word,
        description=description,
        licence=licence,
        source=f"{location.kind}: {location.place}",
        label_names=next(iter(splits.values())).label_names,
        splits={key: rows.describe() for key, rows in splits.items()},
        overlap={pair: count for pair, count in shared.items() if count},
        published=dict(location.dataset.published_sizes) if location.dataset else {},
    )


def _description(location: Location) -> tuple[str, str]:
    """Return what is known of a location: one line about its rows, and their licence."""
    if location.kind == "embedded":
        entry = asset(location.place)
        return entry.description, entry.licence
    if location.dataset is not None:
        return location.dataset.description, location.dataset.licence
    return "Rows of the user", "not known"
