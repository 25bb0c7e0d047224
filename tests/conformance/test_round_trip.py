"""Purified, saved, loaded by plain ``transformers`` and ``peft``: the same answers, for every model and adapter that is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.adapter_matrix import ADAPTERS, Adapter
from tests.conformance.kit import TEXTS, agree, answers_or_error, plain, write, write_adapter
from tests.conformance.matrix import ROWS, Row
from tests.conformance.test_models import labels
from tests.conformance.tokenizers import LENGTH
from tests.tiny import task
from untrigger.core.errors import UserError
from untrigger.core.grant import Grant
from untrigger.core.rows import Rows
from untrigger.defences.fine_tuning import FineTune
from untrigger.defences.purifier import Purified
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.models.loading import load_model
from untrigger.models.safety.model_folder import read_json

TRAINED = frozenset(
    (
        "bert: lora",
        "bert: lora on the head",
        "bert: lora, trainable tokens",
        "bert: IA3Config",
        "llama: lora, all-linear",
        "llama: lora on the head, no task",
        "bert, 64 classes: lora on the head",
    )
)
"""Adapters that `make test` trains on; the others, and half of the models, wait for `make conformance`."""
READ_ONLY = frozenset(
    (
        "roberta",
        "distilbert",
        "qwen2",
        "gpt2, token types",
        "llama, pad is eos",
        "llama, cut on the left",
        "bert, return_dict false",
        "bert, bfloat16",
        "bert, no names",
    )
)
"""Models of the slice that `make test` reads (test_models.py) and does not train."""
MODEL_CASES = [
    pytest.param(row, id=name, marks=() if row.quick and name not in READ_ONLY else pytest.mark.conformance)
    for name, row in ROWS.items()
    if row.purify
]


def grant_for(model: Classifier) -> Grant:
    rows = task(max(24, 4 * model.classes), seed=9)
    return Grant(
        clean=Rows.of(rows.texts, [i % model.classes for i in range(len(rows))], label_names=model.label_names), seed=0
    )


def base_of(folder: Path) -> Path | None:
    config = folder / "adapter_config.json"
    return Path(read_json(config)["base_model_name_or_path"]) if config.exists() else None


def purified(model: Classifier) -> Purified:
    found = FineTune(steps=2, lr=0.01, batch_size=8, rank=4).purify(model, grant_for(model))
    gap = (predict_texts(found.model, TEXTS).logits - predict_texts(model, TEXTS).logits).abs().max()
    assert gap > 1e-3, "nothing was trained"
    return found


def saved(found: Purified, folder: Path, *, merge: bool) -> None:
    """Save it, and compare what plain transformers and peft make of the folder with what the model in memory answers."""
    found.save(folder, merge=merge)
    expected = predict_texts(found.model, TEXTS).logits
    agree(plain(folder, classes=found.model.classes, base=base_of(folder)), expected, close=3e-5)
    assert merge == (base_of(folder) is None)
    _tidy(folder)


def _tidy(folder: Path) -> None:
    """No tensor stands twice in what was written, and none that belongs to a way of computing only."""
    from safetensors import safe_open

    keys: list[str] = []
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as opened:
            keys += opened.keys()
    assert not [key for key in keys if "update_" in key or "base_layer" in key]
    heads = [
        key for key in keys if key.split(".")[-1] == "weight" and any(h in key for h in ("score", "classifier.weight"))
    ]
    assert len(heads) == len(set(heads))


@pytest.mark.parametrize("row", MODEL_CASES)
def test_a_purified_model_is_read_by_transformers(row: Row, tmp_path: Path) -> None:
    model = load_model(
        write(row, tmp_path / "m"), device="cpu", offline=True, label_names=labels(row), max_length=LENGTH
    )
    if row.unpurified:
        with pytest.raises(UserError, match=row.unpurified):
            purified(model)
        return
    found = purified(model)
    saved(found, tmp_path / "kept", merge=False)
    saved(found, tmp_path / "merged", merge=True)


ADAPTER_CASES = [
    pytest.param(row, id=name, marks=() if name in TRAINED or (row.quick and row.merged) else pytest.mark.conformance)
    for name, row in ADAPTERS.items()
]


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
@pytest.mark.parametrize("adapter", ADAPTER_CASES)
def test_a_purified_adapter_is_read_by_peft(adapter: Adapter, tmp_path: Path) -> None:
    row = ROWS[adapter.base]
    base = write(row, tmp_path / "base")
    folder = write_adapter(adapter, base, tmp_path / "adapter")
    if isinstance(answers_or_error(folder, base=base, classes=row.classes), Exception):
        pytest.skip("plain peft cannot read it; tests/conformance/test_adapters.py checks that it is refused")
    model = load_model(folder, base=base, device="cpu", offline=True, label_names=row.labels, max_length=LENGTH)
    if adapter.merged:  # nothing can be put on it: refused before anything is trained
        with pytest.raises(UserError, match=adapter.merged) as refused:
            FineTune(steps=1).purify(model, grant_for(model))
        assert "--merge" not in str(refused.value.remedy)
        return
    found = purified(model)
    saved(found, tmp_path / "merged", merge=True)
    if adapter.purified:
        with pytest.raises(UserError, match=adapter.purified):
            found.save(tmp_path / "kept")
        assert sorted(one.name for one in tmp_path.iterdir()) == ["adapter", "base", "merged"], (
            "something was left behind"
        )
    else:
        saved(found, tmp_path / "kept", merge=False)
