"""Every adapter of the matrix is read as plain ``peft`` reads it, one text at a time, and merged without a change of answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.adapter_matrix import ADAPTERS, Adapter
from tests.conformance.kit import TEXTS, agree, answers_or_error, write, write_adapter
from tests.conformance.matrix import ROWS
from tests.conformance.tokenizers import LENGTH
from untrigger.core.errors import UserError
from untrigger.models.adapter_merging import merge_adapter
from untrigger.models.inference import predict_texts
from untrigger.models.loading import load_model

CASES = [
    pytest.param(row, id=name, marks=() if row.quick else pytest.mark.conformance) for name, row in ADAPTERS.items()
]


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
@pytest.mark.parametrize("adapter", CASES)
def test_an_adapter_answers_as_in_plain_peft(adapter: Adapter, tmp_path: Path) -> None:
    row = ROWS[adapter.base]
    base = write(row, tmp_path / "base")
    folder = write_adapter(adapter, base, tmp_path / "adapter")
    expected = answers_or_error(folder, base=base, classes=row.classes)
    how = {"base": base, "device": "cpu", "offline": True, "label_names": row.labels, "max_length": LENGTH}
    if isinstance(expected, Exception):  # then it is refused, and no traceback is shown
        with pytest.raises(UserError):
            predict_texts(load_model(folder, **how), TEXTS)
        return
    model = load_model(folder, **how)
    found = predict_texts(model, TEXTS).logits
    agree(found, expected)
    if adapter.merged:
        with pytest.raises(UserError, match=adapter.merged):
            merge_adapter(model)
    else:
        agree(predict_texts(merge_adapter(model), TEXTS).logits, found, close=3e-5)
