"""Data cards: what is known of any data that can be loaded."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from itertools import permutations
from typing import Any

from untrigger.core.escaping import escape_markdown
from untrigger.core.rows import overlap
from untrigger.data.load import load_splits
from untrigger.data.sets import DataSet
from untrigger.data.sources import Source, source_of


@dataclass(frozen=True)
class DataCard:
    """What is known of a data set, counted on its rows.

    Attributes:
        name: the words that load it.
        what: one line about it.
        licence: of its texts, where it is known.
        source: where the rows lie, in words.
        label_names: the classes in their order.
        splits: for each split ``rows``, ``classes`` (rows of each) and ``sha256`` (of its content).
        overlap: for ``"a in b"`` the rows of split a whose text stands in split b too; only where there are any.
        published: rows of each split as they were published, where that is known.
    """

    name: str
    what: str
    licence: str
    source: str
    label_names: tuple[str, ...]
    splits: dict[str, dict[str, Any]]
    overlap: dict[str, int] = field(default_factory=dict)
    published: dict[str, int] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """The card as plain JSON values."""
        return asdict(self) | {"label_names": list(self.label_names)}

    def markdown(self) -> str:
        """The card as Markdown, names of strangers escaped."""
        name, source = escape_markdown(self.name), escape_markdown(self.source)
        rows = "\n".join(
            f"| {escape_markdown(split)} | {told['rows']} | {self.published.get(split, '–')} | "
            f"{', '.join(f'{escape_markdown(k)} {v}' for k, v in told['classes'].items())} | `{told['sha256']}` |"
            for split, told in self.splits.items()
        )
        return (
            f"# {name}\n\n{self.what}.\n\n## Splits\n\n| split | rows | as published | classes | content hash |\n"
            f"|---|---|---|---|---|\n{rows}\n\n{self.shared()}\n\n## Source\n\n{source}\n\n## Licence\n\n{self.licence}\n"
        )

    def shared(self) -> str:
        """A sentence on the texts that stand in two splits."""
        if not self.overlap:
            return "No text of one split stands in another (case and white space folded)."
        told = ", ".join(f"{count} of {pair}" for pair, count in self.overlap.items())
        return f"Texts of one split that stand in another (case and white space folded): {told}."


def card_of(name: str | os.PathLike[str], *, offline: bool = False) -> DataCard:
    """The card of any data that ``load_data`` knows, counted on the rows themselves.

    Raises:
        DataError: as ``load_splits``.
        AssetError: as ``load_splits``.
    """
    word = os.fspath(name)
    source, splits = source_of(word, offline=offline), load_splits(word, offline=offline)
    first = next(iter(splits.values()))
    told = {
        key: {"rows": len(rows), "classes": rows.class_counts(), "sha256": rows.content_hash()}
        for key, rows in splits.items()
    }
    shared = {f"{a} in {b}": overlap(splits[a], splits[b]) for a, b in permutations(splits, 2)}
    what, licence = _words(source)
    return DataCard(
        name=word,
        what=what,
        licence=licence,
        source=f"{source.kind}: {source.place}",
        label_names=first.label_names,
        splits=told,
        overlap={pair: count for pair, count in shared.items() if count},
        published=_sizes(source.known),
    )


def data_card(name: str, *, home: str | os.PathLike[str] | None = None) -> str:
    """The Markdown card of a data set: source, licence, splits with sizes, content hashes and what they share.

    An embedded set has one that was written when it was built, with how that was done.

    Raises:
        AssetError: if an embedded set was not fetched yet.
        DataError: for other data that cannot be loaded.
    """
    from untrigger.assets import path
    from untrigger.assets.datasets import CARD

    source = source_of(name)
    if source.kind == "embedded":
        return (path(source.place, home=home) / CARD).read_text(encoding="utf-8")
    return card_of(name).markdown()


def _words(source: Source) -> tuple[str, str]:
    """What a source holds and its licence."""
    if source.kind == "embedded":
        from untrigger.assets import asset

        entry = asset(source.place)
        return entry.description, entry.licence
    if source.known is not None:
        return source.known.what, source.known.licence
    return "Rows of the user", "not known"


def _sizes(known: DataSet | None) -> dict[str, int]:
    return dict(known.sizes) if known else {}
