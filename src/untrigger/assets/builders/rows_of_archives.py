"""Functions that the builders of data sets share."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from untrigger.assets.asset_cards import data_card
from untrigger.assets.catalogue import asset
from untrigger.assets.datasets import CARD, write_built
from untrigger.core.rows import Rows

LIMIT = 256 << 20


def distinct_rows(cells: Iterable[tuple[str, str, int]], *, label_names: Sequence[str]) -> Rows:
    """Return rows of (id, text, label) without repeated texts; the first of each stays."""
    first: dict[str, tuple[str, str, int]] = {}
    for cell in cells:
        first.setdefault(squeeze(cell[1]), cell)
    ids, texts, labels = zip(*first.values(), strict=True)
    return Rows.of(texts, labels, label_names=label_names, ids=ids)


def squeeze(text: str) -> str:
    """Return letters and digits only, case folded: two spellings of one sentence give the same."""
    return re.sub(r"\W+", "", html.unescape(text).casefold())


def finish(name: str, *, folder: Path, train: Rows, test: Rows, body: str) -> None:
    """Drop train rows whose text is in test, then write splits and card."""
    held_out = {squeeze(text) for text in test.texts}
    splits = {"train": train.where(squeeze(text) not in held_out for text in train.texts), "test": test}
    write_built(splits, folder)
    sizes = {split: rows.class_counts() for split, rows in splits.items()}
    hashes = {split: rows.content_hash() for split, rows in splits.items()}
    (folder / CARD).write_text(data_card(asset(name), body=body, sizes=sizes, hashes=hashes), encoding="utf-8")
