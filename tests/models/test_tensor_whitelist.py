"""Only the tensors that a config implies are loaded: an adapter cannot overwrite its base, full weights fit their layers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.models.kit import TEXTS, FolderOf, Load, add_tensors, edit, load_here
from tests.tiny import weights
from untrigger.core.errors import ModelError, UnsafeFileError
from untrigger.models.adapter_merging import remove_adapter
from untrigger.models.inference import predict_texts


@pytest.mark.parametrize(
    "key",
    [
        "base_model.model.bert.embeddings.word_embeddings.weight",
        "base_model.model.bert.encoder.layer.0.attention.self.query.base_layer.weight",
        "base_model.model.bert.encoder.layer.0.attention.self.key.weight",
        "bert.embeddings.word_embeddings.weight",
    ],
)
def test_an_adapter_cannot_overwrite_a_weight_of_its_base(adapter: Path, folder_of: FolderOf, key: str) -> None:
    """PEFT loads such a tensor into the base without a word; the adapter's own file then poisons whoever trusts the base."""
    base = load_file(folder_of("bert") / "model.safetensors")
    own = base[key.removeprefix("base_model.model.").replace(".base_layer", "")]
    add_tensors(adapter / "adapter_model.safetensors", **{key: own + 1})
    with pytest.raises(UnsafeFileError, match="does not imply") as caught:
        load_here(adapter)
    assert key in caught.value.what


def test_a_copy_of_the_bases_own_embedding_may_stand_beside_an_adapter_on_it(load: Load, tmp_path: Path) -> None:
    """As PEFT itself saves an adapter whose targets include the embedding."""
    from peft import LoraConfig, get_peft_model

    tuned = get_peft_model(
        load("bert").module, LoraConfig(r=2, target_modules=["word_embeddings"], task_type="SEQ_CLS")
    )
    tuned.save_pretrained(tmp_path / "tuned", save_embedding_layers=True)
    assert any("base_layer" in name for name in load_file(tmp_path / "tuned" / "adapter_model.safetensors"))
    assert load_here(tmp_path / "tuned").source.kind == "adapter"
    add_tensors(
        tmp_path / "tuned" / "adapter_model.safetensors",
        **{
            name: value + 1
            for name, value in load_file(tmp_path / "tuned" / "adapter_model.safetensors").items()
            if "base_layer" in name
        },
    )
    with pytest.raises(UnsafeFileError, match="does not imply"):
        load_here(tmp_path / "tuned")


def test_the_base_of_a_loaded_adapter_is_the_one_on_disk(adapter: Path, load: Load) -> None:
    plain, below = weights(load("bert")), weights(remove_adapter(load_here(adapter)))
    assert plain.keys() == below.keys() and all(torch.equal(plain[name], below[name]) for name in plain)


def test_biases_trained_beside_a_lora_do_not_stay_in_the_base(load: Load, tmp_path: Path) -> None:
    """PEFT loads them into the base itself; the base that is gone back to is the one on disk all the same."""
    from peft import LoraConfig, get_peft_model

    tuned = get_peft_model(
        load("bert").module, LoraConfig(r=2, target_modules=["query"], bias="all", task_type="SEQ_CLS")
    )
    with torch.no_grad():
        for name, value in tuned.named_parameters():
            if name.endswith("bias"):
                value += 1
    tuned.save_pretrained(tmp_path / "tuned")
    model, plain = load_here(tmp_path / "tuned"), weights(load("bert"))
    inside = weights(model)
    key = "bert.encoder.layer.0.output.dense.bias"
    assert not torch.equal(next(value for name, value in inside.items() if name.endswith(key)), plain[key]), (
        "it is trained"
    )
    below = weights(remove_adapter(model))
    assert plain.keys() == below.keys() and all(torch.equal(plain[name], below[name]) for name in plain)


def test_keys_with_the_adapters_name_in_them_are_not_dropped_silently(adapter: Path) -> None:
    """PEFT ignores them, so the adapter would do nothing; a scanner that reads them otherwise sees another model."""
    file = adapter / "adapter_model.safetensors"
    renamed = {name.replace("lora_A.weight", "lora_A.default.weight"): value for name, value in load_file(file).items()}
    save_file(renamed, file, metadata={"format": "pt"})
    with pytest.raises(UnsafeFileError, match=r"lora_A\.default\.weight"):
        load_here(adapter)


def test_a_tensor_of_another_size_is_named_with_both_sizes(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    name = next(name for name in load_file(file) if "lora_A" in name)
    add_tensors(file, **{name: torch.zeros(2, 31)})
    with pytest.raises(ModelError, match=r"shape \[2, 31\], the base needs \[2, 32\]") as caught:
        load_here(adapter)
    assert name in caught.value.what


def test_an_adapter_without_a_head_on_a_base_without_one_is_refused(
    load: Load, folder_of: FolderOf, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    base = Path(shutil.copytree(folder_of("llama"), tmp_path / "base"))
    body = {
        name: value for name, value in load_file(base / "model.safetensors").items() if not name.startswith("score")
    }
    save_file(body, base / "model.safetensors", metadata={"format": "pt"})
    get_peft_model(load("llama").module, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(
        tmp_path / "headless"
    )
    with pytest.raises(ModelError, match=r"no classification head.*score\.weight"):
        load_here(tmp_path / "headless", base=base)
    assert load_here(tmp_path / "headless", base=folder_of("llama")).classes == 2, "the base's own head counts"
    with pytest.raises(ModelError, match=r"score\.weight"):
        load_here(base)
    edit(tmp_path / "headless" / "adapter_config.json", task_type="CAUSAL_LM")
    with pytest.raises(ModelError, match="trained for 'CAUSAL_LM'"):
        load_here(tmp_path / "headless", base=folder_of("llama"))


def test_a_tensor_that_no_layer_takes_is_an_error_that_names_it(bert: Path) -> None:
    add_tensors(bert / "model.safetensors", **{"bert.encoder.layer.0.attention.self.query.weight_scale": torch.ones(1)})
    with pytest.raises(ModelError, match=r"no layer of the model takes, first 'bert\.encoder.*weight_scale'"):
        load_here(bert)


@pytest.mark.parametrize(
    ("kind", "part"),
    [("bert", "classifier.bias"), ("bert", "bert.pooler"), ("llama", "model.norm.weight"), ("llama", "score.weight")],
)
def test_a_layer_that_no_file_holds_is_an_error_that_names_it(
    folder_of: FolderOf, tmp_path: Path, kind: str, part: str
) -> None:
    folder = Path(shutil.copytree(folder_of(kind), tmp_path / "cut"))
    tensors = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if not name.startswith(part)}
    assert len(kept) < len(tensors)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=part.replace(".", r"\.")):
        load_here(folder)


def test_a_head_of_pre_training_that_was_left_in_the_file_is_no_error(bert: Path) -> None:
    """Popular fine-tuned RoBERTas still hold a pooler that no layer takes; plain transformers leaves it out."""
    said = predict_texts(load_here(bert), TEXTS).logits
    add_tensors(
        bert / "model.safetensors", **{"lm_head.weight": torch.ones(2, 2), "cls.predictions.bias": torch.ones(2)}
    )
    assert torch.equal(predict_texts(load_here(bert), TEXTS).logits, said)
