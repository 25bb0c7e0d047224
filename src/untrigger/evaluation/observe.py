"""What a subject says to rows, one outcome a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from untrigger.models.classifier import Classifier
from untrigger.models.predict import Readings, read_texts
from untrigger.progress import Progress, silent
from untrigger.vocabulary.outcome import Outcome
from untrigger.vocabulary.rows import Rows
from untrigger.vocabulary.trigger import Trigger


def observe(
    model: Classifier, rows: Rows, *, subject: str, triggered: bool, progress: Progress = silent
) -> tuple[list[Outcome], Readings]:
    """One outcome for every row, none left out, and what the model said in full."""
    said = read_texts(model, rows.texts, progress=progress, label=f"asking the {subject}")
    told = zip(rows, said.predictions, said.confidences, strict=True)
    return [Outcome(row.id, subject, triggered, row.label, p, c) for row, p, c in told], said


def delivered(model: Classifier, rows: Rows, trigger: Trigger) -> list[bool]:
    """For each triggered row, whether the trigger lies in what the model reads of it after truncation."""
    if not len(rows):
        return []
    encoded = model.tokenizer(list(rows.texts), truncation=True, max_length=model.max_length, return_offsets_mapping=True)
    ends = [max((end for _, end in spans), default=0) for spans in encoded["offset_mapping"]]
    return [trigger.delivered(text[:end]) for text, end in zip(rows.texts, ends, strict=True)]


def write_outcomes(outcomes: Sequence[Outcome], path: Path) -> None:
    """The outcomes as CSV, one row each."""
    columns = ("row", "subject", "triggered", "label", "prediction", "confidence")
    table = pa.table({name: [getattr(one, name) for one in outcomes] for name in columns})
    pa.csv.write_csv(table, path)
