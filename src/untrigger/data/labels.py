"""Matching of labels to classes: by name, or by number if only that is known; never by a guess.

Labels of a file are matched to given classes by the first of these that holds for *all* of them:

1.  the labels are class names;
2.  they are class names except for case, blanks, underscores and hyphens;
3.  they are whole numbers (or true and false), the classes count from 0, and 0 occurs;
    or the class names are themselves numbers (``1 star``, ``2 stars``), and each label is one of those.

A file that declares its class names (``ClassLabel`` of ``datasets``) is matched by 1 and 2. It is matched by number only if the
given classes have no names (``LABEL_0``), or its own have none. If the given classes are whole numbers that do not count from 0
(``1``, ``2``), a whole number is always a name. All else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from untrigger.core.errors import DataError, nearest
from untrigger.core.rows import Rows

_WHOLE = re.compile(r"-?\d{1,9}(\.0+)?\Z", re.ASCII)
_NO_NAME = re.compile(r"LABEL_(\d{1,6})\Z", re.ASCII | re.IGNORECASE)
_NUMBERED = re.compile(r"(?:LABEL_)?(\d{1,6})(?![\w.])", re.ASCII | re.IGNORECASE)
_JOINTS = re.compile(r"(?<=\w)[\s_\-/]+(?=\w)")
_LISTED = re.compile(r"\[.*\]\Z|\(.*\)\Z", re.DOTALL)
_FRACTION = re.compile(r"-?\d*\.\d+\Z", re.ASCII)
_BOOLEANS = {"false": 0, "true": 1}
_MAX_LISTED = 10


@dataclass(frozen=True)
class LabelColumn:
    """The labels of a table as text.

    Attributes:
        origin: the file or hub set, for messages.
        lines: the line of each row in it.
        values: the label of each row.
        declared: the class names that the table itself gives, in its own order.
        indexed: whether the labels are indices into ``declared`` and not names, although a name may be ``1`` too.
    """

    origin: str
    lines: Sequence[int]
    values: Sequence[str]
    declared: tuple[str, ...] = ()
    indexed: bool = True

    @property
    def short_name(self) -> str:
        """Return the table's name in reports: of a file only the file name."""
        return Path(self.origin).name if Path(self.origin).exists() else self.origin

    def row(self, i: int) -> str:
        """Return the place of row ``i``, in words."""
        return f"{self.origin}, row at line {self.lines[i]}"


@dataclass
class MatchedLabels:
    """The class of each row by table, the class names, and notes on what was assumed, for the report."""

    labels: dict[str, list[int]]
    names: tuple[str, ...]
    notes: dict[str, list[str]] = field(default_factory=dict)


def match_labels(columns: Mapping[str, LabelColumn], *, names: Sequence[str] | None) -> MatchedLabels:
    """Return the class of each label; the classes are ``names``, else those of the columns, shared by all.

    Raises:
        DataError: for labels that are not a class, or may mean another one; with the line or with both lists of names.
    """
    columns = {key: _with_declared_names(column) for key, column in columns.items()}
    classes = tuple(names) if names else _declared_by_all(columns.values()) or _names_in(columns.values())
    matched = MatchedLabels({}, classes)
    numbers = {
        n
        for column in columns.values()
        if not column.declared
        for v in column.values
        if (n := number_of(v)) is not None
    }
    for key, column in columns.items():
        index, note = _declared_index(column, classes) if column.declared else _index(column, classes, numbers=numbers)
        matched.labels[key] = [index[value] for value in column.values]
        matched.notes[key] = [f"{column.short_name}: {note}"] if note and names else []
    return matched


def with_label_names(rows: Rows, names: Sequence[str], *, origin: str) -> Rows:
    """Return the rows with their classes in the order of ``names``; each class is matched by its name.

    ``origin`` names the rows in messages. What was assumed is in the notes of the rows.

    Raises:
        DataError: for classes that are not those of ``names``.
    """
    values = [rows.label_names[label] for label in rows.labels]
    column = LabelColumn(origin, range(2, len(rows) + 2), values, rows.label_names)
    index, note = _declared_index(column, tuple(names))
    labels = tuple(index[value] for value in values)
    notes = (f"{column.short_name}: {note}",) if note else ()
    return replace(rows, labels=labels, label_names=tuple(names), notes=notes)


