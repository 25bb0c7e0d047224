"""Which inputs an architecture takes, so that a text gets the same logits in a batch as it gets alone.

The reference is plain ``transformers`` with one text at a time: no padding, the model's own config, its tokenizer's output.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# Padding on the right does not change the logits of these: an attention mask covers it, or attention is causal. Each is a row of
# tests/conformance/matrix.py. Texts for every other architecture are batched by equal length, without padding.
PADDING_SAFE = frozenset(
    {
        "albert",
        "bert",
        "bloom",
        "camembert",
        "data2vec-text",
        "deberta",
        "deberta-v2",
        "distilbert",
        "electra",
        "ernie",
        "falcon",
        "gemma",
        "gemma2",
        "gemma3_text",
        "glm",
        "glm4",
        "gpt2",
        "gpt_bigcode",
        "gpt_neo",
        "gpt_neox",
        "gptj",
        "helium",
        "llama",
        "ministral",
        "mistral",
        "mobilebert",
        "modernbert",
        "mpnet",
        "nemotron",
        "olmo",
        "olmo2",
        "opt",
        "persimmon",
        "phi",
        "phi3",
        "qwen2",
        "qwen3",
        "rembert",
        "roberta",
        "roberta-prelayernorm",
        "roformer",
        "smollm3",
        "squeezebert",
        "stablelm",
        "starcoder2",
        "xlm-roberta",
        "xlm-roberta-xl",
        "megatron-bert",
    }
)


@dataclass(frozen=True)
class TokenTypes:
    """The token type ids that a tokenizer gives: to leading special tokens, to the text, to trailing special tokens."""

    before: tuple[int, ...]
    text: int
    after: tuple[int, ...]

    def of(self, lengths: Sequence[int], *, width: int) -> Tensor:
        """Return ``(B, width)``: the token type ids of rows of these lengths, zero after a row's end."""
        special = len(self.before) + len(self.after)
        rows = [[*self.before, *[self.text] * (n - special), *self.after][:n] for n in lengths]
        return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], dtype=torch.long)


@dataclass(frozen=True)
class InputSpec:
    """What the forward pass takes, and which rows of a batch may share one.

    Attributes:
        arguments: names of the arguments of the forward pass.
        embedding_rows: rows of the word embedding; None where there is no such table.
        pad_token_id: the config's own pad token; None where it has none (or one that is not a token).
        equal_lengths: padding changes the logits, so that only rows of equal length may share a forward pass.
        eos_token_id: of an encoder-decoder that looks at this token: rows of one forward pass hold it equally often.
        token_types: the tokenizer's token type ids; None where the model or the tokenizer has none.
    """

    arguments: frozenset[str]
    embedding_rows: int | None
    pad_token_id: int | None
    equal_lengths: bool
    eos_token_id: int | None
    token_types: TokenTypes | None

    def equal_length_groups(self, ids: Tensor, mask: Tensor) -> list[list[int]]:
        """Return the row numbers of a batch ``(B, S)`` in groups of equal length that may share a forward pass."""
        lengths = mask.sum(dim=1)
        eos = self.eos_token_id
        ends = torch.zeros_like(lengths) if eos is None else ((ids == eos) & mask.bool()).sum(dim=1)
        groups: dict[tuple[int, int], list[int]] = {}
        for i, key in enumerate(zip(lengths.tolist(), ends.tolist(), strict=True)):
            groups.setdefault(key, []).append(i)
        return list(groups.values())

    def padding_candidates(self, ids: Sequence[Sequence[int]]) -> list[int]:
        """Return the tokens to pad with: the config's own, else all tokens up to the first that ends none of the rows.

        The last of them is the one to use.
        """
        if self.pad_token_id is not None:
            return [self.pad_token_id]
        ends, candidates = {row[-1] for row in ids if row}, []
        for token in range(self.embedding_rows or len(ends) + 1):
            candidates.append(token)
            if token not in ends:
                break
        return candidates


