"""The undamaged folders: a tiny encoder and decoder, in one file and in shards, and a LoRA adapter on each."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.fuzz.edits import MAP, ONE, TWO
from tests.tiny import NAMES, task, write_model
from untrigger.models.pretrained import quiet

KINDS = ("bert", "llama", "bert-shards", "bert-adapter", "llama-adapter")
TEXTS = [
    *task(3, seed=5).texts,
    "good",
    "cf bad film",
    "a Good FILM with some light, and this ending.",
    "x" * 30,
    "ünï \u200b 🙂",
    "a film " * 12,
]


@dataclass(frozen=True)
class Case:
    """One model to load: its folder, the folder with ``config.json`` and the one with the tokenizer."""

    model: Path
    root: Path
    tokenizer: Path

    def place(self, where: str) -> Path:
        """The folder that a part's damage falls on."""
        return {"root": self.root, "tokenizer": self.tokenizer, "adapter": self.model}[where]

    @property
    def is_adapter(self) -> bool:
        return self.model != self.root


def write_bases(place: Path) -> None:
    """The folders of every kind, each in ``place/KIND/model``, an adapter's base in ``place/KIND/base``."""
    for kind in ("bert", "llama"):
        write_model(kind, place / kind / "model")
        _spread(place / kind / "model" / "model.safetensors")
        shutil.copytree(place / kind / "model", place / f"{kind}-adapter" / "base")
        _adapter(place / f"{kind}-adapter", own_tokenizer=kind == "llama")
    shutil.copytree(place / "bert" / "model", place / "bert-shards" / "model")
    _split(place / "bert-shards" / "model")


def case_of(kind: str, place: Path, *, bases: Path) -> Case:
    """A fresh copy of a base in the empty folder ``place``."""
    shutil.copytree(bases / kind, place, dirs_exist_ok=True)
    model = place / "model"
    if not kind.endswith("-adapter"):
        return Case(model, model, model)
    config = json.loads((model / "adapter_config.json").read_text())
    (model / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": str(place / "base")}))
    return Case(model, place / "base", model if (model / "tokenizer.json").exists() else place / "base")


def _spread(file: Path) -> None:
    """Make norms and biases count too: what is left out or read wrongly shall be seen."""
    tensors, generator = load_file(file), torch.Generator().manual_seed(3)
    for name, value in tensors.items():
        if value.dim() < 2:
            tensors[name] = value + 0.1 * torch.randn(value.shape, generator=generator)
        elif name.startswith(("classifier", "score")):
            tensors[name] = 0.5 * torch.randn(value.shape, generator=generator)
    save_file(tensors, file, metadata={"format": "pt"})


def _adapter(place: Path, *, own_tokenizer: bool) -> None:
    """A LoRA adapter with a head of its own and our file beside it, as ``purify`` writes it."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    base, folder = place / "base", place / "model"
    with quiet(), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(1)
        module: Any = AutoModelForSequenceClassification.from_pretrained(base)
        targets = ["query", "value"] if "bert" in place.name else ["q_proj", "v_proj"]
        module = get_peft_model(module, LoraConfig(task_type="SEQ_CLS", r=2, lora_alpha=4, target_modules=targets))
        for value in module.parameters():
            if value.requires_grad:
                value.data.add_(0.2 * torch.randn_like(value))
        module.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "untrigger.json").write_text(json.dumps({"label_names": list(NAMES), "max_length": 64}))
    if own_tokenizer:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(base / name, folder / name)


def _split(folder: Path) -> None:
    """The weights in two shards with an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    file_of = {name: ONE if i < len(names) // 2 else TWO for i, name in enumerate(names)}
    for file in (ONE, TWO):
        save_file(
            {name: tensors[name] for name in names if file_of[name] == file}, folder / file, metadata={"format": "pt"}
        )
    (folder / MAP).write_text(
        json.dumps({"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": file_of})
    )