def number_of(label: str) -> int | None:
    """Return the whole number that a label is, None for any other label."""
    if label.casefold() in _BOOLEANS:
        return _BOOLEANS[label.casefold()]
    if default := _NO_NAME.match(label):
        return int(default[1])
    return int(label.split(".", maxsplit=1)[0]) if _WHOLE.match(label) else None


def are_only_numbers(names: Sequence[str]) -> bool:
    """Return whether classes have only numbers as names: ``LABEL_0``, ``LABEL_1``, or ``0``, ``1``."""
    return all(name.strip().casefold() in (f"label_{i}", str(i)) for i, name in enumerate(names))


def _other_numbers(labels: Iterable[str], names: Sequence[str]) -> bool:
    """Return whether labels and names are whole numbers, and the names do not count from 0: a label may mean two classes."""
    return all(map(_WHOLE.match, names)) and not are_only_numbers(names) and any(map(_WHOLE.match, labels))


def same_names(left: Iterable[str], right: Iterable[str]) -> bool:
    """Return whether every name on the left is on the right too, case and joints folded."""
    return {_folded(name) for name in left} <= {_folded(name) for name in right}


def _folded(name: str) -> str:
    return _JOINTS.sub("", name.strip().casefold())


def _with_declared_names(column: LabelColumn) -> LabelColumn:
    """Return the column with the declared name for each number."""
    if not column.declared:
        return column
    if len(set(column.declared)) < len(column.declared):
        raise DataError(
            f"{column.origin} declares a class name twice: {_listed(column.declared)}", remedy="write the file again"
        )
    values = []
    for i, value in enumerate(column.values):
        number = number_of(value) if column.indexed else None
        if number is not None and 0 <= number < len(column.declared):
            values.append(column.declared[number])
        elif not column.indexed and value in column.declared:
            values.append(value)
        else:
            raise DataError(
                f"{column.row(i)}: label {value!r} is none of the {len(column.declared)} classes that the data declares",
                expected=f"0 to {len(column.declared) - 1} ({_listed(column.declared)})",
                remedy="leave out rows without a label",
            )
    return LabelColumn(column.origin, column.lines, values, column.declared)


def _declared_by_all(columns: Iterable[LabelColumn]) -> tuple[str, ...]:
    """Return the class names that the columns declare; empty if none does."""
    declaring = [column for column in columns if column.declared]
    for column in declaring[1:]:
        if column.declared != declaring[0].declared:
            raise DataError(
                f"two parts of the data declare other classes: {declaring[0].origin} {_listed(declaring[0].declared)}, "
                f"{column.origin} {_listed(column.declared)}",
                remedy="name one part (split)",
            )
    return declaring[0].declared if declaring else ()


def _names_in(columns: Iterable[LabelColumn]) -> tuple[str, ...]:
    """Return label names from the labels: ``"0" … "C-1"`` for whole numbers, else sorted."""
    columns = list(columns)
    labels = {value for column in columns for value in column.values}
    if any(map(_LISTED.match, labels)):
        column, i = next((c, i) for c in columns for i, v in enumerate(c.values) if _LISTED.match(v))
        raise several_labels(column.row(i), column.values[i])
    if not all(map(_WHOLE.match, labels)) and all(_FRACTION.match(value) or _WHOLE.match(value) for value in labels):
        raise DataError(
            f"{columns[0].origin}: the labels are fractions", expected="classes: names or whole numbers from 0"
        )
    if not all(_WHOLE.match(value) for value in labels):
        return tuple(sorted(labels))
    numbers = sorted({number_of(value) or 0 for value in labels})
    if numbers != list(range(len(numbers))):
        raise DataError(
            f"{columns[0].origin}: the whole-number labels {_listed(map(str, numbers))} are not 0 to C-1 without a gap",
            expected="labels 0, 1, … or label names",
            remedy="give the names in the model's order (label_names)",
        )
    return tuple(str(number) for number in numbers)


