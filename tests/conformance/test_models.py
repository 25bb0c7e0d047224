"""Every model of the matrix is read as plain ``transformers`` reads it, one text at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.kit import TEXTS, agree, plain, write
from tests.conformance.matrix import ROWS, Row
from tests.conformance.tokenizers import LENGTH
from untrigger.core.errors import UserError
from untrigger.models.inference import predict_texts
from untrigger.models.loading import load_model

CASES = [pytest.param(row, id=name, marks=() if row.quick else pytest.mark.conformance) for name, row in ROWS.items()]


def labels(row: Row) -> tuple[str, ...] | None:
    return tuple(f"class {i}" for i in range(row.classes)) if row.labels is None else None


@pytest.mark.parametrize("row", CASES)
def test_a_model_answers_as_in_plain_transformers(row: Row, tmp_path: Path) -> None:
    folder = write(row, tmp_path / "model")
    if row.refused:
        with pytest.raises(UserError, match=row.refused):
            predict_texts(
                load_model(folder, device="cpu", offline=True, label_names=labels(row), max_length=LENGTH), TEXTS
            )
        return
    model = load_model(folder, device="cpu", offline=True, label_names=labels(row), max_length=LENGTH)
    agree(predict_texts(model, TEXTS).logits, plain(folder, classes=row.classes))
