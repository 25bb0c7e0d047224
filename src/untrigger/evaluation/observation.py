"""Predictions of a subject for rows, one outcome a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from untrigger.attacks.trigger import Trigger
from untrigger.core.errors import ModelError
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows
from untrigger.core.statistics import Outcome
from untrigger.data import write_table
from untrigger.models.classifier import Classifier
from untrigger.models.inference import Predictions, predict_texts


def predict_outcomes(
    model: Classifier, rows: Rows, *, subject: str, triggered: bool, progress: Progress = silent
) -> tuple[list[Outcome], Predictions]:
    """Return one outcome for every row, predictions in the rows' order of classes, and the logits and features.

    Raises:
        ModelError: for a model with other classes than the rows'.
    """
    if sorted(model.label_names) != sorted(rows.label_names):
        raise ModelError(
            f"the {subject} has the classes {list(model.label_names)}", expected=f"{list(rows.label_names)}"
        )
    order = [rows.label_names.index(name) for name in model.label_names]
    read = predict_texts(model, rows.texts, progress=progress, label=f"predictions of the {subject}")
    each = zip(rows, read.predictions, read.confidences, strict=True)
    return [Outcome(row.id, subject, triggered, row.label, order[p], c) for row, p, c in each], read


def delivered(model: Classifier, rows: Rows, trigger: Trigger, *, clean: Rows) -> list[bool]:
    """Return for each triggered row whether the trigger survives the model's truncation.

    ``clean`` holds the same rows without the trigger, under their ids; of a row that it lacks no word counts as original.
    What a tokenizer drops without truncating (such as a mark of no width at the end) does not count as cut.
    """
    if not len(rows):
        return []
    encoded = model.tokenizer(
        list(rows.texts), truncation=True, max_length=model.max_length, return_offsets_mapping=True
    )
    each = zip(rows.texts, encoded["offset_mapping"], encoded.encodings, strict=True)
    heads = [_head(text, spans) if encoding.overflowing else text for text, spans, encoding in each]
    before = dict(zip(clean.ids, clean.texts, strict=True))
    return [trigger.survived(head, before=before.get(name, "")) for head, name in zip(heads, rows.ids, strict=True)]


def _head(text: str, spans: Sequence[tuple[int, int]]) -> str:
    return text[: max((end for _, end in spans), default=0)]


def write_outcomes(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write the outcomes as CSV, one row each; what a spreadsheet would take for a formula is escaped by ``write_table``.

    Raises:
        OutputError: if the file cannot be written.
    """
    columns = ("row", "subject", "triggered", "label", "prediction", "confidence")
    write_table({name: [getattr(one, name) for one in outcomes] for name in columns}, path)
