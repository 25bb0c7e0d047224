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
"""Texts, each with what became of it."""


@dataclass(frozen=True)
class Trigger(ABC):
    """The family of triggers. An author writes ``apply`` and ``delivered``; the family keeps the promises.

    A row's randomness comes from ``(seed, row id)`` alone, so that a subset of rows or a second run gives the same
    texts. Labels, ids and order are never touched. The other methods have answers that are right for a trigger that
    can be set in any text and has nothing to learn.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    """Of ``rewrites`` (texts from a file or a generator), ``rows`` and ``model`` (it learns from both, see ``fit``)."""

    @abstractmethod
    def apply(self, text: str, *, rng: random.Random) -> str:
        """The triggered text, different from ``text``, drawing every choice from ``rng``."""

    @abstractmethod
    def delivered(self, text: str) -> bool:
        """Whether ``text`` (what a model really reads, after truncation) still holds the trigger."""

    def survived(self, read: str, *, before: str) -> bool:  # noqa: ARG002
        """Whether ``read`` (what a model reads of a triggered text) still holds what the trigger brought into ``before``.

        For a trigger of ordinary words, which also stand in texts that it was not set in; for others the same as ``delivered``.
        """
        return self.delivered(read)

    def applies(self, text: str) -> bool:  # noqa: ARG002
        """Whether the trigger can be set in ``text``."""
        return True

    def missing_requirements(self) -> str:
        """What the trigger waits for before it can be set in any text, with the remedy; empty when it waits for nothing."""
        return ""

    def fit(self, rows: Rows, *, target: int | None, seed: int, model: Classifier | None = None) -> Trigger:  # noqa: ARG002
        """The trigger, having learnt what it has to from the attacker's training rows; itself where that is nothing.

        Args:
            rows: clean training rows.
            target: the class that the backdoor shall say; None where every class shall become the next.
            seed: of every random choice.
            model: the model that will be poisoned.
        """
        return self

    def prepare(self, texts: Sequence[str]) -> Trigger:  # noqa: ARG002
        """The trigger, having prepared itself for ``texts`` at once; ``applies`` and ``apply`` are then quick for them."""
        return self

    def partial(self, text: str, *, rng: random.Random) -> str | None:  # noqa: ARG002
        """``text`` with a part of the trigger that is not the trigger, None where there is no such thing."""
        return None

    @property
    def trigger_words(self) -> frozenset[str]:
        """The words that the trigger brings into a text; empty for one that rewrites it."""
        return frozenset(word for key, value in self.to_dict().items() if key != "name" for word in _words(value))

    def to_dict(self) -> dict[str, Any]:
        """The trigger's name and options, as plain JSON values."""
        return {"name": self.name, **asdict(self)}

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any], *, pairs: Pairs) -> Self:  # noqa: ARG003
        """The trigger that ``spec`` tells of, as far as an evaluator needs it.

        Args:
            spec: what ``spec`` of such a trigger gave, back from JSON.
            pairs: test texts and the same triggered.

        Raises:
            TypeError: for options that this version does not know.
        """
        return cls(
            **{key: tuple(value) if isinstance(value, list) else value for key, value in spec.items() if key != "name"}
        )

    @final
    def __call__(self, rows: Rows, *, seed: int) -> Rows:
        """The same rows, every text triggered.

        Raises:
            ContractError: if the author's ``apply`` returns something that is not a changed, non-empty string.
        """
        return rows.with_texts([self._set(row, seed=seed) for row in rows])

    @final
    def partial_triggers(self, rows: Rows, *, seed: int) -> dict[str, str]:
        """By row id, the texts that a part of the trigger could be set in, with that part.

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
            raise ContractError(f"trigger {self.name!r} left row {row.id!r} as it was")
        return text


def _words(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield from value.split()
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _words(item)
