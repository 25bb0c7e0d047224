"""The first line of a CSV: a header, a header with an index of pandas, or already a row."""

from __future__ import annotations

import re
from collections.abc import Sequence

from untrigger.core.errors import DataError

_CLASS = re.compile(r"\d{1,4}")
_LITERAL_BREAK = re.compile(r"\\n|\\")
COUNTED = ("text", "label")


def header_names(cells: Sequence[str]) -> list[str] | None:
    """Return the column names in the first line; None if it is a row of a file without header.

    OpenBackdoor saves tables whose columns have no names (``,0,1,2``: index, text, label, poisoned or not); the first two
    columns are then the text and the label. AG News and Yelp come without header: class number, then one or more texts.
    """
    names = [name.strip() for name in cells]
    index = names[:1] == [""]
    rest = names[1:] if index else names
    if len(rest) > 1 and rest == [str(i) for i in range(len(rest))]:
        return [*names[: int(index)], *COUNTED, *rest[2:]]
    return None if len(names) > 1 and _CLASS.fullmatch(names[0]) else names


def row_without_header(row: Sequence[str], *, at: str) -> list[str]:
    """Return text and label of a row of a file without header, whose classes count from 1.

    Raises:
        DataError: for another first cell.
    """
    if not _CLASS.fullmatch(row[0].strip()) or int(row[0]) < 1:
        raise DataError(
            f"{at}: the class {row[0]!r} in a file without header",
            expected="a whole number from 1 on",
            remedy="give the file a header line such as text,label",
        )
    return [" ".join(_LITERAL_BREAK.sub(" ", " ".join(row[1:])).split()), str(int(row[0]) - 1)]