def transformers_model(module: nn.Module) -> Any:
    """Return the ``transformers`` model inside a PEFT model, any other module itself."""
    return module.get_base_model() if hasattr(module, "get_base_model") else module  # type: ignore[operator]


def input_spec_of(module: nn.Module, tokenizer: Any) -> InputSpec:
    """Return the input spec of a module with its tokenizer."""
    inner = transformers_model(module)
    config = getattr(inner, "config", None)
    arguments = frozenset(inspect.signature(inner.forward).parameters)
    rows, pad = _embedding_rows(inner), getattr(_text_config(config), "pad_token_id", None)
    architecture = str(getattr(config, "model_type", ""))
    return InputSpec(
        arguments=arguments,
        embedding_rows=rows,
        pad_token_id=pad if isinstance(pad, int) and 0 <= pad < (rows or pad + 1) else None,
        equal_lengths=architecture not in PADDING_SAFE or is_prompt_learning(module),
        eos_token_id=getattr(config, "eos_token_id", None) if getattr(config, "is_encoder_decoder", False) else None,
        token_types=_token_types(tokenizer) if "token_type_ids" in arguments else None,
    )


def is_prompt_learning(module: nn.Module) -> bool:
    """Return whether a PEFT method puts virtual tokens before each text."""
    configs = getattr(module, "peft_config", {})
    return any(bool(getattr(config, "is_prompt_learning", False)) for config in configs.values())


@contextmanager
def forward_config(module: nn.Module, *, pad: int | None) -> Iterator[None]:
    """Set the config for a forward pass of a batch, and restore it afterwards: ``return_dict`` on, ``pad`` as the pad token.

    A decoder without a pad token takes one text at a time only. With a pad token that ends no row it takes many, and reads each
    at its last token. Where an earlier text switched the model's attention, it is switched back.

    Args:
        module: the model.
        pad: the pad token; None keeps the config's own.
    """
    config = getattr(transformers_model(module), "config", None)
    _restore_sparse_attention(transformers_model(module), getattr(config, "attention_type", None))
    changes: list[tuple[Any, str, Any]] = []
    if getattr(config, "return_dict", True) is False:
        changes.append((config, "return_dict", True))
    if pad is not None and config is not None:
        changes.append((_text_config(config), "pad_token_id", pad))
    before = [(owner, name, getattr(owner, name, None)) for owner, name, _ in changes]
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _restore_sparse_attention(inner: Any, kind: object) -> None:
    """Restore BigBird's sparse attention: a short text switches it off for good, and logits would depend on earlier texts."""
    if kind != "block_sparse":
        return
    for part in list(inner.modules()):
        if hasattr(part, "set_attention_type") and part.attention_type != kind:
            part.set_attention_type(kind)


def last_tokens(batch_ids: Tensor, *, pad: int | None) -> Tensor:
    """Return ``(B,)``: the position of the last token that is not a pad token, where transformers reads a decoder's head."""
    positions = torch.arange(batch_ids.shape[1], device=batch_ids.device)
    is_text = torch.ones_like(batch_ids) if pad is None else (batch_ids != pad).long()
    return (positions * is_text).argmax(dim=1)


def _text_config(config: Any) -> Any:
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _embedding_rows(inner: Any) -> int | None:
    try:
        table = inner.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        return None
    table = getattr(table, "base_layer", getattr(table, "original_module", table))
    rows = getattr(table, "num_embeddings", None)
    return rows if isinstance(rows, int) else None


def _token_types(tokenizer: Any) -> TokenTypes | None:
    if "token_type_ids" not in tokenizer.model_input_names:
        return None
    encoded = tokenizer("a", return_token_type_ids=True, return_special_tokens_mask=True, verbose=False)
    types, special = list(encoded["token_type_ids"]), list(encoded["special_tokens_mask"])
    if 0 not in special:
        return None
    first, last = special.index(0), len(special) - special[::-1].index(0)
    return TokenTypes(tuple(types[:first]), int(types[first]), tuple(types[last:]))
