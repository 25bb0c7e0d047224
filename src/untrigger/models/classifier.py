"""A text classifier as the project sees it: module, tokenizer, label names, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from untrigger.errors import ModelError


@dataclass(frozen=True)
class Source:
    """Where a model came from.

    Attributes:
        name: the folder or hub name as given.
        kind: ``full`` weights or an ``adapter``.
        base: for an adapter, the folder or hub name of its base model.
        fresh: names of parameters that no file held (a pooler, a new head).
        sha256: hash over all files that were opened, empty where the model was never on disk.
        base_sha256: the same of an adapter's base.
        revision: the revision of its base that an adapter's config names.
        notes: what a user should know of how the model was read.
        files: what was opened with its hashes, and what was not, for the report.
    """

    name: str
    kind: str
    base: str | None = None
    fresh: tuple[str, ...] = ()
    sha256: str = ""
    base_sha256: str = ""
    revision: str | None = None
    notes: tuple[str, ...] = ()
    files: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Reading(NamedTuple):
    """What one forward pass says: ``logits (B, C)`` and ``features (B, d)``, the input of the last linear layer."""

    logits: Tensor
    features: Tensor


@dataclass(frozen=True)
class Batch:
    """Token ids and mask, both ``(B, S)``, padded on the right, and where a loss needs them the row numbers."""

    input_ids: Tensor
    attention_mask: Tensor
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Classifier:
    """A sequence classifier with all that is needed to ask it about texts.

    Attributes:
        module: a ``transformers`` sequence classifier, or a ``peft`` model around one.
        tokenizer: its fast tokenizer.
        label_names: names of the classes in the order of the logits.
        source: where the weights came from.
        max_length: texts are cut after this many tokens.
        tokenizer_files: the tokenizer's files as they came, by name, to be saved as they are.
    """

    module: nn.Module
    tokenizer: Any
    label_names: tuple[str, ...]
    source: Source
    max_length: int = 128
    tokenizer_files: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        """Name, kind and classes."""
        return f"Classifier({self.source.name!r}, {self.source.kind}, {len(self.label_names)} classes)"

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.module.parameters()).device

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.label_names)

    def with_module(self, module: nn.Module) -> Classifier:
        """The same classifier around another module."""
        return replace(self, module=module)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, special tokens included, cut at ``max_length``."""
        if not texts:
            return []
        encoded = self.tokenizer(list(texts), truncation=True, max_length=self.max_length, padding=False)
        empty = [self.tokenizer.pad_token_id]
        return [list(ids) or empty for ids in encoded["input_ids"]]

    def collate(self, ids: Sequence[Sequence[int]], *, rows: Sequence[int] = ()) -> Batch:
        """One batch on the model's device, padded on the right to the longest of ``ids``."""
        lengths = torch.tensor([len(row) for row in ids])
        width, pad = int(lengths.max()), int(self.tokenizer.pad_token_id)
        padded = torch.tensor([[*row, *[pad] * (width - len(row))] for row in ids], dtype=torch.long)
        mask = (torch.arange(width) < lengths.unsqueeze(1)).long()
        return Batch(padded.to(self.device), mask.to(self.device), tuple(rows))

    def read(self, batch: Batch) -> Reading:
        """Logits and features of a batch, with gradients where autograd is on."""
        with FeatureTap(self.module, classes=self.classes) as tap:
            output = self.module(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
        return Reading(output.logits.float(), tap.features(batch.attention_mask))


def head_of(module: nn.Module, *, classes: int) -> nn.Linear:
    """The last linear layer with ``classes`` outputs: the one that makes the logits.

    Raises:
        ModelError: if there is none.
    """
    found = None
    for name, layer in module.named_modules():
        inner = "original_module" in name or "lora_" in name
        if isinstance(layer, nn.Linear) and layer.out_features == classes and not inner:
            found = layer
    if found is None:
        raise ModelError(
            "no classification layer was found",
            expected=f"a linear layer with {classes} outputs",
            remedy="give a sequence-classification checkpoint",
        )
    return found


class FeatureTap:
    """A context that catches the input of the classification layer, and takes its hook away again."""

    def __init__(self, module: nn.Module, *, classes: int) -> None:
        """Remember the layer to listen to."""
        self._layer = head_of(module, classes=classes)
        self._caught: Tensor | None = None

    def __enter__(self) -> FeatureTap:
        """Start to listen."""
        self._handle = self._layer.register_forward_pre_hook(self._catch)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._handle.remove()

    def _catch(self, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._caught = inputs[0]

    def features(self, mask: Tensor) -> Tensor:
        """``(B, d)``: for a head over every position ``(B, S, d)``, the one at the last real token."""
        if self._caught is None:
            raise ModelError("the classification layer was never called")
        if self._caught.dim() == 2:
            return self._caught.float()
        last = mask.sum(dim=1) - 1
        return self._caught[torch.arange(len(last), device=last.device), last].float()

    def positions(self) -> Tensor | None:
        """``(B, S, d)`` for a head over every position, else None."""
        return self._caught if self._caught is not None and self._caught.dim() == 3 else None
