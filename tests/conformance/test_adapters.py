"""Every adapter of the matrix is read as plain ``peft`` reads it, one text at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.kit import TEXTS, agree, plain, write, write_adapter
from tests.conformance.matrix import ADAPTERS, ROWS, Adapter
from tests.conformance.tokenizers import LENGTH
from untrigger.errors import UserError
from untrigger.models.load import load_model
from untrigger.models.predict import read_texts

CASES = [pytest.param(row, id=name, marks=() if row.quick else pytest.mark.conformance) for name, row in ADAPTERS.items()]


@pytest.mark.parametrize("adapter", CASES)
def test_an_adapter_answers_as_in_plain_peft(adapter: Adapter, tmp_path: Path) -> None:
    row = ROWS[adapter.base]
    base = write(row, tmp_path / "base")
    folder = write_adapter(adapter, base, tmp_path / "adapter")
    if adapter.refused:
        with pytest.raises(UserError, match=adapter.refused):
            read_texts(load_model(folder, base=base, device="cpu", offline=True, label_names=row.labels, max_length=LENGTH), TEXTS)
        return
    model = load_model(folder, base=base, device="cpu", offline=True, label_names=row.labels, max_length=LENGTH)
    agree(read_texts(model, TEXTS).logits, plain(folder, base=base, classes=row.classes))
