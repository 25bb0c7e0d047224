"""What a stranger's folder may contain: only listed files are opened, only implied tensors pass, only known config keys."""

from __future__ import annotations

import gc
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny import weights, write_model
from untrigger.core.errors import ModelError, UnsafeFileError
from untrigger.models.adapter_merging import remove_adapter
from untrigger.models.adapters import AdapterOptions, attach
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.models.loading import load_model
from untrigger.models.safety import config_check, opened_files, tokenizer_check
from untrigger.models.safety import hub_files as hub
from untrigger.models.safety.model_folder import open_model_folder
from untrigger.models.saving import save_classifier

FolderOf = Callable[[str], Path]
Load = Callable[[str], Classifier]
TEXTS = ["a good film", "dull actor", "cf the plot"]


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was opened",))


def load_here(folder: Path, **options: Any) -> Classifier:
    return load_model(folder, device="cpu", offline=True, **options)


@pytest.fixture
def bert(folder_of: FolderOf, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder_of("bert"), tmp_path / "model"))


@pytest.fixture
def adapter(load: Load, tmp_path: Path) -> Path:
    """An untrained LoRA adapter on the tiny BERT, its head in ``modules_to_save``."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_classifier(attach(load("bert"), AdapterOptions(rank=2, targets=("query",))), folder, card="")
    return folder


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def add_tensors(file: Path, **tensors: torch.Tensor) -> None:
    save_file(load_file(file) | tensors, file, metadata={"format": "pt"})


def shards(folder: Path) -> list[str]:
    """The folder's weights in two shards with their index; the names of the shards."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    halves = dict(zip(files, (names[: len(names) // 2], names[len(names) // 2 :]), strict=True))
    for file, half in halves.items():
        save_file({name: tensors[name] for name in half}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, half in halves.items() for name in half}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return files


# adapters that reach for their base


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


# which files are opened


