"""Load an untrusted classifier: safetensors only unless the user insists, no remote code, nothing left unchecked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from untrigger.core.errors import ModelError
from untrigger.models.adapter_loading import PREFIX, load_adapter, sidecar_length
from untrigger.models.class_names import class_names, has_default_names
from untrigger.models.classifier import Classifier
from untrigger.models.input_spec import input_spec_of
from untrigger.models.max_length import choose_max_length
from untrigger.models.model_task import is_language_config
from untrigger.models.opening import (
    check_config_beside,
    check_finite,
    check_length,
    longer_than_named,
    open_with_base,
    source_of,
    tokenizer_and_notes,
)
from untrigger.models.pretrained import pretrained
from untrigger.models.safety.config_check import CLASSIFIERS_ONLY
from untrigger.models.safety.model_folder import ModelFolder
from untrigger.models.safety.tensor_files import Tensors
from untrigger.models.safety.tokenizer_check import tokens_without_embedding
from untrigger.models.smoke_test import check_predicts
from untrigger.runtime.device import pick_device

logger = logging.getLogger(__name__)

EAGER_DIFFERS = ("falcon",)
"""Architectures whose eager attention gives other logits than the attention that transformers uses by default."""


def load_model(
    name: str | Path | ModelFolder,
    *,
    base: str | Path | ModelFolder | None = None,
    label_names: Sequence[str] | None = None,
    new_head: bool = False,
    allow_pickle: bool = False,
    offline: bool = False,
    device: str = "auto",
    max_length: int | None = None,
    seed: int = 0,
) -> Classifier:
    """Return the classifier in a folder or under a hub name, full weights or a PEFT adapter, in eval mode.

    Args:
        name: folder, hub name, name of a registry or embedded model; or what ``open_model`` opened, so that a model is copied
            and hashed once.
        base: for an adapter, the base to use instead of the one that its config names.
        label_names: names of the classes where the model's own files name none. Needed with ``new_head``.
        new_head: make a fresh classification head (to train a classifier from a pre-trained model).
        allow_pickle: also open pickle weights, which can run code.
        offline: use no hub.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        max_length: texts are cut after this many tokens, or after as many as the model has positions for; by default as the
            tokenizer says. Fewer than 128 are not believed, or a file could hide a trigger from a scan.
        seed: of a fresh head.

    Raises:
        ModelError: for a missing folder, a missing head, other label names than the model's, weights that are not
            finite, tensors that do not fit the architecture, a base that does not fit.
        UnsafeFileError: for pickle weights, for configs that request code or other files, for adapters that would overwrite
            weights of their base.
    """
    target = pick_device(device)
    folder, root = open_with_base(name, base, allow_pickle=allow_pickle, offline=offline)
    names = class_names(folder, root, label_names, new_head=new_head)
    check_config_beside(folder, root)
    tokenizer, notes = tokenizer_and_notes(folder, root)
    module, fresh = _module(folder, root, names, new_head=new_head, seed=seed)
    notes += tokens_without_embedding(tokenizer, rows=input_spec_of(module, tokenizer).embedding_rows)
    _check_head(fresh, folder, root, new_head=new_head)
    check_finite(module, folder.name)
    limit = choose_max_length(tokenizer, module, requested=max_length, sidecar=sidecar_length(folder))
    check_length(limit, root, requested=max_length)
    notes += longer_than_named(tokenizer, limit, requested=max_length)
    model = Classifier(
        module.to(target).eval(),
        tokenizer,
        names,
        source_of(folder, root, fresh, notes=[*notes, *_notes(folder, root, names)]),
        max_length=limit,
        tokenizer_files=(folder if folder.holds_tokenizer else root).tokenizer_files,
    )
    check_predicts(model, name=str(folder.origin))
    logger.info("loaded %s on %s: %d classes, texts of %d tokens", folder.origin, target, len(names), limit)
    return model


def _module(
    folder: ModelFolder, root: ModelFolder, names: tuple[str, ...], *, new_head: bool, seed: int
) -> tuple[Any, list[str]]:
    """Return the module, with the adapter on it, and the names of parameters that are in no file."""
    adapter = folder.kind == "adapter"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module, fresh = _checkpoint(root, names, whole=not new_head and not adapter)
        if adapter:
            module = load_adapter(module, folder, base=str(root.origin))
            fresh = _tensors_in_no_file(folder, fresh)
    return module, fresh


def _notes(folder: ModelFolder, root: ModelFolder, names: tuple[str, ...]) -> list[str]:
    """Return what a user should know about how the model was loaded."""
    notes = [f"not opened: {line}" for line in folder.warnings()]
    if root is not folder:
        notes += [f"not opened, in the base: {line}" for line in root.warnings()]
    if has_default_names(names):
        notes.append(f"the model names no classes: they are called {names[0]} to {names[-1]}, by number")
    return notes


def _checkpoint(root: ModelFolder, names: tuple[str, ...], *, whole: bool) -> tuple[Any, list[str]]:
    from transformers import AutoModelForSequenceClassification

    return pretrained(
        AutoModelForSequenceClassification,
        root,
        **({} if root.config.get("model_type") in EAGER_DIFFERS else {"attn_implementation": "eager"}),
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
        whole=whole,
        expected=f"a sequence-classification checkpoint with {len(names)} classes",
    )


def _tensors_in_no_file(folder: ModelFolder, fresh: list[str]) -> list[str]:
    """Return the tensors that are neither in the base's files nor in the adapter's."""
    if any(file.suffix == ".bin" for file in folder.weights):
        return []
    held = {name.removeprefix(PREFIX).removeprefix("base_model.") for name in Tensors(folder)}
    return [name for name in fresh if name not in held]


def _check_head(fresh: list[str], folder: ModelFolder, root: ModelFolder, *, new_head: bool) -> None:
    """Raise where a part of the model is in no file, so that its predictions would be random."""
    if not fresh or new_head:
        return
    kinds = ", ".join(map(str, root.config.get("architectures") or ())) or "none"
    files = "the adapter and its base" if folder.kind == "adapter" else "its files"
    raise ModelError(
        f"{str(folder.origin)!r} has no classification head or lacks a part of it: {', '.join(fresh[:4])} "
        f"({len(fresh)} tensors) missing in {files}; architectures: {kinds}",
        expected="a fine-tuned sequence classifier, every layer of it in a file",
        remedy="give the fine-tuned checkpoint or adapter, not the pre-trained model; an adapter needs its head in modules_to_save"
        + (f"; {CLASSIFIERS_ONLY}" if is_language_config(root.config) else ""),
    )
