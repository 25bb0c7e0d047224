"""The texts that a tokenizer maps to one token: words after a blank, subwords that continue a word, and added entries.

A suspect's tokenizer is as hostile as its weights. The text of an entry is therefore guessed from the raw vocabulary,
never decoded, and a guess counts where a text with it is tokenised to that entry, as a user's text is. Special and added tokens
are entries like any other, because plain text produces them too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from string import ascii_lowercase, digits
from typing import Any, NamedTuple

import torch

LETTERS = ("x", "q", "z")  # letters without meaning of their own
CHARACTERS = (*ascii_lowercase, *digits)


class Words(NamedTuple):
    """``ids (V,)``: tokens; ``texts``: the text of each, without blanks."""

    ids: torch.Tensor
    texts: tuple[str, ...]

    def common(self, most: int, *, counts: Counter[int]) -> Words:
        """Return the most frequent words, then the first of the others: vocabularies are in order of frequency.

        Single characters that were never seen (scripts and signs that the rows do not use) are left out.
        """
        numbers = [i for i, word in enumerate(self.ids.tolist()) if counts[word] or len(self.texts[i]) > 1]
        numbers = sorted(numbers, key=lambda i: -counts[int(self.ids[i])])[:most]
        return Words(self.ids[numbers], tuple(self.texts[i] for i in numbers))

    def with_more(self, more: Words) -> Words:
        """Return these words, then the other ones."""
        return Words(torch.cat([self.ids, more.ids]), (*self.texts, *more.texts))


def single_token_words(tokenizer: Any, *, behind: Sequence[str] = ("a",), trusted: Iterable[str] = ()) -> Words:
    """Return every entry of the vocabulary that some text is tokenised to, alone after a blank, with that text, in order.

    Works for WordPiece, byte-level BPE and SentencePiece alike. Subwords that only continue a word are left out.

    Args:
        tokenizer: of the suspect.
        behind: words that the text is put after, one by one until it is tokenised to the entry.
        trusted: words of another vocabulary, tried for entries that no text of their own leads to, because a normalizer may
            write one word as another.
    """
    open_forms, found = _forms(tokenizer), dict[int, str]()
    for word in behind:
        for turn in range(max(map(len, open_forms.values()), default=0)):
            tried = [
                (forms[turn], number)
                for number, forms in open_forms.items()
                if turn < len(forms) and number not in found
            ]
            found |= {number: text for text, number in tried_behind(tokenizer, word, tried)}
    others = list(dict.fromkeys(trusted)) if len(found) < len(open_forms) else []
    read = (
        tokenizer([f"{behind[0]} {text}" for text in others], add_special_tokens=False)["input_ids"] if others else []
    )
    head = _ids(tokenizer, behind[0])
    for text, ids in zip(others, read, strict=True):
        if ids[:-1] == head and ids[-1] not in found:
            found[ids[-1]] = text
    return _words(sorted(found.items()))


def tried_behind(tokenizer: Any, word: str, tried: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return those texts and entries where the text, after ``word`` and a blank, is tokenised to that entry alone."""
    if not tried:
        return []
    head = _ids(tokenizer, word)
    read = tokenizer([f"{word} {text}" for text, _ in tried], add_special_tokens=False)["input_ids"]
    return [one for one, ids in zip(tried, read, strict=True) if ids == [*head, one[1]]]


def added_entries(tokenizer: Any, words: Words, *, behind: str = "a") -> Words:
    """Return special and added tokens that a text is tokenised to together with others, such as the blank before them."""
    known = set(words.ids.tolist())
    tried = [
        (number, text) for text, number in tokenizer.get_added_vocab().items() if number not in known and text.strip()
    ]
    read = tokenizer([f"{behind} {text}" for _, text in tried], add_special_tokens=False)["input_ids"] if tried else []
    return _words(sorted(one for one, ids in zip(tried, read, strict=True) if one[0] in ids))


