"""A text classifier: module, tokenizer, label names, and where it came from."""

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
from untrigger.models.safety.isolation import panics_as_errors
from untrigger.models.safety.tokenizer_check import has_regex

__all__ = ["Batch", "Classifier", "HeadInputHook", "ModelOutput", "ModelSource", "classification_head"]


@dataclass(frozen=True)
class ModelSource:
    """Where a model came from.

    Attributes:
        name: the folder or hub name as the user gave it.
        kind: ``full`` weights or an ``adapter``.
        base: for an adapter, the folder or hub name of its base model.
        fresh: names of parameters that were in no file (a pooler, a new head).
        sha256: SHA-256 over all files that were opened, empty where the model was never on disk.
        base_sha256: the same for an adapter's base.
        revision: the revision of its base that an adapter's config names.
        commit: of a model from the hub, the commit that was loaded.
        base_commit: the same of an adapter's base.
        notes: what a user should know about how the model was loaded.
        files: what was opened, with hashes, and what was not, for the report.
    """

    name: str
    kind: str
    base: str | None = None
    fresh: tuple[str, ...] = ()
    sha256: str = ""
    base_sha256: str = ""
    revision: str | None = None
    commit: str | None = None
    base_commit: str | None = None
    notes: tuple[str, ...] = ()
    files: Mapping[str, Any] = field(default_factory=dict, repr=False)


