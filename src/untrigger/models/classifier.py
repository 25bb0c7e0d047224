"""A text classifier as the project sees it: module, tokenizer, label names, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from untrigger.core.errors import DataError, ModelError
from untrigger.models.classification_head import HeadInputHook, classification_head
from untrigger.models.input_spec import InputSpec, forward_config, input_spec_of
from untrigger.models.safety.panics import panics_refused

__all__ = ["Batch", "Classifier", "HeadInputHook", "ModelOutput", "ModelSource", "classification_head"]


@dataclass(frozen=True)
class ModelSource:
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


class ModelOutput(NamedTuple):
    """What one forward pass gives: ``logits (B, C)`` and ``features (B, d)``, the input of the last linear layer.

    ``positions (B, S, d)`` are that layer's inputs where it is applied to every token, ``hidden`` the hidden states, each
    ``(B, S, d)``, where they were wanted.
    """

    logits: Tensor
    features: Tensor
    positions: Tensor | None = None
    hidden: tuple[Tensor, ...] = ()


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
    source: ModelSource
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

    @cached_property
    def input_spec(self) -> InputSpec:
        """How the model wants to be asked."""
        return input_spec_of(self.module, self.tokenizer)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, special tokens included, cut at ``max_length`` on the side that the tokenizer names.

        Raises:
            DataError: for a text that is no text, or of which no token is left.
            ModelError: for tokens that the model has no embedding for, and where the tokenizer breaks down.
        """
        ids = self._tokenized(texts, truncation=True, max_length=self.max_length)
        empty = next((i for i, row in enumerate(ids) if not row), None)
        if empty is not None:
            raise DataError(
                f"the tokenizer of {self.source.name!r} makes no token of the text {texts[empty]!r}",
                expected="texts of one token or more",
                remedy="leave that row out",
            )
        self._check_tokens(ids)
        return ids

    def count_cut(self, texts: Sequence[str]) -> int:
        """How many of the texts are longer than ``max_length`` tokens, so that the model reads a part of them only."""
        return sum(len(row) > self.max_length for row in self._tokenized(texts, truncation=False))

    def padding_candidates(self, ids: Sequence[Sequence[int]]) -> list[int]:
        """The tokens that batches drawn from these rows may be padded with."""
        return self.input_spec.padding_candidates(ids)

    def collate(self, ids: Sequence[Sequence[int]], *, rows: Sequence[int] = ()) -> Batch:
        """One batch on the model's device, padded on the right to the longest of ``ids``."""
        lengths = torch.tensor([len(row) for row in ids])
        width, pad = int(lengths.max()), self.padding_candidates(ids)[-1]
        padded = torch.tensor([[*row, *[pad] * (width - len(row))] for row in ids], dtype=torch.long)
        mask = (torch.arange(width) < lengths.unsqueeze(1)).long()
        return Batch(padded.to(self.device), mask.to(self.device), tuple(rows))

    def forward_groups(self, batch: Batch) -> list[list[int]]:
        """The rows of the batch in parts that one forward pass may take: all at once unless padding disturbs the architecture."""
        if not self.input_spec.equal_lengths:
            return [list(range(len(batch.input_ids)))]
        return self.input_spec.equal_length_groups(batch.input_ids, batch.attention_mask)

    def forward(self, batch: Batch, *, hidden: bool = False) -> ModelOutput:
        """Logits and features of a batch, with gradients where autograd is on; with ``hidden`` the hidden states too.

        Each row is answered as it would be alone: an architecture that padding disturbs reads rows of equal length together.
        """
        if not self.input_spec.equal_lengths:
            return self._forward_rows(batch, hidden=hidden, width=batch.input_ids.shape[1])
        groups = self.forward_groups(batch)
        parts = [
            self._forward_rows(_part(batch, group), hidden=hidden, width=batch.input_ids.shape[1]) for group in groups
        ]
        back = torch.tensor([i for group in groups for i in group], device=batch.input_ids.device).argsort()
        places = [one.positions for one in parts if one.positions is not None]
        return ModelOutput(
            torch.cat([one.logits for one in parts])[back],
            torch.cat([one.features for one in parts])[back],
            torch.cat(places)[back] if places else None,
            tuple(torch.cat(states)[back] for states in zip(*(one.hidden for one in parts), strict=True)),
        )

    def _forward_rows(self, batch: Batch, *, hidden: bool, width: int) -> ModelOutput:
        ids, mask = batch.input_ids, batch.attention_mask
        pad = self.input_spec.pad_token_id
        if pad is None and len(ids) > 1:
            pad = self.padding_candidates([row[keep].tolist() for row, keep in zip(ids, mask.bool(), strict=True)])[-1]
        spare = None if self.input_spec.pad_token_id is not None else pad
        with forward_config(self.module, pad=spare), HeadInputHook(self.module, classes=self.classes) as tap:
            output = self._call_module(self._arguments(batch, hidden=hidden))
        positions = tap.positions()
        wide = (
            None if positions is None else _widened(positions[:, -ids.shape[1] :].float(), width)
        )  # without learned prompts
        states = tuple(_widened(state, width) for state in _hidden(output)) if hidden else ()
        return ModelOutput(output.logits.float(), tap.features_of(ids, pad=pad), wide, states)

    def _call_module(self, arguments: dict[str, Any]) -> Any:
        try:
            return self.module(**arguments)
        except (RuntimeError, ValueError, IndexError, KeyError, AttributeError, AssertionError) as error:
            if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
                raise
            length = arguments["input_ids"].shape[1]
            raise ModelError(
                f"{self.source.name!r} cannot read a text of {length} tokens: {type(error).__name__}: {str(error)[:200]}",
                expected="a model that transformers itself can ask about one text at a time",
                remedy="try that text in plain transformers; another --max-length may help",
            ) from error

    def _arguments(self, batch: Batch, *, hidden: bool) -> dict[str, Any]:
        """The keyword arguments of the forward pass, as far as the architecture knows them."""
        known, given = self.input_spec.arguments, dict[str, Any](input_ids=batch.input_ids)
        if "attention_mask" in known:
            given["attention_mask"] = batch.attention_mask
        if self.input_spec.token_types is not None:
            lengths = batch.attention_mask.sum(dim=1).tolist()
            given["token_type_ids"] = self.input_spec.token_types.of(lengths, width=batch.input_ids.shape[1]).to(
                self.device
            )
        if "return_dict" in known or "kwargs" in known:  # a config can say that it wants tuples
            given["return_dict"] = True
        if hidden and not known & {"output_hidden_states", "kwargs"}:
            raise ModelError(_NO_HIDDEN_STATES, remedy="take a method that needs none")
        return given | ({"output_hidden_states": True} if hidden else {})

    def _tokenized(self, texts: Sequence[str], **how: Any) -> list[list[int]]:
        if not texts:
            return []
        try:
            with panics_refused(self.source.name):
                encoded = self.tokenizer(list(texts), padding=False, verbose=False, **how)
        except ModelError:
            raise
        except BaseException as error:
            raise _no_tokens(texts, error) from error
        return [list(row) for row in encoded["input_ids"]]

    def _check_tokens(self, ids: Sequence[Sequence[int]]) -> None:
        rows = self.input_spec.embedding_rows
        if rows is None or not ids or max(map(max, ids)) < rows:
            return
        token = max(map(max, ids))
        raise ModelError(
            f"the tokenizer of {self.source.name!r} makes the token {token} ({self.tokenizer.convert_ids_to_tokens(token)!r}), "
            f"but the model has embeddings for {rows} tokens only",
            expected="a tokenizer with the model's vocabulary",
            remedy="give the tokenizer that the model was trained with, or resize the model's embeddings and save it",
        )


