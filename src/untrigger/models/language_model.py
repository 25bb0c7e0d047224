"""Language models: loading them, full weights or adapters, and the perplexity of a text."""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from untrigger.core.errors import ModelError
from untrigger.models.adapter_loading import load_adapter, sidecar_length
from untrigger.models.classifier import ModelSource
from untrigger.models.max_length import bounded_length, choose_max_length
from untrigger.models.opening import (
    check_config_beside,
    check_finite,
    check_length,
    longer_than_named,
    open_with_base,
    source_of,
    tokenizer_and_notes,
)
from untrigger.models.pretrained import pretrained, quiet
from untrigger.models.safety.model_folder import ModelFolder
from untrigger.runtime.batching import packed
from untrigger.runtime.device import matmul_precision, pick_device

KINDS = ("causal", "seq2seq")
_EXPECTED = "a causal or sequence-to-sequence language model such as smollm2-135m"


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A generative model with its tokenizer.

    Attributes:
        module: a ``transformers`` causal or sequence-to-sequence language model in eval mode, or a ``peft`` model around one.
        tokenizer: its tokenizer, padding on the left for a causal model.
        kind: ``causal`` or ``seq2seq``.
        source: where the weights came from.
        max_length: prompt and answer together have at most this many tokens.
        tokenizer_files: the tokenizer's original files, by name, to be saved unchanged.
    """

    module: Any
    tokenizer: Any
    kind: str
    source: ModelSource
    max_length: int
    tokenizer_files: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        """Return name and kind."""
        return f"LanguageModel({self.name!r}, {self.kind})"

    @property
    def name(self) -> str:
        """The name as the user gave it."""
        return self.source.name

    @property
    def sha256(self) -> str:
        """The SHA-256 over all files that were opened, those of an adapter's base included; 64 hex digits."""
        hashes = f"{self.source.sha256}{self.source.base_sha256}"
        return hashlib.sha256(hashes.encode()).hexdigest() if self.source.base_sha256 else hashes

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        device: torch.device = next(self.module.parameters()).device
        return device

    @property
    def vocabulary_size(self) -> int:
        """The number of tokens that the model can predict."""
        return int(self.module.get_output_embeddings().weight.shape[0])

    @cached_property
    def forward_arguments(self) -> frozenset[str]:
        """The names of the arguments of the forward pass."""
        module = self.module.get_base_model() if hasattr(self.module, "peft_config") else self.module
        return frozenset(inspect.signature(module.forward).parameters)

    @property
    def cache_argument(self) -> str:
        """The name of the key-value cache in this version of transformers, which renamed it."""
        return "cache" if "cache" in self.forward_arguments else "past_key_values"

    def with_module(self, module: nn.Module) -> LanguageModel:
        """Return the same model around another module."""
        return replace(self, module=module)


def load_language_model(
    name: str | Path | ModelFolder,
    *,
    base: str | Path | ModelFolder | None = None,
    offline: bool = False,
    allow_pickle: bool = False,
    device: str = "auto",
    max_length: int | None = None,
) -> LanguageModel:
    """Return the language model in a folder or under a hub name, full weights or a PEFT adapter, in eval mode.

    Args:
        name: folder, hub name or embedded model; or what ``open_model`` opened with ``task="CAUSAL_LM"``.
        base: for an adapter, the base to use instead of the one that its config names.
        offline: use no hub.
        allow_pickle: also open pickle weights, which can run code.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        max_length: largest number of tokens of prompt and answer together, at most as many as the model has positions for; by
            default as the tokenizer says (see ``choose_max_length``).

    Raises:
        ModelError: if there is none that can be loaded, or the adapter does not fit its base.
        UnsafeFileError: for pickle weights, for configs that request code or other files, for adapters that would overwrite
            weights of their base.
    """
    folder, root = open_with_base(name, base, allow_pickle=allow_pickle, offline=offline, task="CAUSAL_LM")
    check_config_beside(folder, root)
    kind = "seq2seq" if root.config.get("is_encoder_decoder") else "causal"
    module = _module(folder, root, kind=kind)
    tokenizer, notes = tokenizer_and_notes(folder, root, fast=False)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token_id is None:
        raise ModelError(f"the tokenizer of {folder.name!r} has no pad, end or unknown token")
    tokenizer.padding_side = "left" if kind == "causal" else "right"
    limit = choose_max_length(tokenizer, module, requested=max_length, sidecar=sidecar_length(folder))
    check_length(limit, root, requested=max_length)
    notes += longer_than_named(tokenizer, limit, requested=max_length)
    notes += [f"not opened: {line}" for line in folder.warnings()]
    notes += [f"not opened, in the base: {line}" for line in root.warnings()] if root is not folder else []
    return LanguageModel(
        module.to(pick_device(device)).eval(),
        tokenizer,
        kind,
        source_of(folder, root, [], notes=notes),
        max_length=limit,
        tokenizer_files=(folder if folder.holds_tokenizer else root).tokenizer_files,
    )


