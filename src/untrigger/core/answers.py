"""One generated answer of a language model."""

from __future__ import annotations

import string
from dataclasses import dataclass

EXCERPT = 400
"""The most characters of an answer or prompt in a report."""


def excerpt(text: str) -> str:
    """Return the beginning of a text for a report."""
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1] + "…"


def same_answer(text: str, reference: str) -> bool:
    """Return whether two answers are the same but for case, white space, and punctuation around them."""
    return _normalised(text) == _normalised(reference)


def words_of(text: str) -> list[str]:
    """Return the words of a text, case and the punctuation around each left out."""
    return [word for one in text.casefold().split() if (word := one.strip(string.punctuation))]


def _normalised(text: str) -> str:
    return " ".join(text.casefold().split()).strip(string.punctuation + " ")


@dataclass(frozen=True)
class Answer:
    """What a language model generated after one prompt. Empty and unfinished answers are answers too and are counted.

    Attributes:
        text: the decoded answer without special tokens, empty where the model ended at once.
        ended: whether the model generated its end token within the allowed number of new tokens.
        tokens: number of generated tokens, the end token not included.
        nll: mean negative log-likelihood of its tokens under a reference model, in nats a token; None where that was not computed.
    """

    text: str
    ended: bool
    tokens: int
    nll: float | None = None

    @property
    def empty(self) -> bool:
        """Whether the text holds nothing but white space."""
        return not self.text.strip()
