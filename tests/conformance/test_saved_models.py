"""What is saved is loaded by plain ``transformers`` and ``peft`` and compared; a difference leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conformance.adapter_matrix import ADAPTERS
from tests.conformance.kit import write, write_adapter
from tests.conformance.matrix import ROWS
from tests.conformance.test_round_trip import purified
from tests.conformance.tokenizers import LENGTH
from untrigger.core.errors import ModelError, OutputError
from untrigger.defences.purifier import Purified
from untrigger.models import saving as save
from untrigger.models.classifier import Classifier
from untrigger.models.loading import load_model
from untrigger.models.saved_model_check import ROWS as COMPARED
from untrigger.models.saved_model_check import check_saved_model, comparison_texts
from untrigger.models.saving import save_classifier


def model_and_base(name: str, folder: Path) -> tuple[Classifier, Path]:
    adapter = ADAPTERS[name]
    base = write(ROWS[adapter.base], folder / "base")
    write_adapter(adapter, base, folder / "adapter")
    model = load_model(
        folder / "adapter",
        base=base,
        device="cpu",
        offline=True,
        label_names=("negative", "positive"),
        max_length=LENGTH,
    )
    return model, base


def files(folder: Path) -> list[str]:
    return sorted(str(one.relative_to(folder)) for one in folder.iterdir())


@pytest.mark.parametrize("name", ["bert: lora", "llama: lora"])
def test_a_base_that_was_changed_in_memory_only_does_not_pass(name: str, tmp_path: Path) -> None:
    """The attack: an adapter's file that overwrites a tensor of the trusted base, which is not what the user's disk holds."""
    model, _ = model_and_base(name, tmp_path)
    with torch.no_grad():
        model.module.get_input_embeddings().weight[5:60] *= -1  # type: ignore[operator]
    found = purified(model)
    before = files(tmp_path)
    with pytest.raises(ModelError, match="on disk differs from the one in memory"):
        found.save(tmp_path / "out")
    assert files(tmp_path) == before


def test_a_difference_on_one_kind_of_row_alone_is_seen(tmp_path: Path) -> None:
    """One embedding is another on disk: only the user's own rows hold that word."""
    model = load_model(write(ROWS["bert"], tmp_path / "m"), device="cpu", offline=True, max_length=LENGTH)
    (tmp_path / "out").mkdir()
    save_classifier(model, tmp_path / "out", card="")
    check_saved_model(model, tmp_path / "out", texts=["good film"])
    weights = load_file(tmp_path / "out" / "model.safetensors")
    weights["bert.embeddings.word_embeddings.weight"][model.encode(["brilliant"])[0][1]] *= -3
    save_file(weights, tmp_path / "out" / "model.safetensors", metadata={"format": "pt"})
    check_saved_model(model, tmp_path / "out", texts=["good film"])
    with pytest.raises(ModelError, match="brilliant"):
        check_saved_model(model, tmp_path / "out", texts=["good film", "a brilliant film"])


def test_a_folder_that_transformers_cannot_load_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = model_and_base("bert: lora", tmp_path)
    found = purified(model)
    from untrigger.defences import purifier as base

    def broken(victim: Classifier, student: Classifier, folder: Path, *, card: str, merge: bool) -> None:
        save.save_purified(victim, student, folder, card=card, merge=merge)
        (folder / "adapter_model.safetensors").write_bytes(b"no tensors")

    monkeypatch.setattr(base, "save_purified", broken)
    before = files(tmp_path)
    with pytest.raises(OutputError, match="cannot be loaded by plain transformers"):
        found.save(tmp_path / "out")
    assert files(tmp_path) == before


def test_the_rows_of_the_grant_are_compared(tmp_path: Path) -> None:
    found: Purified = purified(
        load_model(write(ROWS["bert"], tmp_path / "m"), device="cpu", offline=True, max_length=LENGTH)
    )
    assert len(found.texts) == 24
    assert comparison_texts([str(i) for i in range(480)]) == tuple(str(i) for i in range(0, 480, 480 // COMPARED))
    assert comparison_texts([]) == ()


@pytest.mark.parametrize(("name", "words"), [("llama: lora", "names no pad token"), ("bert: lora", "num_labels=2")])
def test_the_card_says_how_the_model_is_loaded(name: str, words: str, tmp_path: Path) -> None:
    model, base = model_and_base(name, tmp_path)
    purified(model).save(tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert words in card
    assert str(base) in card