def _part(batch: Batch, group: list[int]) -> Batch:
    """The rows of the batch in ``group``, without the padding that none of them needs."""
    mask = batch.attention_mask[group]
    width = int(mask.sum(dim=1).max())
    return Batch(batch.input_ids[group][:, :width], mask[:, :width])


def _widened(states: Tensor, width: int) -> Tensor:
    """``(B, S, d)`` with zeros behind it up to ``width`` tokens."""
    return functional.pad(states, (0, 0, 0, max(0, width - states.shape[1])))


_NO_HIDDEN_STATES = "this architecture does not show its hidden states"


def _hidden(output: Any) -> tuple[Tensor, ...]:
    """The hidden states of every layer; of an encoder-decoder the decoder's."""
    found = getattr(output, "hidden_states", None) or getattr(output, "decoder_hidden_states", None)
    if not found:
        raise ModelError(_NO_HIDDEN_STATES, remedy="take a method that needs none")
    return tuple(found)


def _no_tokens(texts: Sequence[object], error: BaseException) -> BaseException:
    """What to raise where a tokenizer fails: the user's error where it is one, else the error itself."""
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            return DataError(f"text {i + 1} is a {type(text).__name__}", expected="texts")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return DataError(
                f"text {i + 1} holds half a character (a lone surrogate): {text[:60]!r}",
                expected="valid Unicode",
                remedy="mend or drop that row; files are read as UTF-8",
            )
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError):
        return error
    # a panic inside tokenizers is a BaseException that no `except Exception` sees
    return ModelError(f"the tokenizer cannot read the texts: {type(error).__name__}: {str(error)[:200]}")
