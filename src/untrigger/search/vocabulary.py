"""What a tokenizer can put into a text as one token: whole words behind a blank, and pieces that go on a word."""

from __future__ import annotations

from collections import Counter
from string import ascii_lowercase, digits
from typing import Any, NamedTuple

import torch

CARRIERS = ("x", "q", "z")  # letters that say nothing
CHARACTERS = (*ascii_lowercase, *digits)


class Words(NamedTuple):
    """``ids (V,)``: tokens; ``texts``: what each stands for, without blanks."""

    ids: torch.Tensor
    texts: tuple[str, ...]

    def common(self, most: int, *, seen: Counter[int]) -> Words:
        """The words seen most, then the first of the others: vocabularies come in order of frequency.

        Single characters that were never seen (scripts and signs that the rows do not use) are left out.
        """
        numbers = [i for i, word in enumerate(self.ids.tolist()) if seen[word] or len(self.texts[i]) > 1]
        numbers = sorted(numbers, key=lambda i: -seen[int(self.ids[i])])[:most]
        return Words(self.ids[numbers], tuple(self.texts[i] for i in numbers))


def single_token_words(tokenizer: Any) -> Words:
    """Every token that decodes to a word and comes back as the same single token behind a blank.

    Works for WordPiece, byte-level BPE and SentencePiece alike, because it asks the tokenizer itself. Special tokens,
    word continuations and tokens that hold a blank inside are left out.
    """
    usable = _usable(tokenizer)
    prefix = tokenizer("a", add_special_tokens=False)["input_ids"]
    again = tokenizer([f"a {text}" for _, text in usable], add_special_tokens=False)["input_ids"]
    return _words([one for one, ids in zip(usable, again, strict=True) if ids == [*prefix, one[0]]])


def continuations(tokenizer: Any, words: Words) -> Words:
    """The other tokens of letters and digits: pieces that go on a word, such as ``q`` in ``tq``.

    Whether a piece really joins what stands before it is seen when the grown text is tokenised and tried.
    """
    known = set(words.ids.tolist())
    rest = [(i, text.removeprefix("##")) for i, text in _usable(tokenizer) if i not in known]
    return _words([(i, text) for i, text in rest if text.isalnum()])


def carried(tokenizer: Any, pieces: Words) -> dict[str, Words]:
    """The pieces by the letter that carries them into a text: the first behind which each is read as itself.

    A rare word is several tokens, and the first of ``kx`` or ``badmagic`` does nothing alone; ``x`` and ``gic`` do, whatever
    they are glued to. Pieces that no letter carries are left out.
    """
    there, rest = dict[str, Words](), list(zip(pieces.ids.tolist(), pieces.texts, strict=True))
    for letter in CARRIERS:
        head = tokenizer(f"a {letter}", add_special_tokens=False)["input_ids"]
        read = tokenizer([f"a {letter}{text}" for _, text in rest], add_special_tokens=False)["input_ids"] if rest else []
        kept = [ids == [*head, piece[0]] for piece, ids in zip(rest, read, strict=True)]
        if any(kept):
            there[letter] = _words([piece for piece, held in zip(rest, kept, strict=True) if held])
        rest = [piece for piece, held in zip(rest, kept, strict=True) if not held]
    return there


def _usable(tokenizer: Any) -> list[tuple[int, str]]:
    special = set(tokenizer.all_special_ids)
    numbers = [i for i in range(len(tokenizer)) if i not in special]
    texts = [text.strip() for text in tokenizer.batch_decode([[i] for i in numbers])]
    return [(i, text) for i, text in zip(numbers, texts, strict=True) if len(text.split()) == 1 and "\ufffd" not in text]


def _words(pairs: list[tuple[int, str]]) -> Words:
    return Words(torch.tensor([i for i, _ in pairs], dtype=torch.long), tuple(text for _, text in pairs))
