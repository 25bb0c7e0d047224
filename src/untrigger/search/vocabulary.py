"""The words that a tokenizer knows as one token, wherever they stand behind a blank."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch


class Words(NamedTuple):
    """``ids (V,)``: the tokens that are whole words; ``texts``: the words."""

    ids: torch.Tensor
    texts: tuple[str, ...]


def single_token_words(tokenizer: Any) -> Words:
    """Every token that decodes to a word and comes back as the same single token behind a blank.

    Works for WordPiece, byte-level BPE and SentencePiece alike, because it asks the tokenizer itself. Special tokens,
    word continuations and tokens that hold a blank inside are left out.
    """
    special = set(tokenizer.all_special_ids)
    numbers = [i for i in range(len(tokenizer)) if i not in special]
    texts = [text.strip() for text in tokenizer.batch_decode([[i] for i in numbers])]
    usable = [(i, text) for i, text in zip(numbers, texts, strict=True) if text and len(text.split()) == 1 and "\ufffd" not in text]
    prefix = tokenizer("a", add_special_tokens=False)["input_ids"]
    again = tokenizer([f"a {text}" for _, text in usable], add_special_tokens=False)["input_ids"]
    kept = [(i, text) for (i, text), ids in zip(usable, again, strict=True) if ids == [*prefix, i]]
    return Words(torch.tensor([i for i, _ in kept], dtype=torch.long), tuple(text for _, text in kept))
