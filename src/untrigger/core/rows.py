"""Labelled texts, immutable, each with an id that never changes."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from untrigger.core.errors import DataError

LEAST_PART = 20
"""Letters and digits that a text must have to be looked for within others."""


class Row(NamedTuple):
    """One text with its id and its label (an index into ``Rows.label_names``)."""

    id: str
    text: str
    label: int


@dataclass(frozen=True)
class Rows:
    """Labelled texts. Columns are tuples of one length; ``labels[i]`` is an index into ``label_names``.

    ``notes`` holds what was assumed when the rows were read, for the warnings of a report; it is not part of their content.

    Example:
        >>> Rows.of(["good", "bad"], [1, 0], label_names=("negative", "positive"))
        Rows(2 rows, negative=1, positive=1)
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    labels: tuple[int, ...]
    label_names: tuple[str, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Raise DataError for columns of unequal length, repeated ids and labels outside the names; the first of them."""
        self._check_lengths()
        self._check_ids()
        self._check_labels()

    def _check_lengths(self) -> None:
        if not len(self.ids) == len(self.texts) == len(self.labels):
            raise DataError(f"columns differ in length: {len(self.ids)}, {len(self.texts)}, {len(self.labels)}")

    def _check_ids(self) -> None:
        if len(set(self.ids)) != len(self.ids):
            repeated = next(name for name, count in Counter(self.ids).items() if count > 1)
            raise DataError(f"row id {repeated!r} occurs more than once", remedy="give every row an id of its own")

    def _check_labels(self) -> None:
        n_classes = len(self.label_names)
        bad = next((label for label in self.labels if not 0 <= label < n_classes), None)
        if bad is not None:
            raise DataError(f"label {bad} is not among {n_classes} classes", expected=f"0 to {n_classes - 1}")

    @classmethod
    def of(
        cls,
        texts: Iterable[str],
        labels: Iterable[int],
        *,
        label_names: Sequence[str],
        ids: Iterable[str] | None = None,
    ) -> Rows:
        """Return rows from any iterables; ids default to the row numbers ``"0", "1", …``."""
        texts, labels = tuple(texts), tuple(int(label) for label in labels)
        names = tuple(ids) if ids is not None else tuple(str(i) for i in range(len(texts)))
        return cls(ids=names, texts=texts, labels=labels, label_names=tuple(label_names))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)

    def __iter__(self) -> Iterator[Row]:
        """Iterate over the rows in order."""
        return (Row(*cells) for cells in zip(self.ids, self.texts, self.labels, strict=True))

    def __getitem__(self, index: int) -> Row:
        """Return row number ``index``."""
        return Row(self.ids[index], self.texts[index], self.labels[index])

    def __repr__(self) -> str:
        """Return size and class counts, never the texts."""
        counts = ", ".join(f"{name}={count}" for name, count in self.class_counts().items())
        return f"Rows({len(self)} rows, {counts})"

    def class_counts(self) -> dict[str, int]:
        """Return the number of rows of each class by label name, classes without rows included."""
        counts = Counter(self.labels)
        return {name: counts[i] for i, name in enumerate(self.label_names)}

    def describe(self) -> dict[str, Any]:
        """Return the number of rows, the class counts and the content hash, for reports."""
        return {"rows": len(self), "classes": self.class_counts(), "sha256": self.content_hash()}

    def content_hash(self) -> str:
        """Return the SHA-256 over label names and (id, text, label) in order, 64 hex digits."""
        digest = hashlib.sha256("\x1f".join(self.label_names).encode())
        for row in self:
            digest.update(f"\x1e{row.id}\x1f{row.label}\x1f{row.text}".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def take(self, indices: Iterable[int]) -> Rows:
        """Return the rows at ``indices``, in that order, ids kept.

        Raises:
            DataError: for an index that occurs twice.
        """
        rows = self._at([int(i) for i in indices])
        rows._check_ids()
        return rows

    def where(self, keep: Iterable[bool]) -> Rows:
        """Return the rows whose flag is true, in order."""
        return self._at([i for i, flag in enumerate(keep) if flag])

    def shuffled(self, rng: np.random.Generator) -> Rows:
        """Return the same rows in an order drawn from ``rng``."""
        return self._at(rng.permutation(len(self)).tolist())

    def with_texts(self, texts: Iterable[str]) -> Rows:
        """Return the same ids and labels with other texts."""
        rows = self._unchecked(texts=tuple(texts))
        rows._check_lengths()
        return rows

    def with_labels(self, labels: Iterable[int]) -> Rows:
        """Return the same ids and texts with other labels."""
        rows = self._unchecked(labels=tuple(int(label) for label in labels))
        rows._check_lengths()
        rows._check_labels()
        return rows

    def _at(self, indices: Sequence[int]) -> Rows:
        """Return the rows at ``indices``, none of which occurs twice."""
        return self._unchecked(
            ids=tuple(self.ids[i] for i in indices),
            texts=tuple(self.texts[i] for i in indices),
            labels=tuple(self.labels[i] for i in indices),
        )

    def _unchecked(self, **columns: tuple[str, ...] | tuple[int, ...]) -> Rows:
        """Return a copy with other columns, without checking them again."""
        rows = object.__new__(Rows)
        rows.__dict__.update(self.__dict__ | columns)
        return rows

    def stratified(self, count: int, *, rng: np.random.Generator) -> tuple[Rows, Rows]:
        """Return ``count`` rows with the classes in proportion, and the rest; both in the original order.

        The first part has exactly ``count`` rows. Every class of two rows or more has at least one on each side. Where a side
        has fewer places than there are such classes, that cannot be: the largest classes then have one row each there.

        Raises:
            DataError: if ``count`` exceeds the rows there are.
        """
        if count > len(self):
            raise DataError(f"{count} rows are requested of {len(self)}", remedy="request fewer or give more rows")
        order = rng.permutation(len(self))
        labels = np.asarray(self.labels, dtype=int)[order]
        quota = _quotas(np.bincount(labels, minlength=len(self.label_names)), max(0, count))
        chosen = {int(j) for i, want in enumerate(quota) for j in order[labels == i][:want]}
        return self.where(i in chosen for i in range(len(self))), self.where(i not in chosen for i in range(len(self)))


def _quotas(sizes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the rows to take of each class: ``count`` in all, in proportion by largest remainders within the bounds."""
    several = np.where(sizes > 1, 1, 0)
    if count < several.sum():
        return _one_of_largest(sizes, count)
    if count > (sizes - several).sum():
        return sizes - _one_of_largest(sizes, int(sizes.sum()) - count)
    least, most = several, sizes - several
    exact = sizes * (count / max(int(sizes.sum()), 1))
    quota: NDArray[np.int64] = np.clip(np.floor(exact).astype(int), least, most)
    for _ in range(count - int(quota.sum())):
        quota[np.argmax(np.where(quota < most, exact - quota, -np.inf))] += 1
    for _ in range(int(quota.sum()) - count):
        quota[np.argmax(np.where(quota > least, quota - exact, -np.inf))] -= 1
    return quota


def _one_of_largest(sizes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the quota of one row for each of the ``count`` largest classes."""
    quota = np.zeros_like(sizes)
    quota[np.argsort(-sizes, kind="stable")[:count]] = 1
    return quota


def overlap(left: Rows, right: Rows) -> int:
    """Return the number of rows of ``left`` whose text is also in ``right`` (case and white space folded)."""
    known = {_fold(text) for text in right.texts}
    return sum(_fold(text) in known for text in left.texts)


def distinct(rows: Rows) -> Rows:
    """Return the first row of each text (case and white space folded), with a note where that leaves rows out."""
    first: dict[str, int] = {}
    for i, text in enumerate(rows.texts):
        first.setdefault(_fold(text), i)
    if len(first) == len(rows):
        return rows
    note = f"{len(rows) - len(first)} of {len(rows)} rows repeat the text of an earlier row and are left out: {len(first)} are used"
    return replace(rows.take(first.values()), notes=(*rows.notes, note))


def texts_among(texts: Iterable[str], known: Iterable[str]) -> list[bool]:
    """Return for each text whether it is one of ``known``, without regard to case, white space and punctuation."""
    keys = {text_key(text) for text in known}
    return [text_key(text) in keys for text in texts]


def texts_with_a_part_among(texts: Iterable[str], known: Iterable[str]) -> list[bool]:
    """Return for each text whether one of ``known`` is a part of it, compared as ``texts_among`` does.

    What is known and shorter than 20 letters and digits does not count: it occurs in other texts by chance.
    """
    keys = {key for key in map(text_key, known) if len(key) >= LEAST_PART}
    return [any(part in key for part in keys) for key in map(text_key, texts)]


def text_key(text: str) -> str:
    """Return what copies of a text share: all but case, white space, punctuation and the form of its characters (NFKC).

    Of a text of nothing else it is the text.
    """
    return unicodedata.normalize("NFKC", text).casefold().translate(_WITHOUT_PUNCTUATION) or text.strip()


class _PunctuationTable(dict[int, int | None]):
    """A table for ``str.translate`` that drops punctuation, separators and control characters."""

    def __missing__(self, code: int) -> int | None:
        kind = unicodedata.category(chr(code))
        self[code] = None if kind[0] in "PZC" or kind == "Sk" else code
        return self[code]


_WITHOUT_PUNCTUATION = _PunctuationTable()


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())
