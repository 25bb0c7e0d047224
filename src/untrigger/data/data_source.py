"""The record of where rows come from and how they are read."""

from __future__ import annotations

import os
from dataclasses import dataclass

from untrigger.data.raw import DEFAULT_LIMIT


@dataclass(frozen=True)
class DataSource:
    """A source of labelled rows with the options for reading it.

    Attributes:
        name: a data set (``sst2``, ``agnews``, ``rotten-tomatoes``, ...), a ``.csv .tsv .json .jsonl .parquet`` file, a
            folder with train/dev/test files or one that ``datasets`` saved, ``hf:NAME[/CONFIG]``, or ``NAME=PATH``: a file or
            folder, laid out as public releases are, that holds the data set ``NAME``. ``./imdb`` is never a data set's name.
        text_column: the column of the texts; None: guessed among text, sentence, review, content. Several of them are refused.
        label_column: the column of the labels; None: guessed among label, labels, sentiment, class. Several are refused.
        split: ``train`` (the default where there are several), ``dev`` or ``test``.
        drop_empty: leave out rows without text instead of refusing them.
        size_limit: bytes that a file may have.
    """

    name: str
    text_column: str | None = None
    label_column: str | None = None
    split: str | None = None
    drop_empty: bool = False
    size_limit: int = DEFAULT_LIMIT

    def __str__(self) -> str:
        """Return the name."""
        return self.name


def as_source(source: str | os.PathLike[str] | DataSource) -> DataSource:
    """Return ``source`` as a record; a name or path is read with the default options."""
    return source if isinstance(source, DataSource) else DataSource(os.fspath(source))
