"""From tables to rows: which column is text, which is label, and which class each label means."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from untrigger.core.errors import DataError, nearest
from untrigger.core.rows import Rows
from untrigger.data.data_source import DataSource
from untrigger.data.labels import LabelColumn, MatchedLabels, match_labels, same_names, several_labels
from untrigger.data.tables import Table

TEXT_COLUMNS = ("text", "sentence", "sentences", "review", "content")
OTHER_TEXTS = (
    "answer",
    "context",
    "hypothesis",
    "passage",
    "premise",
    "query",
    "question",
    "question1",
    "question2",
    "sentence1",
    "sentence2",
    "title",
)
"""Columns of tasks whose texts have two parts: if the text column was guessed, the report notes that they were not read."""
LABEL_COLUMNS = ("label", "labels", "sentiment", "class")
_UNREADABLE = re.compile("[\0\ud800-\udfff]")


def to_rows(
    tables: dict[str, Table], *, source: DataSource, label_names: tuple[str, ...] | None = None
) -> dict[str, Rows]:
    """Return the rows of each table; all have the same label names.

    Raises:
        DataError: wrong column, empty text, a cell that is not text, ids that repeat, missing or unknown label; one message each.
    """
    label_of = {name: _column(table, source.label_column, LABEL_COLUMNS, "label") for name, table in tables.items()}
    columns = {name: _label_column(table, label_of[name]) for name, table in tables.items()}
    matched = match_labels(columns, names=label_names)
    return {name: _rows(table, name=name, matched=matched, source=source) for name, table in tables.items()}


def _rows(table: Table, *, name: str, matched: MatchedLabels, source: DataSource) -> Rows:
    column, texts = texts_of(table, source.text_column)
    empty = [i for i, text in enumerate(texts) if not text.strip()]
    if empty and not source.drop_empty:
        raise DataError(
            f"{table.origin}: {len(empty)} rows without text in column {column!r} ({_where(table, empty)})",
            remedy="fill or remove these rows, or leave them out: --drop-empty, in Python DataSource(drop_empty=True)",
        )
    if len(empty) == len(texts):
        raise DataError(f"{table.origin}: no row has a text in column {column!r}")
    ids, remarks = ids_of(table)
    if source.text_column is None and (others := [one for one in table.columns if one.casefold() in OTHER_TEXTS]):
        remarks = [*remarks, f"{Path(table.origin).name}: texts are the column {column}; not read: {', '.join(others)}"]
    notes = tuple(matched.notes[name] + remarks)
    rows = replace(Rows.of(texts, matched.labels[name], label_names=matched.names, ids=ids), notes=notes)
    dropped = set(empty)
    return rows.where(i not in dropped for i in range(len(rows))) if dropped else rows


def texts_of(table: Table, column: str | None = None) -> tuple[str, list[str]]:
    """Return the name of the text column, the given one or the only one with a known name, and its texts.

    Raises:
        DataError: if there is no such column, and for a cell that is no text.
    """
    name = _column(table, column, TEXT_COLUMNS, "text")
    return name, [_text(table, i, column=name) for i in range(len(table))]


def _text(table: Table, row: int, *, column: str) -> str:
    """Return the cell as text; a missing value is empty.

    Raises:
        DataError: for a list, an object, bytes that are not UTF-8, and characters that no tokenizer can read.
    """
    value = table.columns[column][row]
    if _is_blank(value):
        return ""
    where = f"{table.origin}, row at line {table.lines[row]}, column {column!r}"
    if isinstance(value, bytes):
        value = _decoded(value, where=where)
    if not isinstance(value, str | int | float):
        raise DataError(
            f"{where}: {type(value).__name__} where a text is expected: {str(value)[:60]}",
            expected="one text a row",
            remedy="name the text column: --text-column NAME, in Python DataSource(text_column=NAME), or join the parts",
        )
    return readable(str(value), where=where)


def _decoded(value: bytes, *, where: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: bytes that are not UTF-8 (0x{value[error.start]:02x} at offset {error.start})",
            expected="UTF-8 text",
            remedy="convert the column to text and write the file again",
        ) from error


def readable(text: str, *, where: str) -> str:
    """Return the text.

    Raises:
        DataError: if it holds half a character or a NUL.
    """
    bad = _UNREADABLE.search(text)
    if bad is None:
        return text
    what = "a NUL character" if bad[0] == "\0" else f"half a character (the lone surrogate U+{ord(bad[0]):04X})"
    raise DataError(
        f"{where}: {what} at offset {bad.start()}", expected="Unicode text", remedy="correct or remove that row"
    )


def ids_of(table: Table) -> tuple[list[str] | None, list[str]]:
    """Return the ids in the column ``id`` if it is one of ids, and a note if it is not.

    Raises:
        DataError: for ids that are missing or repeated.
    """
    if "id" not in table.columns:
        return None, []
    cells = table.columns["id"]
    ids = ["" if _is_blank(value) else str(value).strip() for value in cells]
    first: dict[str, int] = {}
    pair = next(((first[one], i) for i, one in enumerate(ids) if first.setdefault(one, i) != i), None)
    if pair is None and "" not in ids:
        return ids, []
    n_values = len(set(ids))
    if n_values * 2 <= len(ids) and len(ids) > 2:
        return None, [
            f"{Path(table.origin).name}: the column id has {n_values} values in {len(ids)} rows and is not used"
        ]
    if pair is None or not ids[pair[0]]:
        raise DataError(
            f"{table.origin}: rows without an id ({_where(table, [i for i, one in enumerate(ids) if not one])})",
            remedy="give every row an id of its own, or rename the column",
        )
    raise DataError(
        f"{table.origin}: row id {ids[pair[0]]!r} occurs more than once ({_where(table, pair)})",
        remedy="give every row an id of its own, or rename the column",
    )


def _column(table: Table, given: str | None, known: Sequence[str], role: str) -> str:
    """Return the name of the column for ``role``: the given one, or the only one with a known name.

    Raises:
        DataError: if no column has the name, none a known one, or several do (``label`` and ``Label`` or ``labels``).
    """
    names = list(table.columns)
    if given is not None:
        if given in table.columns:
            return given
        raise DataError(
            f"{table.origin} has no column {given!r}",
            expected="one of " + ", ".join(names),
            nearest=nearest(given, names),
            remedy=f"name the {role} column: --{role}-column NAME, in Python DataSource({role}_column=NAME)",
        )
    matching = [name for name in names if name.casefold() in known]
    if len(matching) != 1:
        which = (
            f"{', '.join(matching)}: more than one of them is" if matching else f"{', '.join(names)}: none of them is"
        )
        raise DataError(
            f"{table.origin} has the columns {which} known as {role}",
            expected="one of " + ", ".join(matching or known),
            remedy=f"name the {role} column: --{role}-column NAME, in Python DataSource({role}_column=NAME)",
        )
    return matching[0]


def _label_column(table: Table, column: str) -> LabelColumn:
    """Return the labels of a table as text, with the class names that it declares for them.

    Raises:
        DataError: for rows without a label, or with several.
    """
    cells = table.columns[column]
    empty = [i for i, value in enumerate(cells) if _is_blank(value)]
    if empty:
        raise DataError(
            f"{table.origin}: {len(empty)} rows without label in column {column!r} ({_where(table, empty)})",
            remedy="fill or remove these rows",
        )
    values = []
    for i, value in enumerate(cells):
        where = f"{table.origin}, row at line {table.lines[i]}"
        if isinstance(value, list | tuple | set | dict):
            raise several_labels(where, value)
        text = _decoded(value, where=where) if isinstance(value, bytes) else str(value)
        values.append(readable(text.strip(), where=where))
    indexed = all(isinstance(value, int) for value in cells)
    return LabelColumn(table.origin, table.lines, values, table.class_names.get(column, ()), indexed)


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip()


def _where(table: Table, rows: Iterable[int]) -> str:
    """Return the first few line numbers, in words."""
    lines = [str(table.lines[i]) for i in rows]
    return "line " + ", ".join(lines[:5]) + (", …" if len(lines) > 5 else "")


def only_labelled(tables: dict[str, Table]) -> dict[str, Table]:
    """Return the tables without those of a hub whose labels are all -1, the mark of hidden labels."""
    return {
        name: table
        for name, table in tables.items()
        if not any(set(table.columns[c]) == {-1} for c in table.class_names if c in table.columns)
    }


def only_classes(tables: dict[str, Table], *, count: int) -> dict[str, Table]:
    """Return the tables without rows of declared classes after the first ``count`` (unsure, skipped, and the like)."""
    return {name: _first_classes(table, count=count) for name, table in tables.items()}


def with_known_names(tables: dict[str, Table], *, names: Sequence[str]) -> dict[str, Table]:
    """Return the tables of a public data set; if the hub has other class names (``neg``), the numbers mean ``names``."""
    return {
        key: table
        if all(same_names(declared, names) for declared in table.class_names.values())
        else replace(table, class_names={})
        for key, table in tables.items()
    }


def _first_classes(table: Table, *, count: int) -> Table:
    labels = [table.columns[column] for column, names in table.class_names.items() if len(names) > count]
    chosen = [i for i in range(len(table)) if all(cells[i] in range(count) for cells in labels)]
    columns = {name: [cells[i] for i in chosen] for name, cells in table.columns.items()}
    return replace(table, columns=columns, lines=[table.lines[i] for i in chosen])
