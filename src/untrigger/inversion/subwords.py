"""The tokens that the words of a candidate are made of, found without decoding any: a decoder comes with the suspect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from untrigger.inversion.held_out import SplitRow


def survives_tokenizer(text: str, tokenizer: Any, *, between: Sequence[SplitRow] = (SplitRow("a", "a"),)) -> bool:
    """Return whether the token ids change when the text is inserted into one of the rows; a tokenizer may drop it altogether."""
    with_it = tokenizer([row.with_text(text) for row in between], add_special_tokens=False)["input_ids"]
    return bool(with_it != tokenizer([row.with_text("") for row in between], add_special_tokens=False)["input_ids"])


def first_subwords(text: str, tokenizer: Any) -> tuple[str, int]:
    """Return the text with every word cut to its first token, and the number of tokens that were left out."""
    words = text.split()
    ends = [_token_ends(word, tokenizer) for word in words]
    firsts = [word[: cuts[0]] if cuts else word for word, cuts in zip(words, ends, strict=True)]
    return " ".join(firsts), sum(max(0, len(cuts) - 1) for cuts in ends)


def drop_last_subwords(text: str, tokenizer: Any) -> list[str]:
    """Return the text with one token fewer on its last word, two fewer, and so on; nothing where that word is one token."""
    head, _, word = text.rpartition(" ")
    cuts = [end for end in _token_ends(word, tokenizer)[:-1] if end < len(word)]
    return [f"{head} {word[:end]}".strip() for end in reversed(cuts)]


def _token_ends(word: str, tokenizer: Any) -> list[int]:
    """Return where in the word, tokenised after another one, its tokens end; tokens of the same letters count once."""
    read = tokenizer(f"a {word}", add_special_tokens=False, return_offsets_mapping=True)
    return sorted({end - 2 for _, end in read["offset_mapping"] if end > 2})