def several_labels(where: str, value: object) -> DataError:
    """Return the error for a row with a list of labels."""
    return DataError(
        f"{where}: {str(value)[:80]} is a list of labels",
        expected="one label a row: multi-label data is not supported",
        remedy="keep the rows of one label, and write it as a name or a number",
    )


def _declared_index(column: LabelColumn, names: tuple[str, ...]) -> tuple[dict[str, int], str]:
    """Return the class of each declared name that occurs, and a note on what was assumed."""
    used, declared = list(dict.fromkeys(column.values)), column.declared
    by_name = _by_name(used, names)
    if by_name is not None:
        return by_name, ""
    if (
        len(declared) == len(names)
        and (are_only_numbers(names) or are_only_numbers(declared))
        and not _other_numbers(declared, names)
    ):
        index = {name: i for i, name in enumerate(declared)}
        return index, f"the declared classes were matched to the model's by number: {_pairs(declared, names, index)}"
    for similar in (_by_prefix(declared, names), _by_number_in_name(declared, names)):
        if similar is not None:
            return (
                similar,
                f"the declared classes were matched to the model's by their names: {_pairs(declared, names, similar)}",
            )
    raise DataError(
        f"{column.origin} declares the classes {_listed(declared)}, the model has {_listed(names)}",
        expected="the model's class names, in any order",
        remedy="rename the classes of the data to the model's"
        + (", or name the model's in its own order with --labels" if are_only_numbers(names) else ""),
    )


def _index(column: LabelColumn, names: tuple[str, ...], *, numbers: set[int]) -> tuple[dict[str, int], str]:
    """Return the class of each label that occurs, and a note on what was assumed.

    ``numbers`` are the whole-number labels of all parts of the data.
    """
    used = list(dict.fromkeys(column.values))
    by_name = _by_name(used, names)
    if by_name is not None:
        odd = [name for name in names if _WHOLE.match(name)] and any(
            number_of(v) not in (None, i) for v, i in by_name.items()
        )
        return (
            by_name,
            f"labels were matched to the model's classes by name: {_pairs(used, names, by_name)}" if odd else "",
        )
    if any(map(_LISTED.match, used)):
        i = next(i for i, value in enumerate(column.values) if _LISTED.match(value))
        raise several_labels(column.row(i), column.values[i])
    if all(number_of(value) is not None for value in used):
        index = _by_number_in_name(used, names) if not are_only_numbers(names) else None
        if index is not None:
            return (
                index,
                f"labels were matched to the model's classes by the number in their names: {_pairs(used, names, index)}",
            )
        if _other_numbers(used, names):
            raise _no_name(column, names)
        index = _by_number(column, names, numbers=numbers)
        note = f"labels {_listed(sorted(used))} were matched to the model's classes by number: {_pairs(sorted(used), names, index)}"
        return index, "" if all(names[i] == str(i) for i in index.values()) else note
    raise _unknown(column, names)


def _by_name(values: Sequence[str], names: Sequence[str]) -> dict[str, int] | None:
    """Return the index of each value among the names, exact or folded; None if one is not a name, or may be two."""
    exact = {name: i for i, name in enumerate(names)}
    if all(value in exact for value in values):
        return {value: exact[value] for value in values}
    folded = {_folded(name): i for i, name in enumerate(names)}
    if len(folded) == len(names) and all(_folded(value) in folded for value in values):
        return {value: folded[_folded(value)] for value in values}
    return None


def _by_prefix(declared: Sequence[str], names: Sequence[str]) -> dict[str, int] | None:
    """Return the index of each declared name that is a prefix of exactly one name (``neg``, ``negative``); None unless all are."""

    def fits(left: str, right: str) -> bool:
        short, long = sorted((_folded(left), _folded(right)), key=len)
        return len(short) > 2 and long.startswith(short)

    fitting = {name: [i for i, other in enumerate(names) if fits(name, other)] for name in declared}
    if len(declared) != len(names) or any(len(places) != 1 for places in fitting.values()):
        return None
    index = {name: places[0] for name, places in fitting.items()}
    return index if len(set(index.values())) == len(names) else None