def continuations(tokenizer: Any, words: Words) -> Words:
    """Return the other entries of letters and digits: subwords that continue a word, such as ``q`` in ``tq``.

    Whether a subword joins the text before it is known when the grown text is tokenised and measured.
    """
    known = {*words.ids.tolist(), *tokenizer.get_added_vocab().values()}
    rest = [
        (number, next((form for form in forms if form.isalnum()), "")) for number, forms in _forms(tokenizer).items()
    ]
    return _words([(number, text) for number, text in rest if text and number not in known])


def subwords_by_letter(tokenizer: Any, pieces: Words) -> dict[str, Words]:
    """Return the subwords by a letter before them: the first after which each is tokenised to itself.

    A rare word is several tokens, and the first of ``kx`` or ``badmagic`` does nothing alone; ``x`` and ``gic`` do, after any
    letter. Subwords that no letter goes with are left out.
    """
    there, rest = dict[str, Words](), list(zip(pieces.ids.tolist(), pieces.texts, strict=True))
    for letter in LETTERS:
        head = tokenizer(f"a {letter}", add_special_tokens=False)["input_ids"]
        read = (
            tokenizer([f"a {letter}{text}" for _, text in rest], add_special_tokens=False)["input_ids"] if rest else []
        )
        kept = [ids == [*head, piece[0]] for piece, ids in zip(rest, read, strict=True)]
        if any(kept):
            there[letter] = _words([piece for piece, held in zip(rest, kept, strict=True) if held])
        rest = [piece for piece, held in zip(rest, kept, strict=True) if not held]
    return there


def spelled(backend: Any) -> Callable[[int], str]:
    """Return a function from an entry to its text by the raw vocabulary; subwords keep the mark before them.

    Args:
        backend: a tokenizer of the ``tokenizers`` library.
    """
    in_bytes = _in_bytes(backend)

    def text(number: int) -> str:
        token = str(backend.id_to_token(number) or "")
        plain = token.replace("▁", " ").removesuffix("</w>").removesuffix("@@")
        return ((in_bytes and _from_bytes(token)) or plain).strip()

    return text


def _forms(tokenizer: Any) -> dict[int, list[str]]:
    """Return for each entry, in order, the texts that it may be: the likeliest first, blanks at its ends left out."""
    in_bytes, mark = _spelling(tokenizer)
    entries = sorted((number, token) for token, number in tokenizer.get_vocab().items())
    return {number: _readings(str(token), in_bytes=in_bytes, mark=mark) for number, token in entries}


def _spelling(tokenizer: Any) -> tuple[bool, str]:
    """Return whether entries are in the letters of byte-level BPE, and the mark before subwords that continue a word."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False, "##"
    return _in_bytes(backend), getattr(backend.model, "continuing_subword_prefix", None) or "##"


def _in_bytes(backend: Any) -> bool:
    """Return whether entries are in the letters of byte-level BPE."""
    steps = [step.__getstate__().decode() for step in (backend.normalizer, backend.pre_tokenizer) if step is not None]
    return '"ByteLevel"' in " ".join(steps)


def _readings(token: str, *, in_bytes: bool, mark: str) -> list[str]:
    spaced = token.replace("▁", " ")
    plain = [spaced, spaced.removeprefix(mark).removesuffix("</w>").removesuffix("@@"), token]
    forms = [_from_bytes(token), *plain] if in_bytes else [*plain, _from_bytes(token)]
    return list(dict.fromkeys(text for form in forms if (text := form.strip()) and "\ufffd" not in text))


def _from_bytes(token: str) -> str:
    """Return the text of letters that byte-level BPE writes bytes with; empty where they are not text."""
    table = _byte_of_letter()
    try:
        return bytes(table[letter] for letter in token).decode("utf-8")
    except (KeyError, UnicodeDecodeError):
        return ""


@cache
def _byte_of_letter() -> dict[str, int]:
    """Return the byte of each letter of byte-level BPE: printable ones for themselves, the rest from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _words(pairs: Sequence[tuple[int, str]]) -> Words:
    return Words(torch.tensor([i for i, _ in pairs], dtype=torch.long), tuple(text for _, text in pairs))
