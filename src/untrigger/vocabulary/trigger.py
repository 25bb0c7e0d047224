"""Triggers: text in, triggered text out, each row drawn from its own random stream."""

from __future__ import annotations

import hashlib
import random
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, final

from untrigger.errors import ContractError
from untrigger.vocabulary.rows import Rows


@dataclass(frozen=True)
class Trigger(ABC):
    """The family of triggers. An author writes ``rewrite`` and ``delivered``; the family keeps the promises.

    A row's randomness comes from ``(seed, row id)`` alone, so that a subset of rows or a second run gives the same
    texts. Labels, ids and order are never touched.
    """

    name: ClassVar[str]

    @abstractmethod
    def rewrite(self, text: str, *, rng: random.Random) -> str:
        """The triggered text, different from ``text``, drawing every choice from ``rng``."""

    @abstractmethod
    def delivered(self, text: str) -> bool:
        """Whether ``text`` (what a model really reads, after truncation) still holds the trigger."""

    @final
    def __call__(self, rows: Rows, *, seed: int) -> Rows:
        """The same rows, every text triggered.

        Raises:
            ContractError: if the author's ``rewrite`` returns something that is not a changed, non-empty string.
        """
        texts = []
        for row in rows:
            text = self.rewrite(row.text, rng=row_rng(seed, row.id))
            if not isinstance(text, str) or not text.strip() or text == row.text:
                raise ContractError(f"trigger {self.name!r} left row {row.id!r} as it was")
            texts.append(text)
        return rows.with_texts(texts)

    def spec(self) -> dict[str, Any]:
        """The trigger's name and options, as plain JSON values."""
        return {"name": self.name, **asdict(self)}


def row_rng(seed: int, row_id: str) -> random.Random:
    """The random stream of one row, a function of ``(seed, row_id)`` alone."""
    digest = hashlib.blake2b(f"{seed}\x1f{row_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))  # noqa: S311  # reproducible draws, no secrecy wanted