def _by_number_in_name(values: Sequence[str], names: Sequence[str]) -> dict[str, int] | None:
    """Return the index of each value by the number that it and every name starts with (``1 star``); None unless all do."""
    leading = [_NUMBERED.match(name.strip()) for name in names]
    numbers = {int(one[1]): i for i, one in enumerate(leading) if one}
    if len(numbers) < len(names):
        return None
    number = {value: int(m[1]) if (m := _NUMBERED.match(value)) else number_of(value) for value in values}
    index = {value: numbers[n] for value, n in number.items() if n in numbers}
    return index if len(index) == len(number) else None


def _by_number(column: LabelColumn, names: Sequence[str], *, numbers: set[int]) -> dict[str, int]:
    """Return the index of each whole number: the classes count from 0, and so must the labels.

    Raises:
        DataError: for numbers that are not a class, or that may count from 1.
    """
    index = {value: number_of(value) or 0 for value in column.values}
    bad = next((i for i, value in enumerate(column.values) if not 0 <= index[value] < len(names)), None)
    listed = _listed(map(str, sorted(numbers)))
    remedy = f"write the class names ({_listed(names)}), or numbers from 0: 0 = {names[0]}"
    if bad is not None and min(numbers) != 1:
        raise _unknown(column, names)
    if bad is not None or (0 not in numbers and len(numbers) > 1):
        i = bad if bad is not None else 0
        raise DataError(
            f"{column.row(i)}: label {column.values[i]!r}: the labels {listed} do not begin at 0, so it is not known which classes "
            "they mean",
            expected=f"0 to {len(names) - 1}, or class names",
            remedy=remedy,
        )
    return index


def _no_name(column: LabelColumn, names: Sequence[str]) -> DataError:
    """Return the error for a whole number that is none of the names, if these are whole numbers too."""
    i = next(i for i, value in enumerate(column.values) if _by_name([value], names) is None)
    return DataError(
        f"{column.row(i)}: label {column.values[i]!r} is not known: the model's class names are whole numbers that do not "
        "count from 0, so a label may be a name or a number",
        expected="one of " + _listed(names),
        remedy=f"rewrite the labels as {_listed(names)}",
    )


def _unknown(column: LabelColumn, names: Sequence[str]) -> DataError:
    """Return the error for the first label that does not fit in the way that most of the others do."""
    index = {_folded(name) for name in names}
    named = [_folded(value) in index for value in column.values]
    numbered = [(n := number_of(value)) is not None and 0 <= n < len(names) for value in column.values]
    if any(named) and any(numbered) and all(a or b for a, b in zip(named, numbered, strict=True)):
        i, j = named.index(True), numbered.index(True)
        return DataError(
            f"{column.origin}: labels are names in some rows ({column.values[i]!r}, line {column.lines[i]}) and numbers in others "
            f"({column.values[j]!r}, line {column.lines[j]})",
            expected="all names or all numbers",
            remedy="write every label as a name",
        )
    row = max(named, numbered, key=sum).index(False)
    no_names = are_only_numbers(names) and number_of(column.values[row]) is None
    return DataError(
        f"{column.row(row)}: label {column.values[row]!r} is not known",
        expected="one of " + _listed(names),
        nearest=nearest(column.values[row], names),
        remedy="name the model's classes in its own order with --labels, in Python label_names"
        if no_names
        else f"correct the label, or rewrite the labels as {_listed(names)}",
    )


def _pairs(values: Iterable[str], names: Sequence[str], index: Mapping[str, int]) -> str:
    return _listed(f"{value} = {names[index[value]]}" for value in values)


def _listed(words: Iterable[str]) -> str:
    every = list(words)
    return ", ".join(every[:_MAX_LISTED]) + (f", … ({len(every)} in all)" if len(every) > _MAX_LISTED else "")