def test_a_decoy_beside_a_pickled_adapter_does_not_open_the_pickle(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model-decoy.safetensors")
    (adapter / "adapter_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UnsafeFileError, match=r"adapter_model\.bin"):
        load_here(adapter)


def test_a_stray_file_is_neither_hashed_nor_loaded_and_is_listed(bert: Path) -> None:
    before = open_model_folder(bert)
    said = predict_texts(load_here(bert), TEXTS).logits
    add_tensors_file = load_file(bert / "model.safetensors")
    save_file({name: value + 1 for name, value in add_tensors_file.items()}, bert / "another.safetensors")
    (bert / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    after = open_model_folder(bert)
    assert after.sha256 == before.sha256
    assert {one.name: one.kind for one in after.unopened} == {
        "another.safetensors": "safetensors",
        "pytorch_model.bin": "pickle, opening it can run code",
    }
    model = load_here(bert)
    assert torch.equal(predict_texts(model, TEXTS).logits, said)
    assert any("pytorch_model.bin" in note for note in model.source.notes)
    assert "another.safetensors" in model.source.files["not_opened"]


@pytest.mark.parametrize("changed", ["config.json", "model.safetensors", "tokenizer.json"])
def test_the_hash_covers_config_weights_and_tokenizer(bert: Path, changed: str) -> None:
    before = open_model_folder(bert).sha256
    with (bert / changed).open("ab") as stream:
        stream.write(b" ")
    assert open_model_folder(bert).sha256 != before


def test_what_is_hashed_is_what_is_loaded(bert: Path) -> None:
    """A file that is swapped after it was read changes nothing: everything reads the private copy."""
    folder = open_model_folder(bert)
    said = predict_texts(load_here(bert), TEXTS).logits
    (bert / "model.safetensors").write_bytes(b"swapped")
    from transformers import AutoModelForSequenceClassification

    module = AutoModelForSequenceClassification.from_pretrained(folder.path)
    ids = torch.tensor([[2, 6, 3]])
    assert module(input_ids=ids).logits.shape == (1, 2) and said.shape == (3, 2)
    copy = folder.path
    assert copy.is_dir()
    del folder, module
    gc.collect()
    assert not copy.exists(), "removed with the last reference"


def test_copies_of_killed_processes_are_removed(bert: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    dead, alive = (tmp_path / "tmp" / f"untrigger-model-{number}-abc" for number in (2**22 + 1, os.getpid()))
    dead.mkdir(), alive.mkdir()
    open_model_folder(bert)
    assert not dead.exists() and alive.exists()


def test_shards_load_as_one_file_does(bert: Path) -> None:
    said = predict_texts(load_here(bert), TEXTS).logits
    shards(bert)
    assert torch.equal(predict_texts(load_here(bert), TEXTS).logits, said)


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/x.safetensors", "weights.bin", "sub/x.safetensors", ".."])
def test_an_index_names_plain_safetensors_files_or_is_refused(bert: Path, name: str) -> None:
    shards(bert)
    index = json.loads((bert / "model.safetensors.index.json").read_text())
    first = next(iter(index["weight_map"]))
    index["weight_map"][first] = name
    (bert / "weights.bin").write_bytes(pickle.dumps(Bomb()))
    (bert / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UnsafeFileError, match="names the file"):
        load_here(bert)


def test_one_tensor_in_two_shards_is_refused_by_name(bert: Path) -> None:
    first, second = shards(bert)
    name = next(iter(load_file(bert / first)))
    add_tensors(bert / second, **{name: load_file(bert / first)[name]})
    with pytest.raises(ModelError, match=rf"the tensor '{name}' is in '{first}' and in '{second}'"):
        load_here(bert)


def test_a_shard_with_more_than_its_index_says_is_refused(bert: Path) -> None:
    first, _ = shards(bert)
    add_tensors(bert / first, **{"bert.extra.weight": torch.zeros(2)})
    with pytest.raises(ModelError, match=r"the index .*bert\.extra\.weight"):
        load_here(bert)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_link_that_leaves_the_folder_is_refused(bert: Path, tmp_path: Path, name: str) -> None:
    shutil.move(bert / name, tmp_path / name)
    (bert / name).symlink_to(tmp_path / name)
    with pytest.raises(UnsafeFileError, match="outside the model's folder"):
        load_here(bert)


def test_the_links_of_a_hub_cache_are_followed(bert: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / "abc"
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True), blobs.mkdir()
    for file in bert.iterdir():
        shutil.copy(file, blobs / file.name)
        (snapshot / file.name).symlink_to(os.path.relpath(blobs / file.name, snapshot))
    assert load_here(snapshot).source.sha256 == open_model_folder(bert).sha256


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer_config.json"])
def test_a_pipe_is_refused_and_does_not_hang(bert: Path, name: str) -> None:
    (bert / name).unlink(missing_ok=True)
    os.mkfifo(bert / name)
    with pytest.raises((UnsafeFileError, ModelError)):
        load_here(bert)
    assert ("pipe or device" in {one.kind for one in opened_files.unopened(bert, [])}) is True


def test_full_weights_beside_an_adapter_are_refused(adapter: Path, bert: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(bert / name, adapter / name)
    with pytest.raises(ModelError, match="holds an adapter .* and full weights"):
        load_here(adapter)


# tensors of full weights


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


# config keys


@pytest.mark.parametrize(
    "changes",
    [
        {"Auto-Map": {"AutoModel": "evil.Evil"}},
        {"text_config": {"auto_map": {"AutoModel": "evil.Evil"}}},
        {"_attn_implementation": "someone/kernel"},
        {"attn_implementation": "someone/kernel:f"},
        {"text_config": [{"_attn_implementation_internal": "a/b"}]},
        {"transformers_weights": "other.safetensors"},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
    ],
)
def test_config_keys_for_code_or_other_files_are_refused_in_every_spelling(
    bert: Path, changes: dict[str, object]
) -> None:
    edit(bert / "config.json", **changes)
    with pytest.raises(UnsafeFileError):
        load_here(bert)


def test_a_key_that_stands_twice_is_refused(bert: Path) -> None:
    text = (bert / "config.json").read_text()
    (bert / "config.json").write_text('{"num_hidden_layers": 1, ' + text.lstrip()[1:])
    with pytest.raises(ModelError, match="stands twice"):
        load_here(bert)


@pytest.mark.parametrize(
    "changes",
    [
        {"layer_replication": [[0, 1], [0, 2]]},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "olora"},
        {"megatron_config": {"a": 1}},
        {"loftq_config": {"loftq_bits": 4}},
        {"corda_config": {"cache_file": "x"}},
        {"prompt_tuning_init_state_dict_path": "x.bin"},
        {"unheard_of": "x"},
    ],
)
def test_an_adapters_config_may_not_rewrite_the_base_or_open_files(adapter: Path, changes: dict[str, object]) -> None:
    edit(adapter / "adapter_config.json", **changes)
    with pytest.raises(UnsafeFileError, match=next(iter(changes))):
        load_here(adapter)


@pytest.mark.parametrize("kind", ["XLORA", "OSF", "POLY", "MULTITASK_PROMPT_TUNING", "LORE", None, 7])
def test_peft_methods_that_open_files_or_rewrite_the_base_are_refused(adapter: Path, kind: object) -> None:
    edit(adapter / "adapter_config.json", peft_type=kind)
    with pytest.raises(ModelError, match="PEFT method"):
        load_here(adapter)


def test_what_says_how_training_began_does_not_pass_on(adapter: Path) -> None:
    edit(
        adapter / "adapter_config.json",
        auto_mapping={"base_model_class": "Evil", "parent_library": "os"},
        megatron_core="os",
    )
    folder = open_model_folder(adapter)
    kept = json.loads((folder.path / "adapter_config.json").read_text())
    assert not {"auto_mapping", "megatron_core"} & kept.keys()
    assert load_here(adapter).source.kind == "adapter"


def test_a_pattern_that_backtracks_for_hours_ends_in_time(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_check, "PATTERN_SECONDS", 1.0)
    edit(adapter / "adapter_config.json", target_modules=r"(([a-z._0-9]+)+)+~")
    with pytest.raises(UnsafeFileError, match="not matched within"):
        load_here(adapter)
    for key in ("rank_pattern", "n_frequency_pattern", "block_size_pattern"):
        edit(adapter / "adapter_config.json", target_modules=["query"], **{key: {r"(([a-z._0-9]+)+)+~": 4}})
        with pytest.raises(UnsafeFileError, match="not matched within"):
            load_here(adapter)
    edit(adapter / "adapter_config.json", target_modules="(")
    with pytest.raises(ModelError, match="no regular expression"):
        load_here(adapter)
    edit(adapter / "adapter_config.json", target_modules="a" * (config_check.PATTERN_LENGTH + 1))
    with pytest.raises(UnsafeFileError, match="more than"):
        load_here(adapter)


# tokenizers


def change_tokenizer(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    raw = json.loads((folder / "tokenizer.json").read_text())
    change(raw)
    (folder / "tokenizer.json").write_text(json.dumps(raw))


def hide(raw: dict[str, Any]) -> None:
    raw["added_tokens"].append(
        {
            "id": raw["model"]["vocab"]["cf"],
            "content": "cf",
            "special": True,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
        }
    )


def disguise(raw: dict[str, Any]) -> None:
    raw["decoder"] = {"type": "Replace", "pattern": {"String": "cf"}, "content": "the"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (hide, "special tokens .'cf'"),
        (disguise, "its decoder differs"),
        (lambda raw: raw.update(normalizer=None), "its normalizer"),
    ],
)
def test_an_adapters_tokenizer_that_is_not_its_bases_is_stated(
    adapter: Path, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    assert not load_here(adapter).source.notes
    change_tokenizer(adapter, change)
    notes = load_here(adapter).source.notes
    assert any("tokenizer is not its base's" in note and says.replace(".", "(", 1) in note for note in notes), notes


def test_a_tokenizer_whose_pattern_never_ends_is_refused_in_time(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_check, "SECONDS", 3.0)
    bomb = {"type": "Split", "pattern": {"Regex": r"(?:x+x+)+y"}, "behavior": "Isolated", "invert": False}
    change_tokenizer(bert, lambda raw: raw.update(pre_tokenizer=bomb))
    with pytest.raises(ModelError):
        load_here(bert)


def test_a_tokenizer_that_names_other_files_for_itself_is_refused(bert: Path, tmp_path: Path) -> None:
    """transformers would read the file of the highest version that fits, even one outside the folder."""
    for other in (
        ["tokenizer.4.0.0.json"],
        ["../elsewhere_tokenizer.4.0.0.json"],
        ["tokenizer.json", "tokenizer.5.0.0.json"],
    ):
        edit(bert / "tokenizer_config.json", fast_tokenizer_files=other)
        with pytest.raises(UnsafeFileError, match="fast_tokenizer_files"):
            load_here(bert)
    (tmp_path / "vocab.txt").write_text("a")
    edit(
        bert / "tokenizer_config.json", fast_tokenizer_files=["tokenizer.json"], vocab_file=str(tmp_path / "vocab.txt")
    )
    with pytest.raises(UnsafeFileError, match="vocab_file"):
        load_here(bert)
    edit(
        bert / "tokenizer_config.json",
        vocab_file="/home/author/vocab.txt",
        special_tokens_map_file="/home/author/map.json",
    )
    assert load_here(bert).classes == 2, "leftovers of an author's machine"


@pytest.mark.parametrize(
    "name", ["tokenizer.model.x", "tekken.json", "other.model", "my_vocab_file", "tokenizer.json.bak"]
)
def test_without_tokenizer_json_no_other_vocabulary_may_lie_in_the_folder(bert: Path, name: str) -> None:
    vocabulary = json.loads((bert / "tokenizer.json").read_text())["model"]["vocab"]
    (bert / "tokenizer.json").rename(bert / "kept.txt")
    (bert / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)))
    edit(bert / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    assert load_here(bert).classes == 2
    (bert / name).write_text("swapped")
    with pytest.raises(UnsafeFileError, match="may be taken for its vocabulary"):
        load_here(bert)


def test_a_config_beside_an_adapter_cannot_choose_another_tokenizer(adapter: Path, folder_of: FolderOf) -> None:
    shutil.copy(folder_of("bert") / "config.json", adapter / "config.json")
    assert "config.json" in load_here(adapter).source.files["opened"]
    (adapter / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ModelError, match="model_type 'gpt2'"):
        load_here(adapter)


def test_a_length_that_is_not_believed_is_stated(bert: Path) -> None:
    assert not load_here(bert).source.notes
    edit(bert / "tokenizer_config.json", model_max_length=16)
    assert any("after 16 tokens" in note for note in load_here(bert).source.notes)


# bases that a stranger names


@pytest.fixture
def fetched(folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None, bool]]:
    """What the hub client is called for: name, revision and whether the network may be used."""
    calls: list[tuple[str, str | None, bool]] = []

    def fetch(name: str, *, allow_pickle: bool, offline: bool, revision: str | None) -> Path:
        calls.append((name, revision, not offline))
        if offline:
            raise ModelError(f"{name!r} is not here")
        return folder_of("bert")

    monkeypatch.setattr(hub, "_from_hub", fetch)
    return calls


def test_a_base_that_a_stranger_names_is_fetched_only_when_the_user_names_it(
    adapter: Path, fetched: list[tuple[str, str | None, bool]]
) -> None:
    edit(adapter / "adapter_config.json", base_model_name_or_path="someone/bert", revision="v7")
    with pytest.raises(ModelError, match="someone/bert") as caught:
        load_model(adapter, device="cpu")
    assert fetched == [("someone/bert", "v7", False)]
    assert "--base someone/bert@v7" in (caught.value.remedy or "")
    model = load_model(adapter, device="cpu", base="someone/bert")
    assert fetched[-1] == ("someone/bert", "v7", True), "the revision that the adapter was trained on"
    assert model.source.revision == "v7" and model.source.base_sha256
    load_model(adapter, device="cpu", base="someone/bert@v8")
    assert fetched[-1] == ("someone/bert", "v8", True)
    load_model(adapter, device="cpu", base="other/bert")
    assert fetched[-1] == ("other/bert", None, True)


def test_a_hub_model_above_the_bound_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    class File:
        rfilename, size = "model.safetensors", hub.MAX_DOWNLOAD + 1

    class Api:
        def model_info(self, *_: object, **__: object) -> object:
            return type("Info", (), {"siblings": [File()]})

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("it was fetched"))
    with pytest.raises(UnsafeFileError, match="to fetch"):
        hub.resolve_model("someone/huge", offline=False)


def test_the_report_of_a_model_says_what_was_opened(bert: Path, tmp_path: Path) -> None:
    write_model("bert", tmp_path / "other", seed=4)
    model = load_here(bert)
    assert set(model.source.files["opened"]) == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert model.source.sha256 != load_here(tmp_path / "other").source.sha256
