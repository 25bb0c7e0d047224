"""Checks and splits of the rows that a defender grants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from untrigger.core.errors import DataError, OptionError
from untrigger.core.grant import Grant
from untrigger.core.rows import Rows, overlap
from untrigger.models.classifier import Classifier

if TYPE_CHECKING:
    pass


def check_rows(grant: Grant, *, model: Classifier) -> None:
    """Nothing, where the rows that are granted fit the model.

    Raises:
        DataError: for clean rows that cannot teach it, or suspect rows of other classes.
    """
    if grant.clean is not None:
        check_clean(grant.clean, model=model)
    if grant.suspect is not None:
        _check_classes(grant.suspect, model=model, what="suspect")


def overlap_warnings(grant: Grant) -> list[str]:
    """What there is to say of clean rows that are suspect rows too."""
    if grant.clean is None or grant.suspect is None:
        return []
    shared = overlap(grant.clean, grant.suspect)
    if not shared:
        return []
    return [
        f"{shared} of the {len(grant.clean)} clean rows also stand among the suspect rows: what was learned or calibrated "
        "on them says too little about the others"
    ]


def check_clean(rows: Rows, *, model: Classifier, least: int = 8) -> None:
    """Nothing, where the clean rows can teach this model.

    Raises:
        DataError: for other classes than the model's, a class without rows, or too few rows.
    """
    _check_classes(rows, model=model, what="clean")
    empty = [name for name, count in rows.class_counts().items() if count < 2]
    if empty:
        raise DataError(
            f"the clean rows hold fewer than two rows of {', '.join(empty)}", remedy="give clean rows of every class"
        )
    if len(rows) < least:
        raise DataError(f"{len(rows)} clean rows", expected=f"at least {least}", remedy="give more clean rows")


def _check_classes(rows: Rows, *, model: Classifier, what: str) -> None:
    if rows.label_names != model.label_names:
        raise DataError(
            f"the {what} rows have the classes {list(rows.label_names)}",
            expected=f"the model's, in its order: {list(model.label_names)}",
            remedy="rename the labels in the file, or give the model's label names with --labels",
        )


def split_clean(rows: Rows, *, dev: float, generator: Any) -> tuple[Rows, Rows]:
    """Rows to train on and rows to choose by: a stratified share ``dev`` (0 to 1) of at least one row a class.

    Raises:
        OptionError: for a share outside (0, 1).
    """
    if not 0 < dev < 1:
        raise OptionError(f"dev share {dev}", expected="a share above 0 and below 1")
    count = max(len(rows.label_names), round(dev * len(rows)))
    held, rest = rows.stratified(count, rng=generator)
    return rest, held
