"""Adapters of language models: as plain peft reads them, under the whitelist of classifiers, saved, merged and removed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.models.kit import add_tensors, edit
from tests.models.language_kit import PROMPTS, load_speaker, save_adapter, with_random_adapter
from tests.tiny import write_language_model
from untrigger.core.errors import ModelError, OutputError, UnsafeFileError, UserError
from untrigger.models.adapters import AdapterOptions
from untrigger.models.answer_scoring import answer_kl, answer_log_likelihood
from untrigger.models.chat import render_prompts
from untrigger.models.generation import GenerationOptions, generate_answers
from untrigger.models.language_adapters import (
    attach_to_language_model,
    merge_language_adapter,
    remove_language_adapter,
)
from untrigger.models.language_model import LanguageModel
from untrigger.models.saved_language_model_check import check_saved_language_model
from untrigger.models.saving import save_language_model

ADAPTERS: dict[str, dict[str, Any]] = {
    "lora": {"targets": ("all-linear",)},
    "lora of two": {"targets": ("q_proj", "v_proj")},
    "dora": {"method": "dora"},
    "upper half": {"upper": 0.5},
}


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_model("llama", tmp_path_factory.mktemp("base"))


@pytest.fixture
def base(base_folder: Path) -> LanguageModel:
    return load_speaker(base_folder)


@pytest.fixture
def adapter(base: LanguageModel, tmp_path: Path) -> Path:
    return save_adapter(base, tmp_path / "adapter")


def totals(model: LanguageModel) -> list[float]:
    return [score.total for score in answer_log_likelihood(model, PROMPTS)]


@pytest.mark.parametrize("kind", ADAPTERS)
def test_an_adapter_is_the_same_after_saving_in_plain_peft_and_merged(
    base: LanguageModel, base_folder: Path, tmp_path: Path, kind: str
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    made = with_random_adapter(base, **ADAPTERS[kind])
    (tmp_path / "out").mkdir()
    save_language_model(made, tmp_path / "out", card="# card")
    check_saved_language_model(made, tmp_path / "out", prompts=PROMPTS)
    again = load_speaker(tmp_path / "out")
    assert (again.source.kind, again.source.base, again.max_length) == ("adapter", str(base_folder), base.max_length)
    assert again.tokenizer.chat_template == base.tokenizer.chat_template
    assert totals(made) == pytest.approx(totals(again), abs=1e-4)
    assert totals(merge_language_adapter(again)) == pytest.approx(totals(again), abs=1e-3)
    assert max(abs(a - b) for a, b in zip(totals(base), totals(again), strict=True)) > 0.1, "it changes the answers"
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base_folder), str(tmp_path / "out")).eval()
    for row in render_prompts(again, PROMPTS, answers=True):
        ids = torch.tensor([row.ids])
        with torch.inference_mode():
            torch.testing.assert_close(again.module(input_ids=ids).logits, plain(input_ids=ids).logits)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_full_weights_are_the_same_after_saving(tmp_path: Path, kind: str) -> None:
    model = load_speaker(write_language_model(kind, tmp_path / "base"))
    whole = merge_language_adapter(with_random_adapter(model))
    (tmp_path / "out").mkdir()
    save_language_model(whole, tmp_path / "out", card="# card")
    check_saved_language_model(whole, tmp_path / "out", prompts=PROMPTS)
    assert totals(load_speaker(tmp_path / "out")) == pytest.approx(totals(whole), abs=1e-4)


def test_a_saved_model_that_differs_is_found(base: LanguageModel, adapter: Path, tmp_path: Path) -> None:
    loaded = load_speaker(adapter)
    with pytest.raises(ModelError, match="differs from the one in memory"):
        check_saved_language_model(with_random_adapter(base, seed=1), adapter)
    other = Path(shutil.copytree(adapter, tmp_path / "other"))
    (other / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}!{% endfor %}")
    with pytest.raises(ModelError, match="renders a prompt"):
        check_saved_language_model(loaded, other)
    (other / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be loaded"):
        check_saved_language_model(loaded, other)


def test_the_base_below_an_adapter_is_the_one_on_disk(base: LanguageModel, adapter: Path) -> None:
    loaded = load_speaker(adapter)
    below = remove_language_adapter(loaded)
    assert totals(below) == totals(base)
    assert below.source.kind == "full" and below.source.name == str(loaded.source.base)
    assert below.module.get_input_embeddings().weight.data_ptr() == (
        loaded.module.get_input_embeddings().weight.data_ptr()
    ), "no second copy of the weights"
    assert totals(loaded) != totals(below), "the adapter is still on the other"
    assert all(score.total > 0 for score in answer_kl(loaded, below, PROMPTS))
    with pytest.raises(ModelError, match="no adapter"):
        remove_language_adapter(below)


def test_trained_biases_do_not_stay_in_the_base(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = load_speaker(write_language_model("qwen2", tmp_path / "base"))
    tuned = get_peft_model(
        load_speaker(tmp_path / "base").module,
        LoraConfig(r=2, target_modules=["q_proj"], bias="all", task_type="CAUSAL_LM"),
    )
    with torch.no_grad():
        for name, value in tuned.named_parameters():
            if name.endswith("bias"):
                value += 1
    tuned.save_pretrained(tmp_path / "tuned")
    loaded = load_speaker(tmp_path / "tuned", base=tmp_path / "base")
    before = totals(loaded)
    assert totals(remove_language_adapter(loaded)) == totals(base) != before
    assert totals(loaded) == before, "the loaded model is unharmed"


def test_only_the_adapter_is_trainable_and_the_base_is_shared(base: LanguageModel) -> None:
    made = attach_to_language_model(base, AdapterOptions(rank=2), generator=torch.Generator().manual_seed(0))
    trained = [name for name, value in made.module.named_parameters() if value.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    assert totals(made) == pytest.approx(totals(base), abs=1e-5), "a new adapter changes nothing"
    assert not any(
        value.requires_grad for value in with_random_adapter(base).module.get_input_embeddings().parameters()
    )


def test_a_second_adapter_goes_on_top_of_a_loaded_one(adapter: Path) -> None:
    loaded = load_speaker(adapter)
    more = attach_to_language_model(loaded, AdapterOptions(rank=2), generator=torch.Generator().manual_seed(3))
    assert totals(more) == pytest.approx(totals(loaded), abs=1e-4)


@pytest.mark.parametrize(
    "key",
    [
        "base_model.model.model.embed_tokens.weight",
        "base_model.model.lm_head.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight",
        "model.norm.weight",
    ],
)
def test_an_adapter_cannot_overwrite_a_weight_of_its_base(adapter: Path, base_folder: Path, key: str) -> None:
    own = load_file(base_folder / "model.safetensors")[key.removeprefix("base_model.model.").replace(".base_layer", "")]
    add_tensors(adapter / "adapter_model.safetensors", **{key: own + 1})
    with pytest.raises(UnsafeFileError, match="does not imply") as caught:
        load_speaker(adapter)
    assert key in caught.value.what


def test_modules_to_save_need_their_tensors_and_are_loaded_with_them(adapter: Path, base_folder: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    edit(adapter / "adapter_config.json", modules_to_save=["lm_head"])
    with pytest.raises(ModelError, match="lacks .*lm_head"):
        load_speaker(adapter)
    head = load_file(base_folder / "model.safetensors")["lm_head.weight"]
    add_tensors(file, **{"base_model.model.lm_head.weight": head * 2})
    loaded = load_speaker(adapter)
    assert totals(remove_language_adapter(loaded)) == totals(load_speaker(base_folder)) != totals(loaded)
    edit(adapter / "adapter_config.json", modules_to_save=None)
    with pytest.raises(UnsafeFileError, match="does not imply"):
        load_speaker(adapter)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task_type": "SEQ_CLS"}, "trained for 'SEQ_CLS'"),
        ({"task_type": "SEQ_2_SEQ_LM"}, "trained for 'SEQ_2_SEQ_LM'"),
        ({"auto_map": {"AutoModel": "evil.py"}}, "remote code"),
        ({"init_lora_weights": "pissa"}, "rewrites the base"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"peft_type": "XLORA"}, "PEFT method"),
        ({"r": 10**9}, "sets r to"),
        ({"target_modules": "(a+)+$" * 9}, "."),
    ],
)
def test_a_hostile_config_is_refused(adapter: Path, changes: dict[str, object], words: str) -> None:
    edit(adapter / "adapter_config.json", **changes)
    with pytest.raises(UserError, match=words):
        load_speaker(adapter)


def test_a_vocabulary_larger_than_the_bases_is_named(adapter: Path) -> None:
    """As PEFT saves an adapter after tokens were added: embeddings under the names of its wrappers."""
    edit(adapter / "adapter_config.json", modules_to_save=["lm_head"])
    larger = {f"base_model.model.lm_head{part}.weight": torch.zeros(999, 32) for part in (".modules_to_save", "")}
    add_tensors(adapter / "adapter_model.safetensors", **larger)
    with pytest.raises(ModelError, match="a base whose vocabulary was enlarged"):
        load_speaker(adapter)


def test_an_adapter_on_another_base_is_refused(adapter: Path, tmp_path: Path) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    name = next(name for name in tensors if "q_proj.lora_A" in name)
    save_file(tensors | {name: torch.zeros(2, 31)}, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"shape \[2, 31\], the base needs \[2, 32\]"):
        load_speaker(adapter)
    with pytest.raises(ModelError, match="does not fit its base"):
        load_speaker(adapter, base=write_language_model("gpt2", tmp_path / "gpt"))
    with pytest.raises(ModelError, match="itself an adapter|trained for"):
        load_speaker(adapter, base=adapter)


def test_an_adapter_that_brings_another_chat_template_is_noted(adapter: Path) -> None:
    assert not any("template" in note for note in load_speaker(adapter).source.notes)
    (adapter / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}cf{% endfor %}")
    assert any("chat template differs" in note for note in load_speaker(adapter).source.notes)


def test_a_tied_model_keeps_its_head_tied(tmp_path: Path) -> None:
    folder = write_language_model("gpt2", tmp_path / "base")
    made = with_random_adapter(load_speaker(folder))
    (tmp_path / "out").mkdir()
    save_language_model(made, tmp_path / "out", card="")
    assert not any(
        "lm_head" in name or "wte" in name for name in load_file(tmp_path / "out" / "adapter_model.safetensors")
    )
    options = GenerationOptions(max_new_tokens=6)
    assert generate_answers(load_speaker(tmp_path / "out"), PROMPTS, options=options) == generate_answers(
        made, PROMPTS, options=options
    )
