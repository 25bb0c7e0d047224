"""From a table to rows: which column is text, which is label, and what the labels are called."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from untrigger.data.tables import Table
from untrigger.errors import DataError, nearest
from untrigger.vocabulary.rows import Rows

TEXT_COLUMNS = ("text", "sentence", "sentences", "review", "content")
LABEL_COLUMNS = ("label", "labels", "sentiment", "class")
_WHOLE = re.compile(r"-?\d{1,9}(\.0+)?\Z")


@dataclass(frozen=True)
class Reading:
    """How tables are read: the columns, the label names in their order, and what happens to empty texts."""

    text_column: str | None = None
    label_column: str | None = None
    label_names: tuple[str, ...] | None = None
    drop_empty: bool = False


def to_rows(tables: dict[str, Table], *, reading: Reading) -> dict[str, Rows]:
    """The rows of each table, with label names that are the same for all of them.

    Raises:
        DataError: wrong column, empty text, missing or unknown label; one message each.
    """
    label_of = {name: _column(table, reading.label_column, LABEL_COLUMNS, "label") for name, table in tables.items()}
    values = {name: _label_values(table, column=label_of[name]) for name, table in tables.items()}
    names = reading.label_names or _class_names(tables, label_of) or _names_of(values, tables=tables)
    return {name: _rows(tables[name], values=values[name], names=names, reading=reading) for name in tables}


def _rows(table: Table, *, values: list[str], names: Sequence[str], reading: Reading) -> Rows:
    column = _column(table, reading.text_column, TEXT_COLUMNS, "text")
    texts = ["" if _is_blank(value) else str(value) for value in table.columns[column]]
    empty = [i for i, text in enumerate(texts) if not text.strip()]
    if empty and not reading.drop_empty:
        raise DataError(
            f"{table.origin}: {len(empty)} rows without text in column {column!r} ({_where(table, empty)})",
            remedy="fill or remove these rows, or leave them out: --drop-empty, in Python drop_empty=True",
        )
    if len(empty) == len(texts):
        raise DataError(f"{table.origin}: no row has a text in column {column!r}")
    ids = [str(value).strip() for value in table.columns["id"]] if "id" in table.columns else None
    rows = Rows.of(texts, _encode(table, values=values, names=names), label_names=names, ids=ids)
    gone = set(empty)
    return rows.where(i not in gone for i in range(len(rows))) if gone else rows


def _column(table: Table, named: str | None, guesses: Sequence[str], role: str) -> str:
    """The name of the column for ``role``: the named one, or the first guess that is there."""
    known = list(table.columns)
    if named is not None:
        if named in table.columns:
            return named
        raise DataError(
            f"{table.origin} has no column {named!r}",
            expected="one of " + ", ".join(known),
            nearest=nearest(named, known),
            remedy=f"name the {role} column: --{role}-column NAME, in Python {role}_column=NAME",
        )
    folded = {name.casefold(): name for name in reversed(known)}
    found = next((folded[guess] for guess in guesses if guess in folded), None)
    if found is None:
        raise DataError(
            f"{table.origin} has the columns {', '.join(known)}: none of them is known as {role}",
            expected="one of " + ", ".join(guesses),
            remedy=f"name the {role} column: --{role}-column NAME, in Python {role}_column=NAME",
        )
    return found


def _label_values(table: Table, *, column: str) -> list[str]:
    """The labels as text, whole numbers without a fraction."""
    cells = table.columns[column]
    empty = [i for i, value in enumerate(cells) if _is_blank(value)]
    if empty:
        raise DataError(
            f"{table.origin}: {len(empty)} rows without label in column {column!r} ({_where(table, empty)})",
            remedy="fill or remove these rows",
        )
    texts = (str(int(value)) if isinstance(value, bool) else str(value).strip() for value in cells)
    return [text.split(".")[0] if _WHOLE.match(text) else text for text in texts]


def _class_names(tables: dict[str, Table], label_of: dict[str, str]) -> tuple[str, ...] | None:
    """The names that the source itself declares for its label column, if any."""
    return next(
        (table.class_names[label_of[n]] for n, table in tables.items() if label_of[n] in table.class_names), None
    )


def _names_of(values: dict[str, list[str]], *, tables: dict[str, Table]) -> tuple[str, ...]:
    """Label names out of the labels: ``"0" … "C-1"`` for whole numbers, else sorted."""
    found = {value for column in values.values() for value in column}
    if not all(_WHOLE.match(value) for value in found):
        return tuple(sorted(found))
    numbers = sorted(int(value) for value in found)
    if numbers != list(range(len(numbers))):
        shown = ", ".join(str(number) for number in numbers[:10])
        raise DataError(
            f"{next(iter(tables.values())).origin}: the whole-number labels {shown} are not 0 to C-1 without a gap",
            expected="labels 0, 1, … or label names",
            remedy="give the names in the model's order (label_names)",
        )
    return tuple(str(number) for number in numbers)


def _encode(table: Table, *, values: list[str], names: Sequence[str]) -> list[int]:
    """The index of each label: by exact name, by name without case, or by number, whichever knows most of them."""
    exact = {name: i for i, name in enumerate(names)}
    folded = {name.casefold(): i for i, name in enumerate(names)}
    numbers = {str(i): i for i in range(len(names))}
    tried = [
        [index.get(key(value)) for value in values]
        for index, key in ((exact, str), (folded, str.casefold), (numbers, str))
    ]
    best = min(tried, key=lambda found: found.count(None))
    if None not in best:
        return [i for i in best if i is not None]
    row = best.index(None)
    raise DataError(
        f"{table.origin}, row at line {table.lines[row]}: label {values[row]!r} is not known",
        expected="one of " + ", ".join(names),
        nearest=nearest(values[row], names),
        remedy="mend the label or give other label names (label_names)",
    )


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip()


def _where(table: Table, rows: Iterable[int]) -> str:
    """The first few line numbers, in words."""
    lines = [str(table.lines[i]) for i in rows]
    return "line " + ", ".join(lines[:5]) + (", …" if len(lines) > 5 else "")


def only_labelled(tables: dict[str, Table]) -> dict[str, Table]:
    """The tables without those of a hub whose labels are all -1, the sign for hidden labels."""
    return {
        name: replace(table)
        for name, table in tables.items()
        if not any(set(table.columns[c]) == {-1} for c in table.class_names if c in table.columns)
    }


def only_classes(tables: dict[str, Table], *, count: int) -> dict[str, Table]:
    """The tables without rows of declared classes beyond the first ``count`` (unsure, skipped, and the like)."""
    return {name: _first_classes(table, count=count) for name, table in tables.items()}


def _first_classes(table: Table, *, count: int) -> Table:
    more = [table.columns[column] for column, names in table.class_names.items() if len(names) > count]
    kept = [i for i in range(len(table)) if all(cells[i] in range(count) for cells in more)]
    columns = {name: [cells[i] for i in kept] for name, cells in table.columns.items()}
    return replace(table, columns=columns, lines=[table.lines[i] for i in kept])
