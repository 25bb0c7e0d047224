"""Checks and splits of the rows that a defender grants."""

from __future__ import annotations

from typing import Any

from untrigger.core.errors import DataError, OptionError
from untrigger.core.grant import Grant
from untrigger.core.rows import Rows, overlap, texts_among
from untrigger.models.classifier import Classifier


def check_granted_rows(grant: Grant, *, model: Classifier) -> None:
    """Raise DataError unless the granted rows fit the model: enough clean rows, its classes in both sets, texts without labels."""
    if grant.clean is not None:
        check_clean_rows(grant.clean, model=model)
    if grant.suspect is not None:
        _check_classes(grant.suspect, model=model, what="suspect")
    if grant.unlabelled is not None:
        _check_texts(grant.unlabelled)


def overlap_warnings(grant: Grant) -> list[str]:
    """Return warnings about clean rows and unlabelled texts that are suspect rows too; none where there are none."""
    if grant.suspect is None:
        return []
    found = []
    if grant.clean is not None and (shared := overlap(grant.clean, grant.suspect)):
        found.append(
            f"{shared} of the {len(grant.clean)} clean rows are also suspect rows: what was learned or calibrated on them "
            "says too little about the others"
        )
    if grant.unlabelled is not None and (shared := sum(texts_among(grant.unlabelled, grant.suspect.texts))):
        found.append(
            f"{shared} of the {len(grant.unlabelled)} unlabelled texts are also suspect rows: the trigger may be in some of them"
        )
    return found


def _check_texts(texts: object) -> None:
    """Raise DataError unless these are texts, one at least."""
    valid = isinstance(texts, list | tuple) and texts and all(isinstance(text, str) and text.strip() for text in texts)
    if not valid:
        raise DataError(
            "unlabelled is not a sequence of texts, or one of them is empty",
            expected="texts such as load_texts(DATA).texts, or None",
        )


def check_clean_rows(rows: Rows, *, model: Classifier, least: int = 8) -> None:
    """Raise DataError unless the clean rows have the model's classes, two rows of each, and ``least`` rows in all."""
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
    """Return rows to train on, and a stratified share ``dev`` of the rows (0 to 1), at least one of each class, to choose by.

    Raises:
        OptionError: for a share outside (0, 1).
    """
    if not 0 < dev < 1:
        raise OptionError(f"dev share {dev}", expected="a share above 0 and below 1")
    count = max(len(rows.label_names), round(dev * len(rows)))
    held, rest = rows.stratified(count, rng=generator)
    return rest, held
