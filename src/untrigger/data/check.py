"""Whether rows will do for what is asked of them."""

from __future__ import annotations

from untrigger.core.errors import DataError
from untrigger.core.rows import Rows


def check_rows(rows: Rows, *, require_classes: int = 2, require_rows: int = 1, what: str = "the data") -> Rows:
    """The same rows, where they hold enough rows of enough classes.

    Args:
        rows: the rows to look at.
        require_classes: number of classes that must have rows.
        require_rows: number of rows that there must be.
        what: how the message calls the rows.

    Raises:
        DataError: with the counts that were found.
    """
    if len(rows) < require_rows:
        raise DataError(f"{what} has {len(rows)} rows", expected=f"at least {require_rows}")
    filled = {name: count for name, count in rows.class_counts().items() if count}
    if len(filled) < require_classes:
        counts = ", ".join(f"{name}: {count}" for name, count in filled.items())
        raise DataError(
            f"{what} has rows of {len(filled)} of the classes {', '.join(rows.label_names)} ({counts})",
            expected=f"rows of at least {require_classes} classes",
            remedy="give rows of every class; check that the label column is the right one",
        )
    return rows
