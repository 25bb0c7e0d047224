"""Load an untrusted classifier: safetensors only unless the user insists, no remote code, nothing left unchecked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from untrigger.core.errors import ModelError
from untrigger.core.paths import local_path
from untrigger.models.adapter_loading import PREFIX, load_adapter, open_base, sidecar_length
from untrigger.models.class_names import class_names, has_default_names
from untrigger.models.classifier import Classifier, ModelSource
from untrigger.models.input_spec import input_spec_of
from untrigger.models.max_length import choose_max_length
from untrigger.models.pretrained import pretrained, tokenizer_of
from untrigger.models.safety.limits import MIN_TOKENS
from untrigger.models.safety.model_folder import ModelFolder, open_model
from untrigger.models.safety.regular_files import read_json
from untrigger.models.safety.tensor_files import Tensors
from untrigger.models.safety.tokenizer_check import differences, tokens_without_embedding
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
    folder, root = _folders(name, base, allow_pickle=allow_pickle, offline=offline)
    names = class_names(folder, root, label_names, new_head=new_head)
    _check_config_beside(folder, root)
    tokenizer, notes = _tokenizer(folder, root)
    module, fresh = _module(folder, root, names, new_head=new_head, seed=seed)
    notes += tokens_without_embedding(tokenizer, rows=input_spec_of(module, tokenizer).embedding_rows)
    _check_head(fresh, folder, root, new_head=new_head)
    _check_finite(module, folder.name)
    limit = choose_max_length(tokenizer, module, requested=max_length, sidecar=sidecar_length(folder))
    _check_length(limit, root, requested=max_length)
    notes += _longer_than_named(tokenizer, limit, requested=max_length)
    model = Classifier(
        module.to(target).eval(),
        tokenizer,
        names,
        _source(folder, root, fresh, notes=[*notes, *_notes(folder, root, names)]),
        max_length=limit,
        tokenizer_files=(folder if folder.holds_tokenizer else root).tokenizer_files,
    )
    check_predicts(model, name=str(folder.origin))
    logger.info("loaded %s on %s: %d classes, texts of %d tokens", folder.origin, target, len(names), limit)
    return model


def _folders(
    name: str | Path | ModelFolder, base: str | Path | ModelFolder | None, *, allow_pickle: bool, offline: bool
) -> tuple[ModelFolder, ModelFolder]:
    """Return the opened folder of the model and that of its base; for full weights the same folder twice."""
    if base is not None and not isinstance(base, ModelFolder):
        local_path(base, what="the base", error=ModelError)
    folder = name if isinstance(name, ModelFolder) else open_model(name, offline=offline, allow_pickle=allow_pickle)
    if folder.kind != "adapter":
        return folder, folder
    root = base
    if not isinstance(root, ModelFolder):
        root = open_base(folder, root, allow_pickle=allow_pickle, offline=offline)
    if root.kind != "full":
        raise ModelError(f"the base of {folder.name!r} is itself an adapter", remedy="merge it first, or give --base")
    return folder, root


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


def _source(folder: ModelFolder, root: ModelFolder, fresh: list[str], *, notes: list[str]) -> ModelSource:
    adapter = folder.kind == "adapter"
    return ModelSource(
        name=folder.name,
        kind=folder.kind,
        base=str(root.origin) if adapter else None,
        fresh=tuple(fresh),
        sha256=folder.sha256,
        base_sha256=root.sha256 if adapter else "",
        revision=folder.revision,
        commit=folder.commit,
        base_commit=root.commit if adapter else None,
        notes=tuple(notes),
        files=folder.to_dict() | ({"base": root.to_dict()} if adapter else {}),
    )


def _notes(folder: ModelFolder, root: ModelFolder, names: tuple[str, ...]) -> list[str]:
    """Return what a user should know about how the model was loaded."""
    notes = [f"not opened: {line}" for line in folder.warnings()]
    if root is not folder:
        notes += [f"not opened, in the base: {line}" for line in root.warnings()]
    if has_default_names(names):
        notes.append(f"the model names no classes: they are called {names[0]} to {names[-1]}, by number")
    return notes


def _tokenizer(folder: ModelFolder, root: ModelFolder) -> tuple[Any, list[str]]:
    """Return the tokenizer that transformers loads with the model, and notes on how it differs from its base's."""
    here = folder if folder.holds_tokenizer else root
    tokenizer = tokenizer_of(here)
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer in {str(here.origin)!r} has no tokenizer.json", remedy="save it as a fast tokenizer"
        )
    notes = []
    if here is not root and root.holds_tokenizer and here.tokenizer_files != root.tokenizer_files:
        notes = [
            f"the adapter's tokenizer is not its base's: {one}" for one in differences(tokenizer, tokenizer_of(root))
        ]
    return tokenizer, notes


def _check_config_beside(folder: ModelFolder, root: ModelFolder) -> None:
    """Raise where a config.json beside an adapter makes transformers choose another tokenizer class than for its base."""
    file = folder.path / "config.json"
    if folder.kind != "adapter" or not file.is_file():
        return
    own, base = read_json(file, origin=folder.origin / "config.json").get("model_type"), root.config.get("model_type")
    if own != base:
        raise ModelError(
            f"config.json beside the adapter {str(folder.origin)!r} has the model_type {str(own)[:60]!r}",
            expected=f"the model_type of its base, {base!r}",
            remedy="remove that file: an adapter needs none",
        )


def _longer_than_named(tokenizer: Any, limit: int, *, requested: int | None) -> list[str]:
    """Return a note where texts are cut later than the tokenizer's own files specify."""
    named = getattr(tokenizer, "model_max_length", None)
    if requested is not None or not isinstance(named, int) or named >= limit:
        return []
    return [
        f"the tokenizer cuts texts after {named} tokens; {limit} are used here, so that a file cannot hide a trigger"
    ]


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


def _check_length(limit: int, root: ModelFolder, *, requested: int | None) -> None:
    """Raise where a config allows a few tokens only: programs that ignore it would read more of a text than a scan does."""
    if 0 < limit < min(MIN_TOKENS, requested or MIN_TOKENS):  # below 0: no bound
        raise ModelError(
            f"{str(root.origin)!r} has positions for {limit} tokens",
            expected=f"max_position_embeddings of at least {MIN_TOKENS}",
            remedy="correct config.json, or get the model from its author",
        )


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
        remedy="give the fine-tuned checkpoint or adapter, not the pre-trained model; an adapter needs its head in modules_to_save",
    )


def _check_finite(module: nn.Module, name: str) -> None:
    bad = [key for key, value in module.named_parameters() if not bool(torch.isfinite(value).all())]
    if bad:
        raise ModelError(
            f"{name!r} holds weights that are not numbers, first in {bad[0]!r} ({len(bad)} tensors in all)",
            remedy="download the file again, or ask its author",
        )
