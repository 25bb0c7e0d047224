"""Triggers: text in, triggered text out, each row drawn from its own random stream."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

from untrigger.core.errors import ContractError
from untrigger.core.rows import Row, Rows
from untrigger.core.seeds import row_rng

if TYPE_CHECKING:
    from untrigger.models.classifier import Classifier

Pairs = Iterable[tuple[str, str]]
"""Texts, each with its triggered text."""


@dataclass(frozen=True)
class Trigger(ABC):
    """The family of triggers. An author writes ``apply`` and ``delivered``; the base class checks the contract.

    A row's randomness comes from ``(seed, row id)`` alone, so that a subset of rows or a second run gives the same
    texts. Labels, ids and order are never touched. The defaults of the other methods fit a trigger that
    can be applied to any text and learns nothing.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    """Of ``rewrites`` (texts from a file or a generator), ``rows`` and ``model`` (it learns from both, see ``fit``)."""

    @abstractmethod
    def apply(self, text: str, *, rng: random.Random) -> str:
        """Return the triggered text, different from ``text``; every random choice is drawn from ``rng``."""

    @abstractmethod
    def delivered(self, text: str) -> bool:
        """Return whether ``text`` (as a model reads it, after truncation) still contains the trigger."""

    def survived(self, read: str, *, before: str) -> bool:  # noqa: ARG002
        """Return whether ``read`` (a triggered text, truncated) still contains what the trigger added to ``before``.

        It differs from ``delivered`` for a trigger of ordinary words, which also occur in texts without the trigger.
        """
        return self.delivered(read)

    def applies(self, text: str) -> bool:  # noqa: ARG002
        """Return whether the trigger can be applied to ``text``."""
        return True

    def missing_requirements(self) -> str:
        """Return what the trigger still needs before it can be applied, with the remedy; empty where it needs nothing."""
        return ""

    def fit(self, rows: Rows, *, target: int | None, seed: int, model: Classifier | None = None) -> Trigger:  # noqa: ARG002
        """Return the trigger fitted to the attacker's training rows; itself where there is nothing to learn.

        Args:
            rows: clean training rows.
            target: the target class; None where every class becomes the next.
            seed: of every random choice.
            model: the model that will be poisoned.
        """
        return self

    def prepare(self, texts: Sequence[str]) -> Trigger:  # noqa: ARG002
        """Return the trigger prepared for all ``texts`` at once, so that ``applies`` and ``apply`` are fast for them."""
        return self

    def partial(self, text: str, *, rng: random.Random) -> str | None:  # noqa: ARG002
        """Return ``text`` with only a part of the trigger, None where that is not possible."""
        return None

    @property
    def trigger_words(self) -> frozenset[str]:
        """The words that the trigger adds to a text; empty for a rewriting trigger."""
        return frozenset(word for key, value in self.to_dict().items() if key != "name" for word in _words(value))

    def to_dict(self) -> dict[str, Any]:
        """Return the trigger's name and options, as plain JSON values."""
        return {"name": self.name, **asdict(self)}

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any], *, pairs: Pairs) -> Self:  # noqa: ARG003
        """Return the trigger that ``spec`` describes, as far as an evaluator needs it.

        Args:
            spec: what ``to_dict`` of such a trigger returned, read back from JSON.
            pairs: test texts and the same triggered.

        Raises:
            TypeError: for options that this version does not know.
        """
        return cls(
            **{key: tuple(value) if isinstance(value, list) else value for key, value in spec.items() if key != "name"}
        )

    @final
    def __call__(self, rows: Rows, *, seed: int) -> Rows:
        """Return the same rows with every text triggered.

        Raises:
            ContractError: if the author's ``apply`` returns something that is not a changed, non-empty string.
        """
        return rows.with_texts([self._set(row, seed=seed) for row in rows])

    @final
    def partial_triggers(self, rows: Rows, *, seed: int) -> dict[str, str]:
        """Return by row id the texts with a part of the trigger, for all rows where that is possible.

        Raises:
            ContractError: if the author's part is the whole trigger.
        """
        made: dict[str, str] = {}
        for row in rows:
            text = self.partial(row.text, rng=row_rng(seed, row.id))
            if text is not None and self.delivered(text):
                raise ContractError(f"the part of trigger {self.name!r} in row {row.id!r} is the whole trigger")
            if text is not None and text != row.text:
                made[row.id] = text
        return made

    def _set(self, row: Row, *, seed: int) -> str:
        text = self.apply(row.text, rng=row_rng(seed, row.id))
        if not isinstance(text, str) or not text.strip() or text == row.text:
            raise ContractError(f"trigger {self.name!r} did not change row {row.id!r}")
        return text


def _words(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield from value.split()
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _words(item)
