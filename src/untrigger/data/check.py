"""Check that rows hold enough rows of enough classes."""

from __future__ import annotations

from untrigger.core.errors import DataError
from untrigger.core.rows import Rows


def check_rows(rows: Rows, *, require_classes: int = 2, require_rows: int = 1, what: str = "the data") -> Rows:
    """Return the same rows; raise DataError unless they hold enough rows of enough classes.

    Args:
        rows: the rows to check.
        require_classes: number of classes that must have rows.
        require_rows: number of rows that are needed.
        what: the name of the rows in the message.

    Raises:
        DataError: with the counts of the rows.
    """
    if len(rows) < require_rows:
        raise DataError(f"{what} has {len(rows)} rows", expected=f"at least {require_rows}")
    present = {name: count for name, count in rows.class_counts().items() if count}
    if len(present) < require_classes:
        counts = ", ".join(f"{name}: {count}" for name, count in present.items())
        raise DataError(
            f"{what} has rows of {len(present)} of the classes {', '.join(rows.label_names)} ({counts})",
            expected=f"rows of at least {require_classes} classes",
            remedy="give rows of every class; check that the label column is the right one",
        )
    return rows
