"""How an architecture wants to be asked, so that a batch is answered as each of its texts would be alone.

The measure is plain ``transformers`` with one text at a time: no padding, the model's own config, what its tokenizer makes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# Padding on the right changes nothing here: an attention mask covers it, or no token looks at what follows it. Each is a row of
# tests/conformance/matrix.py. The texts of every other architecture are read in batches of equal length, without padding.
INERT = frozenset(
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
    """The segment of each token as the tokenizer numbers it: those of leading special tokens, of the text, of trailing ones."""

    before: tuple[int, ...]
    text: int
    after: tuple[int, ...]

    def of(self, lengths: Sequence[int], *, width: int) -> Tensor:
        """``(B, width)``: the types of rows of these lengths, zero behind a row's end."""
        fixed = len(self.before) + len(self.after)
        made = [[*self.before, *[self.text] * (n - fixed), *self.after][:n] for n in lengths]
        return torch.tensor([[*row, *[0] * (width - len(row))] for row in made], dtype=torch.long)


@dataclass(frozen=True)
class InputRules:
    """What has to be kept so that the texts of a batch are answered as each alone.

    Attributes:
        arguments: the arguments that the forward pass names.
        rows: rows of the word embedding; None where there is no such table.
        pad: the config's own pad token, None where it has none (or one that is no token).
        equal_lengths: no padding is allowed.
        end: of an encoder-decoder that looks at this token: rows of one batch hold it equally often.
        token_types: what the tokenizer gives for them; None where the model or the tokenizer knows none.
    """

    arguments: frozenset[str]
    rows: int | None
    pad: int | None
    equal_lengths: bool
    end: int | None
    token_types: TokenTypes | None

    def groups(self, ids: Tensor, mask: Tensor) -> list[list[int]]:
        """The rows of a batch in parts of equal length that may be asked together."""
        lengths = mask.sum(dim=1)
        ends = torch.zeros_like(lengths) if self.end is None else ((ids == self.end) & mask.bool()).sum(dim=1)
        parts: dict[tuple[int, int], list[int]] = {}
        for i, key in enumerate(zip(lengths.tolist(), ends.tolist(), strict=True)):
            parts.setdefault(key, []).append(i)
        return list(parts.values())

    def paddings(self, ids: Sequence[Sequence[int]]) -> list[int]:
        """Tokens to pad with: the config's own, else ever further ones up to the first that ends none of the rows."""
        if self.pad is not None:
            return [self.pad]
        ends, tried = {row[-1] for row in ids if row}, []
        for token in range(self.rows or len(ends) + 1):
            tried.append(token)
            if token not in ends:
                break
        return tried


def inner_of(module: nn.Module) -> Any:
    """The ``transformers`` model inside a PEFT model, any other module itself."""
    return module.get_base_model() if hasattr(module, "get_base_model") else module  # type: ignore[operator]


def rules_of(module: nn.Module, tokenizer: Any) -> InputRules:
    """The rules of a module with its tokenizer."""
    inner = inner_of(module)
    config = getattr(inner, "config", None)
    arguments = frozenset(inspect.signature(inner.forward).parameters)
    text = _text_config(config)
    rows, pad = _rows(inner), getattr(text, "pad_token_id", None)
    kind = str(getattr(config, "model_type", ""))
    return InputRules(
        arguments=arguments,
        rows=rows,
        pad=pad if isinstance(pad, int) and 0 <= pad < (rows or pad + 1) else None,
        equal_lengths=kind not in INERT or learns_prompts(module),
        end=getattr(config, "eos_token_id", None) if getattr(config, "is_encoder_decoder", False) else None,
        token_types=_token_types(tokenizer) if "token_type_ids" in arguments else None,
    )


def learns_prompts(module: nn.Module) -> bool:
    """Whether a PEFT method puts tokens of its own before each text."""
    configs = getattr(module, "peft_config", {})
    return any(bool(getattr(config, "is_prompt_learning", False)) for config in configs.values())


@contextmanager
def asked_plainly(module: nn.Module, *, pad: int | None) -> Iterator[None]:
    """Inside, the config calls ``pad`` its pad token where one is given, and wants no tuples; behind it the config is as it was.

    A decoder without a pad token answers one text at a time only. With a pad token that ends no row it answers as many, and each
    by its last token. What an earlier text switched in the model is switched back.
    """
    config = getattr(inner_of(module), "config", None)
    _attend_as_configured(inner_of(module), getattr(config, "attention_type", None))
    wanted: list[tuple[Any, str, Any]] = []
    if getattr(config, "return_dict", True) is False:
        wanted.append((config, "return_dict", True))
    if pad is not None and config is not None:
        wanted.append((_text_config(config), "pad_token_id", pad))
    before = [(owner, name, getattr(owner, name, None)) for owner, name, _ in wanted]
    try:
        for owner, name, value in wanted:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _attend_as_configured(inner: Any, kind: object) -> None:
    """Undo what BigBird does at a short text: it leaves sparse attention for good, so that answers depend on earlier texts."""
    if kind != "block_sparse":
        return
    for part in list(inner.modules()):
        if hasattr(part, "set_attention_type") and part.attention_type != kind:
            part.set_attention_type(kind)


def last_tokens(batch_ids: Tensor, *, pad: int | None) -> Tensor:
    """``(B,)``: where a decoder's head is read: at the last token that is no pad token, as transformers decides it."""
    places = torch.arange(batch_ids.shape[1], device=batch_ids.device)
    kept = torch.ones_like(batch_ids) if pad is None else (batch_ids != pad).long()
    return (places * kept).argmax(dim=1)


def _text_config(config: Any) -> Any:
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _rows(inner: Any) -> int | None:
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
    one = tokenizer("a", return_token_type_ids=True, return_special_tokens_mask=True, verbose=False)
    types, special = list(one["token_type_ids"]), list(one["special_tokens_mask"])
    if 0 not in special:
        return None
    first, last = special.index(0), len(special) - special[::-1].index(0)
    return TokenTypes(tuple(types[:first]), int(types[first]), tuple(types[last:]))
