"""Only listed files of a folder are opened, each once, and nothing outside the folder."""

from __future__ import annotations

import gc
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.models.kit import TEXTS, Bomb, add_tensors, load_here, shards
from untrigger.core.errors import ModelError, UnsafeFileError
from untrigger.models.inference import predict_texts
from untrigger.models.safety import opened_files
from untrigger.models.safety.model_folder import open_model_folder


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