class ModelOutput(NamedTuple):
    """The output of one forward pass: ``logits (B, C)`` and ``features (B, d)``, the input of the classification layer.

    ``positions (B, S, d)`` are that layer's inputs where it is applied to every token. ``hidden`` are the hidden states, each
    ``(B, S, d)``, where they were requested.
    """

    logits: Tensor
    features: Tensor
    positions: Tensor | None = None
    hidden: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Token ids and attention mask, both ``(B, S)``, padded on the right, and the row numbers where a loss needs them."""

    input_ids: Tensor
    attention_mask: Tensor
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Classifier:
    """A sequence classifier with all that it takes to classify texts.

    Attributes:
        module: a ``transformers`` sequence classifier, or a ``peft`` model around one.
        tokenizer: its fast tokenizer.
        label_names: names of the classes in the order of the logits.
        source: where the weights came from.
        max_length: texts are cut after this many tokens.
        tokenizer_files: the tokenizer's original files, by name, to be saved unchanged.
    """

    module: nn.Module
    tokenizer: Any
    label_names: tuple[str, ...]
    source: ModelSource
    max_length: int = 128
    tokenizer_files: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        """Return name, kind and number of classes."""
        return f"Classifier({self.source.name!r}, {self.source.kind}, {len(self.label_names)} classes)"

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.module.parameters()).device

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.label_names)

    def with_module(self, module: nn.Module) -> Classifier:
        """Return the same classifier around another module."""
        return replace(self, module=module)

    @cached_property
    def input_spec(self) -> InputSpec:
        """Which inputs the model takes, and whether rows may be padded."""
        return input_spec_of(self.module, self.tokenizer)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, special tokens included, cut at ``max_length`` on the tokenizer's truncation side.

        Raises:
            DataError: for a text that is not a string, or gives no token.
            ModelError: for tokens without an embedding, and where the tokenizer fails.
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
        """Return how many of the texts are longer than ``max_length`` tokens, so that the model sees only a part of them."""
        return sum(len(row) > self.max_length for row in self._tokenized(texts, truncation=False))

    def padding_candidates(self, ids: Sequence[Sequence[int]]) -> list[int]:
        """Return the tokens that batches drawn from these rows may be padded with."""
        return self.input_spec.padding_candidates(ids)

    def collate(self, ids: Sequence[Sequence[int]], *, rows: Sequence[int] = ()) -> Batch:
        """Return one batch on the model's device, padded on the right to the longest of ``ids``."""
        lengths = torch.tensor([len(row) for row in ids])
        width, pad = int(lengths.max()), self.padding_candidates(ids)[-1]
        padded = torch.tensor([[*row, *[pad] * (width - len(row))] for row in ids], dtype=torch.long)
        mask = (torch.arange(width) < lengths.unsqueeze(1)).long()
        return Batch(padded.to(self.device), mask.to(self.device), tuple(rows))

    def forward_groups(self, batch: Batch) -> list[list[int]]:
        """Return the row numbers in groups that may share a forward pass: all in one unless padding changes the logits."""
        if not self.input_spec.equal_lengths:
            return [list(range(len(batch.input_ids)))]
        return self.input_spec.equal_length_groups(batch.input_ids, batch.attention_mask)

    def forward(self, batch: Batch, *, hidden: bool = False) -> ModelOutput:
        """Return logits and features of a batch, with gradients where autograd is on; with ``hidden`` the hidden states too.

        Each row gets the logits that it would get alone: where padding changes them, rows of one length share a forward pass.
        """
        if not self.input_spec.equal_lengths:
            return self._forward_rows(batch, hidden=hidden, width=batch.input_ids.shape[1])
        groups = self.forward_groups(batch)
        parts = [
            self._forward_rows(_select(batch, group), hidden=hidden, width=batch.input_ids.shape[1]) for group in groups
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
        pad_override = None if self.input_spec.pad_token_id is not None else pad
        with forward_config(self.module, pad=pad_override), HeadInputHook(self.module, classes=self.classes) as hook:
            output = self._call_module(self._arguments(batch, hidden=hidden))
        positions = hook.positions()
        # virtual tokens of prompt learning come first and are left out
        wide = None if positions is None else _widened(positions[:, -ids.shape[1] :].float(), width)
        states = tuple(_widened(state, width) for state in _hidden(output)) if hidden else ()
        return ModelOutput(output.logits.float(), hook.features_of(ids, pad=pad), wide, states)

    def _call_module(self, arguments: dict[str, Any]) -> Any:
        try:
            return self.module(**arguments)
        except (RuntimeError, ValueError, IndexError, KeyError, AttributeError, AssertionError) as error:
            if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
                raise
            length = arguments["input_ids"].shape[1]
            raise ModelError(
                f"{self.source.name!r} cannot classify a text of {length} tokens: {type(error).__name__}: {str(error)[:200]}",
                expected="a model that transformers itself can run on one text at a time",
                remedy="try that text in plain transformers; another --max-length may help",
            ) from error

    def _arguments(self, batch: Batch, *, hidden: bool) -> dict[str, Any]:
        """Return the keyword arguments of the forward pass that the architecture takes."""
        known, given = self.input_spec.arguments, dict[str, Any](input_ids=batch.input_ids)
        if "attention_mask" in known:
            given["attention_mask"] = batch.attention_mask
        if self.input_spec.token_types is not None:
            lengths = batch.attention_mask.sum(dim=1).tolist()
            given["token_type_ids"] = self.input_spec.token_types.of(lengths, width=batch.input_ids.shape[1]).to(
                self.device
            )
        if "return_dict" in known or "kwargs" in known:  # a config can request tuples
            given["return_dict"] = True
        if hidden and not known & {"output_hidden_states", "kwargs"}:
            raise _no_hidden_states()
        return given | ({"output_hidden_states": True} if hidden else {})

    @cached_property
    def _has_regex(self) -> bool:
        """Whether the tokenizer came with a tokenizer.json that may hold a regular expression, which can make its library panic."""
        return has_regex(self.tokenizer_files.get("tokenizer.json", b""))

    def _tokenized(self, texts: Sequence[str], **how: Any) -> list[list[int]]:
        if not texts:
            return []
        try:
            with panics_as_errors(self.source.name, hold_stderr=self._has_regex):
                encoded = self.tokenizer(list(texts), padding=False, verbose=False, **how)
        except ModelError:
            raise
        except BaseException as error:
            raise _tokenizer_error(texts, error) from error
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


def _select(batch: Batch, group: list[int]) -> Batch:
    """Return the rows of the batch in ``group``, without padding that none of them needs."""
    mask = batch.attention_mask[group]
    width = int(mask.sum(dim=1).max())
    return Batch(batch.input_ids[group][:, :width], mask[:, :width])


def _widened(states: Tensor, width: int) -> Tensor:
    """Return ``(B, width, d)``: the states followed by zeros."""
    return functional.pad(states, (0, 0, 0, max(0, width - states.shape[1])))


def _no_hidden_states() -> ModelError:
    return ModelError("this architecture does not return its hidden states", remedy="take a method that needs none")


def _hidden(output: Any) -> tuple[Tensor, ...]:
    """Return the hidden states of every layer; of an encoder-decoder the decoder's."""
    found = getattr(output, "hidden_states", None) or getattr(output, "decoder_hidden_states", None)
    if not found:
        raise _no_hidden_states()
    return tuple(found)


def _tokenizer_error(texts: Sequence[object], error: BaseException) -> BaseException:
    """Return what to raise where a tokenizer fails: a DataError for a text that is none, a ModelError, or the error itself."""
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            return DataError(f"text {i + 1} is a {type(text).__name__}", expected="texts")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return DataError(
                f"text {i + 1} holds half a character (a lone surrogate): {text[:60]!r}",
                expected="valid Unicode",
                remedy="correct or drop that row; files are read as UTF-8",
            )
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError):
        return error
    # a panic inside tokenizers is a BaseException that no `except Exception` sees
    return ModelError(f"the tokenizer cannot read the texts: {type(error).__name__}: {str(error)[:200]}")
