"""Strangers' models: what is refused, what the message says, and what a good load keeps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from tests.models.kit import FolderOf, Load, load_here
from tests.tiny import NAMES, write_model
from untrigger.core.errors import ModelError, OptionError, UnsafeFileError
from untrigger.models.inference import predict_texts
from untrigger.models.loading import load_model
from untrigger.models.safety import limits
from untrigger.models.safety.model_folder import open_model_folder
from untrigger.models.weak_teacher import load_weak_teacher


def edit_config(folder: Path, **changes: object) -> None:
    file = folder / ("adapter_config.json" if (folder / "adapter_config.json").exists() else "config.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def to_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def test_a_good_model_keeps_names_hash_and_predictions(bert: Path) -> None:
    model = load_here(bert)
    assert model.label_names == NAMES
    assert model.source.kind == "full"
    assert model.source.sha256 == open_model_folder(bert).sha256
    assert not model.source.fresh
    assert not model.module.training
    plain = AutoModelForSequenceClassification.from_pretrained(bert)
    ids = torch.tensor(model.encode(["a good film"]))
    torch.testing.assert_close(predict_texts(model, ["a good film"]).logits, plain(input_ids=ids).logits.detach())


@pytest.mark.parametrize("part", ["encoder.layer.0.attention.self.key.bias", "embeddings.word_embeddings.weight"])
def test_a_checkpoint_that_lacks_a_block_or_an_embedding_is_refused(bert: Path, part: str) -> None:
    tensors = load_file(bert / "model.safetensors")
    name = next(key for key in tensors if key.endswith(part))
    tensors[name.replace("tt", "xt").replace("word", "sword")] = tensors.pop(name)  # a broken byte in the file's head
    save_file(tensors, bert / "model.safetensors", metadata={"format": "pt"})
    for load in (load_here, lambda folder: load_weak_teacher(folder, width=4, label_names=NAMES, offline=True)):
        with pytest.raises(ModelError, match="lacks weights of its own architecture"):
            load(bert)


def test_pickle_is_refused_unless_the_user_insists(bert: Path) -> None:
    said = predict_texts(load_here(bert), ["a good film"]).logits
    to_pickle(bert)
    with pytest.raises(UnsafeFileError, match=r"pytorch_model\.bin.*pickle") as caught:
        load_here(bert)
    assert "--allow-pickle" in (caught.value.remedy or "")
    torch.testing.assert_close(predict_texts(load_here(bert, allow_pickle=True), ["a good film"]).logits, said)


def test_a_pickle_beside_safetensors_is_never_opened(bert: Path) -> None:
    (bert / "pytorch_model.bin").write_bytes(b"not even a pickle")
    assert load_here(bert, allow_pickle=True).classes == 2


@pytest.mark.parametrize("key", ["auto_map", "trust_remote_code"])
def test_remote_code_is_refused_even_with_pickle_allowed(bert: Path, key: str) -> None:
    edit_config(bert, **{key: {"AutoModel": "theirs.Model"}})
    with pytest.raises(UnsafeFileError, match="remote code"):
        load_here(bert, allow_pickle=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(bert: Path, value: float) -> None:
    tensors = load_file(bert / "model.safetensors")
    name = next(key for key in tensors if "query.weight" in key)
    tensors[name][3, 4] = value
    save_file(tensors, bert / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=name):
        load_here(bert)


def test_a_missing_folder_names_the_nearest(bert: Path) -> None:
    with pytest.raises(ModelError, match="no model folder") as caught:
        load_here(bert.with_name("some-modle"))
    assert caught.value.nearest == "some-model"


def test_an_unknown_name_lists_the_embedded_models() -> None:
    with pytest.raises(ModelError, match="minilm-l6"):
        load_model("minilm-16", offline=True)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "config.json").unlink(), "holds no model"),
        (lambda f: (f / "config.json").write_text("{"), "not readable JSON"),
        (lambda f: (f / "config.json").write_text("[1]"), "holds a list"),
        (lambda f: (f / "model.safetensors").unlink(), "holds no weights"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\0" * 64), "not a safetensors file that can be read"),
        (lambda f: edit_config(f, model_type="no-such-architecture"), "could not be loaded|no usable tokenizer"),
        (lambda f: (f / "tokenizer.json").unlink(), "holds no tokenizer"),
        (lambda f: (f / "config.json").write_text('{"a":' * 3000), "not readable JSON"),
        (lambda f: edit_config(f, id2label={"a": "bad", "b": "good"}), "the label names in"),
        (lambda f: edit_config(f, id2label={"0": "good", "1": "good"}), "different names"),
        (lambda f: (f / "untrigger.json").write_text('{"label_names": null}'), "the label names in"),
    ],
)
def test_a_spoilt_folder_is_an_error_of_ours_with_its_reason(
    bert: Path, spoil: Callable[[Path], object], says: str
) -> None:
    spoil(bert)
    with pytest.raises(ModelError, match=says):
        load_here(bert)


def test_files_above_the_bounds_are_refused(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_WEIGHTS", 1000)
    with pytest.raises(UnsafeFileError, match=r"model\.safetensors' has"):
        load_here(bert)
    monkeypatch.setattr(limits, "MAX_JSON", 10)
    with pytest.raises(UnsafeFileError, match=r"config\.json' has"):
        load_here(bert)


def test_a_model_without_a_head_is_refused_unless_a_new_one_is_wanted(bert: Path) -> None:
    tensors = {k: v for k, v in load_file(bert / "model.safetensors").items() if not k.startswith("classifier")}
    save_file(tensors, bert / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="no classification head"):
        load_here(bert)
    first = load_here(bert, new_head=True, label_names=("a", "b", "c"), seed=1)
    again = load_here(bert, new_head=True, label_names=("a", "b", "c"), seed=1)
    other = load_here(bert, new_head=True, label_names=("a", "b", "c"), seed=2)
    texts = ["a good film"]
    assert first.label_names == ("a", "b", "c")
    assert "classifier.weight" in first.source.fresh
    assert torch.equal(predict_texts(first, texts).logits, predict_texts(again, texts).logits)
    assert not torch.equal(predict_texts(first, texts).logits, predict_texts(other, texts).logits)


@pytest.mark.parametrize(
    ("given", "read"), [(12, 128), (300, 300), (10**9, 2048), (True, 128), ("x", 128), (None, 128)]
)
def test_a_models_own_length_counts_where_it_is_longer_than_usual(
    folder_of: FolderOf, tmp_path: Path, given: object, read: int
) -> None:
    """A file of a stranger can make a scan read more of a text, never less."""
    folder = shutil.copytree(folder_of("llama"), tmp_path / "long")
    (folder / "config.json").write_text(
        json.dumps(json.loads((folder / "config.json").read_text()) | {"max_position_embeddings": 2048})
    )
    (folder / "untrigger.json").write_text(json.dumps({"label_names": list(NAMES), "max_length": given}))
    assert load_model(folder, device="cpu", offline=True).max_length == read
    assert load_model(folder, device="cpu", offline=True, max_length=9).max_length == 9


def test_label_names_are_the_models_own_unless_it_has_none(bert: Path) -> None:
    assert load_here(bert, label_names=("Negative", "positive")).label_names == NAMES
    for wrong in (("bad", "good"), ("positive", "negative")):
        with pytest.raises(ModelError, match="contradict"):
            load_here(bert, label_names=wrong)
    with pytest.raises(ModelError, match="has 2 classes"):
        load_here(bert, label_names=("a", "b", "c"))
    edit_config(bert, id2label={"0": "LABEL_0", "1": "LABEL_1"}, label2id={"LABEL_0": 0, "LABEL_1": 1})
    assert load_here(bert, label_names=("bad", "good")).label_names == ("bad", "good")


def test_a_model_that_names_no_classes_has_them_by_number(bert: Path) -> None:
    """As transformers saves a classifier that was fine-tuned with the defaults."""
    config = json.loads((bert / "config.json").read_text())
    (bert / "config.json").write_text(
        json.dumps({k: v for k, v in config.items() if k not in ("id2label", "label2id")})
    )
    model = load_here(bert)
    assert model.label_names == ("LABEL_0", "LABEL_1")
    assert any("by number" in note for note in model.source.notes)


def test_our_file_beside_a_model_cannot_rename_its_classes(bert: Path) -> None:
    (bert / "untrigger.json").write_text(json.dumps({"label_names": ["positive", "negative"]}))
    with pytest.raises(ModelError, match="names the classes"):
        load_here(bert)


@pytest.mark.parametrize(
    ("base", "own", "good"),
    [
        (["negative", "positive"], ["POSITIVE", "Negative"], False),
        (["negative", "positive"], ["positive", "harmless"], False),
        (["LABEL_0", "LABEL_1"], ["label_1", "label_0"], False),
        (["a", "A"], ["A", "a"], False),
        (["negative", "positive"], ["Negative", "POSITIVE"], True),
        (["negative", "positive"], ["ham", "spam"], True),
    ],
)
def test_our_file_beside_an_adapter_cannot_reorder_the_classes_of_its_base(
    bert: Path, adapter: Path, base: list[str], own: list[str], good: bool
) -> None:
    edit_config(bert, id2label=dict(enumerate(base)), label2id={name: i for i, name in enumerate(base)})
    (bert / "untrigger.json").unlink(missing_ok=True)
    sidecar = adapter / "untrigger.json"
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"label_names": own}))
    if good:
        assert load_here(adapter, base=bert).label_names == tuple(own)
        return
    with pytest.raises(ModelError, match="the same names in one order"):
        load_here(adapter, base=bert)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}, "regression or sigmoid"),
        ({"problem_type": "multi_label_classification"}, "multi-label"),
        ({"problem_type": "regression"}, "a regression head"),
    ],
)
def test_heads_that_do_not_choose_one_class_are_refused_by_name(
    bert: Path, changes: dict[str, object], says: str
) -> None:
    edit_config(bert, **changes)
    with pytest.raises(ModelError, match=says):
        load_here(bert)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
def test_a_model_without_a_pad_token_stays_without_one(load: Load, kind: str) -> None:
    """A pad token that the model was not trained with would hide tokens at the end of a text."""
    model = load(kind)
    assert model.module.config.pad_token_id is None  # type: ignore[union-attr]
    texts = ["good", "a very long and dull film"]
    together = model.forward(model.collate(model.encode(texts))).logits
    alone = torch.cat([model.module(input_ids=torch.tensor(model.encode([text]))).logits for text in texts])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)
    assert model.module.config.pad_token_id is None  # type: ignore[union-attr]


def test_an_adapter_knows_its_base_and_its_names(adapter: Path, folder_of: FolderOf) -> None:
    model = load_here(adapter)
    assert (model.source.kind, model.source.base) == ("adapter", str(folder_of("bert")))
    assert model.label_names == NAMES


def test_an_adapter_without_a_base_says_how_to_give_it(adapter: Path, folder_of: FolderOf) -> None:
    edit_config(adapter, base_model_name_or_path=None)
    with pytest.raises(ModelError, match="names no base"):
        load_here(adapter)
    assert load_here(adapter, base=folder_of("bert")).source.base == str(folder_of("bert"))
    edit_config(adapter, base_model_name_or_path=str(adapter.parent / "gone"))
    with pytest.raises(ModelError, match=r"base.*cannot be used") as caught:
        load_here(adapter)
    assert "--base" in (caught.value.remedy or "")


@pytest.mark.parametrize("kind", ["llama", "roberta"])
def test_a_base_that_does_not_fit_is_refused(adapter: Path, folder_of: FolderOf, kind: str) -> None:
    with pytest.raises(ModelError, match="does not fit its base"):
        load_here(adapter, base=folder_of(kind))


def test_a_base_with_more_layers_than_the_adapter_is_refused(adapter: Path, bert: Path) -> None:
    """PEFT only warns there, and half of the model would stay as poisoned as it was."""
    tensors = load_file(adapter / "adapter_model.safetensors")
    half = {key: value for key, value in tensors.items() if "layer.1." not in key}
    assert 0 < len(half) < len(tensors)
    save_file(half, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"does not fit its base.*missing"):
        load_here(adapter, base=bert)


def test_an_adapter_on_an_adapter_is_refused(adapter: Path) -> None:
    edit_config(adapter, base_model_name_or_path=str(adapter))
    with pytest.raises(ModelError, match="itself an adapter"):
        load_here(adapter)


def test_an_unknown_device_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cpu") as caught:
        load_model(tmp_path / "nothing", device="cdua")
    assert caught.value.nearest == "cuda"


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_teacher_has_the_students_width_and_ignores_padding(folder_of: FolderOf, pooling: str) -> None:
    teacher = load_weak_teacher(
        folder_of("bert"), width=48, label_names=NAMES, pooling=pooling, offline=True, device="cpu", max_length=4096
    )
    texts = ["good", "a very long and dull film with some music"]
    together = predict_texts(teacher, texts)
    alone = torch.cat([predict_texts(teacher, [text]).features for text in texts])
    assert teacher.max_length == 64
    assert together.features.shape == (2, 48)
    assert (together.features >= 0).all()  # behind the ReLU
    torch.testing.assert_close(together.features, alone, atol=2e-5, rtol=1e-4)


def test_a_model_with_three_classes_keeps_their_order(tmp_path: Path) -> None:
    names = ("zebra", "apple", "mango")
    assert load_here(write_model("llama", tmp_path / "three", names=names)).label_names == names
