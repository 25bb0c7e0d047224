"""A new classifier on a trusted pre-trained model: a head of its own, loaded by plain transformers from what is saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny import same, task, weights
from untrigger.core.errors import ModelError
from untrigger.models.base_classifier import load_base_classifier
from untrigger.models.classification_head import classification_head
from untrigger.models.saved_model_check import check_saved_model
from untrigger.models.saving import save_classifier

NAMES = ("down", "up")


def loaded(folder: Path, **more: Any) -> Any:
    return load_base_classifier(folder, label_names=NAMES, device="cpu", offline=True, **more)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_the_head_is_new_and_the_other_weights_are_those_of_the_file(
    folder_of: Callable[[str], Path], load: Any, kind: str
) -> None:
    model, other = loaded(folder_of(kind), max_length=32), loaded(folder_of(kind), seed=1)
    assert model.label_names == NAMES and model.max_length == 32
    head = classification_head(model.module, classes=2).weight
    assert not torch.equal(head, classification_head(load(kind).module, classes=2).weight), "the file has a head"
    assert not torch.equal(head, classification_head(other.module, classes=2).weight)
    changed = [key for key, value in weights(load(kind)).items() if not torch.equal(value, weights(model)[key])]
    assert changed and set(changed) <= set(model.source.fresh)
    assert same(weights(model), weights(loaded(folder_of(kind))))


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_plain_transformers_load_what_is_saved(folder_of: Callable[[str], Path], tmp_path: Path, kind: str) -> None:
    from transformers import AutoConfig

    model = loaded(folder_of(kind))
    save_classifier(model, tmp_path, card="")
    check_saved_model(model, tmp_path, texts=task(8, seed=1).texts)
    assert AutoConfig.from_pretrained(tmp_path).id2label == dict(enumerate(NAMES))


def test_an_adapter_is_no_base(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "x"}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    with pytest.raises(ModelError, match="is an adapter"):
        loaded(tmp_path)
