"""What the fuzzing of model folders found, kind by kind: each is one message that names the user's folder, or does no harm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.models.kit import edit, load_here
from tests.tiny import write_model
from untrigger.core.errors import ModelError, UnsafeFileError
from untrigger.models.adapters import AdapterOptions, attach
from untrigger.models.inference import predict_texts
from untrigger.models.saving import save_classifier


def refused(folder: Path, words: str) -> ModelError:
    """The error, which names the user's folder and not the private copy."""
    with pytest.raises(ModelError, match=words) as caught:
        load_here(folder)
    assert str(folder) in str(caught.value) and "untrigger-model-" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_broken_file_is_named_by_the_users_path(bert: Path, name: str) -> None:
    (bert / name).write_text("{")
    assert str(bert / name) in refused(bert, "not readable JSON").what


@pytest.mark.parametrize(
    "changes", [{"num_hidden_layers": 10**9}, {"num_hidden_layers": 10**30}, {"text_config": {"n_layer": 10**7}}]
)
def test_more_layers_than_any_file_holds_are_refused_before_they_are_made(
    bert: Path, changes: dict[str, object]
) -> None:
    edit(bert / "config.json", **changes)
    refused(bert, "beside .* tensors|could not be loaded")


def test_a_config_that_asks_for_far_more_weights_than_there_are_makes_none(bert: Path) -> None:
    edit(bert / "config.json", vocab_size=10**12)
    refused(bert, r"requires 32,0\d\d,\d\d\d,\d\d\d,\d\d\d weights.*word_embeddings")


def test_a_tensor_of_another_size_is_named_with_both(bert: Path) -> None:
    edit(bert / "config.json", intermediate_size=48)
    refused(bert, r"intermediate\.dense\.\w+' in .* has the shape \[64.* requires \[48")


def test_a_rank_beyond_every_tensor_makes_no_adapter(bert: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    save_classifier(attach(load_here(bert), AdapterOptions(rank=2, targets=("query",))), tmp_path / "adapter", card="")
    edit(tmp_path / "adapter" / "adapter_config.json", r=10**9)
    refused(tmp_path / "adapter", "sets r to 1,000,000,000")


@pytest.mark.parametrize("names", [{"0": "a", "2": "b"}, {"1": "a", "2": "b"}, {}, {"0": "a", "1": "b", "2": "c"}])
def test_names_that_leave_a_class_out_or_add_one_are_refused(bert: Path, names: dict[str, str]) -> None:
    edit(bert / "config.json", id2label=names)
    refused(bert, "label names|names 0 classes|the head has 2")


@pytest.mark.parametrize(
    "changes", [{"layer_norm_eps": float("nan")}, {"num_attention_heads": -4}, {"chunk_size_feed_forward": 7}]
)
def test_a_model_that_cannot_answer_is_refused_when_it_is_loaded(bert: Path, changes: dict[str, object]) -> None:
    edit(bert / "config.json", **changes)
    refused(bert, "not finite|cannot classify|could not be loaded")


def test_a_config_does_not_choose_the_attention_kernel(llama: Path) -> None:
    """One kernel starts a compiler, whatever attention ``from_pretrained`` is given."""
    before = predict_texts(load_here(llama), ["a good film"]).logits
    edit(llama / "config.json", _attn_implementation="flex_attention")
    model = load_here(llama)
    assert model.module.config._attn_implementation == "eager"
    assert torch.equal(predict_texts(model, ["a good film"]).logits, before)


def test_a_small_number_of_positions_does_not_hide_a_text_from_a_scan(llama: Path) -> None:
    """A decoder with rotary positions reads on, as plain programs do."""
    long = ["good film " * 30]
    before = predict_texts(load_here(llama), long).logits
    edit(llama / "config.json", max_position_embeddings=4)
    model = load_here(llama)
    assert model.max_length == 128
    torch.testing.assert_close(predict_texts(model, long).logits, before)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_where_a_file_should_be_is_one_message(bert: Path, name: str) -> None:
    (bert / name).unlink()
    (bert / name).mkdir()
    with pytest.raises(UnsafeFileError, match="pipe, a device or a folder"):
        load_here(bert)


def change_tokenizer_part(folder: Path, key: str, **changes: object) -> None:
    raw = json.loads((folder / "tokenizer.json").read_text())
    raw[key] = changes if raw[key] is None else raw[key] | changes
    (folder / "tokenizer.json").write_text(json.dumps(raw))


def test_a_tokenizer_that_splits_at_random_is_refused(llama: Path) -> None:
    change_tokenizer_part(llama, "model", dropout=0.5)
    refused(llama, "splits texts at random")


def test_a_token_with_a_number_far_beyond_the_others_does_not_hang(llama: Path) -> None:
    vocabulary = json.loads((llama / "tokenizer.json").read_text())["model"]["vocab"]
    change_tokenizer_part(llama, "model", vocab=vocabulary | {"zzz": 2**31})
    refused(llama, "numbers 'zzz' with 2,147,483,648")


def test_a_panic_of_the_tokenizer_is_one_message_and_prints_nothing(
    llama: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    change_tokenizer_part(llama, "normalizer", type="Precompiled", precompiled_charsmap="AAAA")
    refused(llama, "makes its library crash")
    assert "panicked" not in capfd.readouterr().err


@pytest.mark.parametrize("length", [-1, 0, 3, "64", 1.5])
def test_a_length_that_no_text_fits_into_is_refused(bert: Path, length: object) -> None:
    edit(bert / "tokenizer_config.json", model_max_length=length)
    refused(bert, "model_max_length|no usable tokenizer")


def test_tokens_without_a_row_in_the_embedding_are_named(tmp_path: Path) -> None:
    folder = write_model("bert", tmp_path / "model")
    raw = json.loads((folder / "tokenizer.json").read_text())
    raw["model"]["vocab"]["film"] = 500
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    assert any(
        "1 tokens of the tokenizer have no row in the embedding of 99 ('film')" in note
        for note in load_here(folder).source.notes
    )


def test_a_head_of_more_rows_than_the_config_has_classes_is_refused(bert: Path) -> None:
    tensors = load_file(bert / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        tensors[name] = torch.cat([tensors[name], tensors[name][:1]])
    save_file(tensors, bert / "model.safetensors", metadata={"format": "pt"})
    refused(bert, "has 2 classes, the head has 3")
