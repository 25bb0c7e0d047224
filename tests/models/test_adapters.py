"""Adapters: what is trained, what is not, and that plain transformers and peft read what we wrote."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForSequenceClassification, LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.tiny import same, task, weights
from untrigger.core.errors import ModelError, OptionError
from untrigger.models.adapter_merging import fold_adapters, lora_updates, merge_adapter
from untrigger.models.adapter_targets import target_pattern
from untrigger.models.adapters import METHODS, AdapterOptions, attach
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.models.loading import load_model
from untrigger.models.saving import save_classifier, save_folded
from untrigger.training.loop import Plan
from untrigger.training.supervised import fine_tune

Load = Callable[[str], Classifier]
ROWS = task(32)
TEXTS = [*ROWS.texts[:6], "good", "a very dull ending " * 4]
QV = {"bert": ("query", "value"), "llama": ("q_proj", "v_proj"), "gpt2": ("c_attn",)}


def adapted(model: Classifier, options: AdapterOptions, *, seed: int = 0, lr: float = 0.02) -> Classifier:
    """``model`` with an adapter that was really trained."""
    student = attach(model, options, generator=torch.Generator().manual_seed(seed))
    fine_tune(student, task(32, seed=seed), plan=Plan(lr=lr, epochs=3, batch_size=8), seed=seed)
    return student


def said(model: Classifier) -> torch.Tensor:
    return predict_texts(model, TEXTS).logits


def plainly(folder: Path) -> torch.Tensor:
    """What transformers and peft say by themselves about the model in ``folder``."""
    config = folder / "adapter_config.json"
    result = json.loads((folder / "untrigger.json").read_text())
    root = json.loads(config.read_text())["base_model_name_or_path"] if config.exists() else folder
    module = AutoModelForSequenceClassification.from_pretrained(root, num_labels=len(result["label_names"]))
    if config.exists():
        warnings.filterwarnings("ignore", "Unsupported layer type", UserWarning)  # PEFT's own, at norm layers
        module = PeftModel.from_pretrained(module, str(folder))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    module = module.eval()
    with torch.no_grad():
        return torch.cat([module(**tokenizer(text, return_tensors="pt")).logits for text in TEXTS])


def close(left: torch.Tensor, right: torch.Tensor) -> None:
    torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_only_adapter_and_head_are_trained_and_the_victim_stays(load: Load, kind: str, method: str) -> None:
    victim = load(kind)
    before = weights(victim)
    student = attach(victim, AdapterOptions(method=method, rank=4), generator=torch.Generator().manual_seed(1))
    close(said(student), said(victim))  # a new adapter begins by doing nothing
    base = {key: value for key, value in weights(student).items() if "base_layer" in key or "original_module" in key}
    names = [name for name, value in student.module.named_parameters() if value.requires_grad]
    assert names
    assert all(any(part in name for part in ("lora_", "ia3_", "ln_tuning_", "modules_to_save")) for name in names)
    fine_tune(student, ROWS, plan=Plan(lr=0.05, epochs=2, batch_size=8), seed=0)
    assert (said(student) - said(victim)).abs().max() > 1e-3, "nothing was trained"
    after = weights(student)
    assert all(torch.equal(after[key], value) for key, value in base.items())
    assert same(weights(victim), before)


@pytest.mark.parametrize("method", METHODS)
def test_no_warning_of_a_library_reaches_the_user(load: Load, method: str) -> None:
    victim = load("bert")
    with warnings.catch_warnings(record=True) as result:
        warnings.simplefilter("always")
        attach(victim, AdapterOptions(method=method, rank=2))
    assert not [str(one.message) for one in result]


def test_a_seed_fixes_the_adapters_start_and_leaves_the_global_stream(load: Load) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, again, other = (
        attach(load("bert"), AdapterOptions(rank=4), generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.rand(3), expected)
    assert same(weights(one), weights(again))
    assert not same(weights(one), weights(other))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_saved_adapter_says_the_same_in_plain_peft(load: Load, tmp_path: Path, kind: str, method: str) -> None:
    student = adapted(load(kind), AdapterOptions(method=method, rank=4))
    save_classifier(student, tmp_path, card="# card")
    close(plainly(tmp_path), said(student))
    close(said(load_model(tmp_path, device="cpu", offline=True)), said(student))
    assert (tmp_path / "README.md").read_text() == "# card"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
def test_merged_weights_say_the_same_in_plain_transformers(load: Load, tmp_path: Path, kind: str, method: str) -> None:
    student = adapted(load(kind), AdapterOptions(method=method, rank=4))
    expected = said(student)
    whole = merge_adapter(student)
    close(said(whole), expected)
    save_classifier(whole, tmp_path, card="")
    assert not (tmp_path / "adapter_config.json").exists()
    close(plainly(tmp_path), expected)
    assert load_model(tmp_path, device="cpu", offline=True).label_names == whole.label_names


PAIRS = [
    (AdapterOptions(rank=4), AdapterOptions(rank=4)),
    (AdapterOptions(rank=2, alpha=16, targets=("QV",)), AdapterOptions(rank=5, alpha=1)),
    (AdapterOptions(rank=8), AdapterOptions(rank=3, targets=("QV",))),
]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
def test_two_adapters_fold_into_one_on_the_same_base(
    load: Load, tmp_path: Path, kind: str, pair: tuple[AdapterOptions, AdapterOptions]
) -> None:
    first, second = (replace(o, targets=QV[kind] if "QV" in o.targets else o.targets) for o in pair)
    (tmp_path / "victim").mkdir()
    (tmp_path / "pure").mkdir()
    save_classifier(adapted(load(kind), first, seed=1), tmp_path / "victim", card="")
    victim = load_model(tmp_path / "victim", device="cpu", offline=True)
    student = adapted(victim, second, seed=2)
    assert (said(student) - said(victim)).abs().max() > 1e-3, "the second adapter does nothing: nothing is tested"
    save_folded(victim, student, tmp_path / "pure", card="")
    close(plainly(tmp_path / "pure"), said(student))
    pure = load_model(tmp_path / "pure", device="cpu", offline=True)
    close(said(pure), said(student))
    assert pure.source.base == victim.source.base
    assert (pure.label_names, pure.max_length) == (victim.label_names, victim.max_length)


def test_rank_stabilised_scaling_is_folded_in(load: Load, tmp_path: Path) -> None:
    from peft import LoraConfig, TaskType, get_peft_model

    base = load("llama")
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        use_rslora=True,
        target_modules=["q_proj", "o_proj"],
        modules_to_save=["score"],
        task_type=TaskType.SEQ_CLS,
    )
    (tmp_path / "victim").mkdir()
    (tmp_path / "pure").mkdir()
    victim = base.with_module(get_peft_model(base.module, config))  # type: ignore[arg-type]
    fine_tune(victim, ROWS, plan=Plan(lr=0.02, epochs=2, batch_size=8), seed=0)
    save_classifier(victim, tmp_path / "victim", card="", base=base.source.name)
    loaded = load_model(tmp_path / "victim", device="cpu", offline=True)
    student = adapted(loaded, AdapterOptions(rank=4), seed=2)
    save_folded(loaded, student, tmp_path / "pure", card="")
    close(plainly(tmp_path / "pure"), said(student))


@pytest.mark.parametrize("method", METHODS)
def test_a_second_adapter_begins_where_the_first_one_ended(load: Load, method: str) -> None:
    victim = adapted(load("bert"), AdapterOptions(method=method, rank=4))
    before = weights(victim)
    close(said(attach(victim, AdapterOptions(rank=2))), said(victim))
    assert same(weights(victim), before)


@pytest.mark.parametrize("method", ["dora", "ia3", "ln_tuning"])
def test_what_is_no_plain_lora_is_not_folded(load: Load, method: str) -> None:
    victim = adapted(load("bert"), AdapterOptions(rank=4))
    other = adapted(load("bert"), AdapterOptions(method=method, rank=4))
    for pair in ((victim.module, other.module), (other.module, victim.module)):
        with pytest.raises(ModelError, match="cannot be folded") as caught:
            fold_adapters(*pair)
        assert "--merge" in (caught.value.remedy or "")
    with pytest.raises(ModelError, match="no adapter"):
        lora_updates(load("bert").module)


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2", "mpnet"])
def test_all_linear_layers_of_the_blocks_and_nothing_else(load: Load, kind: str) -> None:
    model = load(kind)
    student = attach(model, AdapterOptions(rank=1))
    touched = {name.removesuffix(".lora_A") for name, _ in student.module.named_modules() if name.endswith(".lora_A")}
    layers = {"bert": 6, "llama": 7, "gpt2": 4, "mpnet": 6}[kind]
    assert len(touched) == 2 * layers
    assert not any("classifier" in name or "score" in name or "pooler" in name for name in touched)


@pytest.mark.parametrize(("upper", "blocks"), [(1.0, {"0", "1"}), (0.6, {"0", "1"}), (0.5, {"1"}), (0.1, {"1"})])
def test_the_upper_share_of_the_blocks_is_adapted_and_at_least_one(load: Load, upper: float, blocks: set[str]) -> None:
    student = attach(load("llama"), AdapterOptions(rank=2, upper=upper))
    adapted = {
        name.split(".layers.")[1].split(".")[0] for name, p in student.module.named_parameters() if "lora_A" in name
    }
    assert adapted == blocks


def test_a_target_that_no_layer_has_names_those_that_there_are(load: Load) -> None:
    with pytest.raises(OptionError, match="q_proj") as caught:
        target_pattern(load("bert").module, ("q_proj", "value"))
    assert "query" in (caught.value.expected or "")


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"dropout": 1.0}, {"targets": ()}, {"method": "lore"}])
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        AdapterOptions(**wrong)  # type: ignore[arg-type]


def test_a_fresh_pooler_is_trained_and_saved_with_the_adapter(
    load: Load, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    """A MiniLM ships no pooler: what stands there is random, so an adapter that left it out could not be loaded again."""
    import shutil

    from safetensors.torch import load_file, save_file

    poor = Path(shutil.copytree(folder_of("bert"), tmp_path / "poor"))
    tensors = {
        k: v for k, v in load_file(poor / "model.safetensors").items() if "pooler" not in k and "classifier" not in k
    }
    save_file(tensors, poor / "model.safetensors", metadata={"format": "pt"})
    fresh = load_model(poor, device="cpu", offline=True, new_head=True, label_names=("negative", "positive"))
    student = adapted(fresh, AdapterOptions(rank=2))
    (tmp_path / "out").mkdir()
    save_classifier(student, tmp_path / "out", card="")
    close(said(load_model(tmp_path / "out", device="cpu", offline=True)), said(student))


def test_an_adapter_that_saves_all_blocks_is_refused_until_it_is_merged_as_the_message_says(
    load: Load, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    module = AutoModelForSequenceClassification.from_pretrained(folder_of("bert"))
    config = LoraConfig(
        r=2, target_modules=["word_embeddings"], modules_to_save=["classifier", "encoder"], task_type=TaskType.SEQ_CLS
    )
    get_peft_model(module, config).save_pretrained(tmp_path / "adapter")
    model = load_model(tmp_path / "adapter", device="cpu", offline=True)
    for method in ("lora", "dora", "ia3"):
        with pytest.raises(ModelError, match="classifier, encoder") as caught:
            attach(model, AdapterOptions(method=method))
        assert "merge_and_unload" in (caught.value.remedy or "")
    whole = AutoPeftModelForSequenceClassification.from_pretrained(tmp_path / "adapter").merge_and_unload()
    whole.save_pretrained(tmp_path / "whole")
    model.tokenizer.save_pretrained(tmp_path / "whole")
    full = load_model(tmp_path / "whole", device="cpu", offline=True)
    close(said(full), said(model))
    close(said(attach(full, AdapterOptions())), said(model))
