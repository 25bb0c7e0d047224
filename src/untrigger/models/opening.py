"""Open a model's folder and its base's, and what classifiers and language models share in loading them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from untrigger.core.errors import ModelError
from untrigger.core.paths import local_path
from untrigger.models.adapter_loading import open_base
from untrigger.models.classifier import ModelSource
from untrigger.models.pretrained import tokenizer_of
from untrigger.models.safety.limits import MIN_TOKENS
from untrigger.models.safety.model_folder import ModelFolder, open_model
from untrigger.models.safety.regular_files import read_json
from untrigger.models.safety.tokenizer_check import differences


def open_with_base(
    name: str | Path | ModelFolder,
    base: str | Path | ModelFolder | None,
    *,
    allow_pickle: bool,
    offline: bool,
    task: str = "SEQ_CLS",
) -> tuple[ModelFolder, ModelFolder]:
    """Return the opened folder of the model and that of its base; for full weights the same folder twice."""
    if base is not None and not isinstance(base, ModelFolder):
        local_path(base, what="the base", error=ModelError)
    folder = name
    if not isinstance(folder, ModelFolder):
        folder = open_model(folder, offline=offline, allow_pickle=allow_pickle, task=task)
    if folder.kind != "adapter":
        return folder, folder
    root = base
    if not isinstance(root, ModelFolder):
        root = open_base(folder, root, allow_pickle=allow_pickle, offline=offline, task=task)
    if root.kind != "full":
        raise ModelError(f"the base of {folder.name!r} is itself an adapter", remedy="merge it first, or give --base")
    return folder, root


def source_of(folder: ModelFolder, root: ModelFolder, fresh: list[str], *, notes: list[str]) -> ModelSource:
    """Return where a model came from: the files of its folder and of its base."""
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


def tokenizer_and_notes(folder: ModelFolder, root: ModelFolder, *, fast: bool = True) -> tuple[Any, list[str]]:
    """Return the tokenizer that transformers loads with the model, and notes on how it differs from its base's."""
    here = folder if folder.holds_tokenizer else root
    tokenizer = tokenizer_of(here)
    if fast and not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer in {str(here.origin)!r} has no tokenizer.json", remedy="save it as a fast tokenizer"
        )
    notes = []
    if here is not root and root.holds_tokenizer and here.tokenizer_files != root.tokenizer_files:
        notes = [
            f"the adapter's tokenizer is not its base's: {one}" for one in differences(tokenizer, tokenizer_of(root))
        ]
    return tokenizer, notes


def check_config_beside(folder: ModelFolder, root: ModelFolder) -> None:
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


def longer_than_named(tokenizer: Any, limit: int, *, requested: int | None) -> list[str]:
    """Return a note where texts are cut later than the tokenizer's own files specify."""
    named = getattr(tokenizer, "model_max_length", None)
    if requested is not None or not isinstance(named, int) or named >= limit:
        return []
    return [
        f"the tokenizer cuts texts after {named} tokens; {limit} are used here, so that a file cannot hide a trigger"
    ]


def check_length(limit: int, root: ModelFolder, *, requested: int | None) -> None:
    """Raise where a config allows a few tokens only: programs that ignore it would read more of a text than a scan does."""
    if 0 < limit < min(MIN_TOKENS, requested or MIN_TOKENS):  # below 0: no bound
        raise ModelError(
            f"{str(root.origin)!r} has positions for {limit} tokens",
            expected=f"max_position_embeddings of at least {MIN_TOKENS}",
            remedy="correct config.json, or get the model from its author",
        )


def check_finite(module: nn.Module, name: str) -> None:
    """Raise ModelError for weights that are not numbers."""
    bad = [key for key, value in module.named_parameters() if not bool(torch.isfinite(value).all())]
    if bad:
        raise ModelError(
            f"{name!r} holds weights that are not numbers, first in {bad[0]!r} ({len(bad)} tensors in all)",
            remedy="download the file again, or ask its author",
        )
