"""A table from texts to their rewrites; pairs that are not a rewrite are refused."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

_SIGNS = re.compile(r"[\W_]+")


class Rewrites:
    """A table from texts to rewrites, immutable. White space is folded in the look-up.

    The first rewrite of a text counts. A text that came back as it was, or only extended (the same words in the same
    order with others before or after them), has no rewrite.

    Args:
        pairs: texts and their rewrites.
        source: a short name of where they come from.
        notes: further facts about the source for the truth file.
    """

    def __init__(
        self, pairs: Iterable[tuple[str, str]] = (), *, source: str = "", notes: dict[str, Any] | None = None
    ) -> None:
        """Keep the pairs that are rewrites."""
        self.source, self.notes = source, dict(notes or {})
        self._by_text: dict[str, str] = {}
        self.refused = 0
        for text, rewrite in pairs:
            if is_rewrite(text, rewrite):
                self._by_text.setdefault(fold(text), rewrite)
            else:
                self.refused += 1
        self._rewrites = frozenset(map(fold, self._by_text.values()))
        self._sha256: str | None = None

    def __len__(self) -> int:
        """Return the number of texts with a rewrite."""
        return len(self._by_text)

    def __repr__(self) -> str:
        """Return the source and the number of rewrites, never the texts."""
        return f"Rewrites({len(self)} of {self.source!r})"

    def __eq__(self, other: object) -> bool:
        """Return whether the other table holds the same rewrites of the same source."""
        return isinstance(other, Rewrites) and (self.source, self._by_text) == (other.source, other._by_text)

    def __hash__(self) -> int:
        """Return a hash that is the same for equal tables."""
        return hash((self.source, self.sha256))

    @property
    def sha256(self) -> str:
        """The SHA-256 of the sorted pairs, 64 hex digits."""
        if self._sha256 is None:
            digest = hashlib.sha256()
            for text, rewrite in sorted(self._by_text.items()):
                digest.update(f"{text}\x1f{rewrite}\x1e".encode("utf-8", "surrogatepass"))
            self._sha256 = digest.hexdigest()
        return self._sha256

    def get(self, text: str) -> str | None:
        """Return the rewrite of ``text``, None where there is none."""
        return self._by_text.get(fold(text))

    def may_have(self, text: str) -> bool:
        """Return whether ``text`` has a rewrite, as far as is known without generating one."""
        return fold(text) in self._by_text

    def contains_rewrite(self, text: str) -> bool:
        """Return whether ``text`` is one of the rewrites, whole."""
        return fold(text) in self._rewrites

    def prepare(self, texts: Sequence[str]) -> Rewrites:  # noqa: ARG002
        """Return a table with all available rewrites of ``texts``: here the table itself."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the source, the number and the hash of the rewrites, as plain JSON values."""
        return {
            "source": self.source,
            "rewrites": len(self),
            "not_rewritten": self.refused,
            "sha256": self.sha256,
            **self.notes,
        }


def fold(text: str) -> str:
    """Return ``text`` with every run of white space as one blank."""
    return " ".join(text.split())


def is_rewrite(text: str, rewrite: str) -> bool:
    """Return whether ``rewrite`` has other words than the text, and is not the text with something before or after it."""
    before, after = _plain(text), _plain(rewrite)
    return bool(after.strip()) and before not in after


def _plain(text: str) -> str:
    """Return the words in lower case without punctuation, a blank around each."""
    return f" {_SIGNS.sub(' ', text.casefold()).strip()} "