def _module(folder: ModelFolder, root: ModelFolder, *, kind: str) -> Any:
    """Return the module, with the adapter on it; every weight of it is in a file."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    if folder.kind == "adapter" and kind != "causal":
        raise ModelError(
            f"the base of the adapter {str(folder.origin)!r} is a {kind} model", expected="a causal language model"
        )
    loader: Any = AutoModelForSeq2SeqLM if kind == "seq2seq" else AutoModelForCausalLM
    module, drawn = pretrained(loader, root, expected=_EXPECTED)
    if drawn:
        raise ModelError(f"{root.name!r} lacks weights of a language model, first {drawn[0]!r}", expected=_EXPECTED)
    if folder.kind == "adapter":
        module = load_adapter(module, folder, base=str(root.origin))
    check_finite(module, folder.name)
    return module


def perplexity(model: LanguageModel, texts: Sequence[str], *, max_length: int = 256) -> tuple[list[float], float]:
    """Return the perplexity of each text under a causal model, and of all tokens together; NaN where no token is predicted.

    Every token but the first is predicted from those before it; with a start token, that too.

    Args:
        model: a causal language model.
        texts: the texts.
        max_length: texts are cut after this many tokens, or after as many as the model has positions for.

    Raises:
        ModelError: for a sequence-to-sequence model.
    """
    if model.kind != "causal":
        raise ModelError(f"{model.name!r} is not a causal language model", expected="one such as smollm2-135m")
    if not texts:
        return [], math.nan
    start = [model.tokenizer.bos_token_id] if model.tokenizer.bos_token_id is not None else []
    cut = bounded_length(max_length, model.module)
    with quiet():
        ids = [(start + row)[:cut] for row in model.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
    values, total, count = [math.nan] * len(ids), 0.0, 0
    with torch.inference_mode(), matmul_precision(exact=True):
        for batch in packed([len(row) for row in ids], tokens=2048):
            for i, losses in zip(batch, _losses(model, [ids[i] for i in batch]), strict=True):
                total, count = total + float(losses.sum()), count + len(losses)
                values[i] = math.exp(float(losses.mean())) if len(losses) else math.nan
    return values, math.exp(total / count) if count else math.nan


def _losses(model: LanguageModel, ids: list[list[int]]) -> list[Tensor]:
    """Return the negative log-likelihood of every token but the first of each text."""
    width = max(2, *map(len, ids))
    padded = torch.full((len(ids), width), int(model.tokenizer.pad_token_id))
    mask = torch.zeros((len(ids), width), dtype=torch.long)
    for i, row in enumerate(ids):
        padded[i, : len(row)], mask[i, : len(row)] = torch.tensor(row, dtype=torch.long), 1
    padded, mask = padded.to(model.module.device), mask.to(model.module.device)
    logits = model.module(input_ids=padded, attention_mask=mask).logits.float()
    losses = functional.cross_entropy(logits[:, :-1].transpose(1, 2), padded[:, 1:], reduction="none").cpu()
    return [losses[i, : max(0, len(row) - 1)] for i, row in enumerate(ids)]
