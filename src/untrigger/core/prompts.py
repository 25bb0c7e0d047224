"""Prompts with their reference answers, immutable, each with an id that never changes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from untrigger.core.errors import DataError

ROLES = ("system", "user", "assistant")


class Turn(NamedTuple):
    """One turn of a conversation; the role is ``system``, ``user`` or ``assistant``."""

    role: str
    content: str


Conversation = tuple[Turn, ...]
"""The turns before an answer; the last one is the user's."""


class Prompt(NamedTuple):
    """One conversation with its id and its reference answer."""

    id: str
    conversation: Conversation
    answer: str


@dataclass(frozen=True)
class Prompts:
    """Conversations that end with a user's turn, and the reference answer of each. Columns are tuples of one length.

    ``notes`` holds what was assumed when the prompts were read, for the warnings of a report; ``frame`` what a template put before
    and after the text of every last user turn, where one did. Neither is part of their content.

    Example:
        >>> Prompts.of(["What is 1 + 1?"], ["2"])
        Prompts(1 prompts)
    """

    ids: tuple[str, ...]
    conversations: tuple[Conversation, ...]
    answers: tuple[str, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)
    frame: tuple[str, str] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Raise DataError for columns of unequal length, repeated ids and conversations of another form; the first of them."""
        self._check_lengths()
        self._check_ids()
        for name, turns in zip(self.ids, self.conversations, strict=True):
            _check_conversation(turns, name=name)

    def _check_lengths(self) -> None:
        if not len(self.ids) == len(self.conversations) == len(self.answers):
            raise DataError(
                f"columns differ in length: {len(self.ids)}, {len(self.conversations)}, {len(self.answers)}"
            )

    def _check_ids(self) -> None:
        if len(set(self.ids)) != len(self.ids):
            repeated = next(name for name, count in Counter(self.ids).items() if count > 1)
            raise DataError(
                f"prompt id {repeated!r} occurs more than once", remedy="give every prompt an id of its own"
            )

    @classmethod
    def of(
        cls,
        prompts: Iterable[str | Sequence[Turn]],
        answers: Iterable[str],
        *,
        ids: Iterable[str] | None = None,
    ) -> Prompts:
        """Return prompts from any iterables: a text is one user turn; ids default to the numbers ``"0", "1", …``."""
        talks = tuple(
            (Turn("user", one),) if isinstance(one, str) else tuple(Turn(*turn) for turn in one) for one in prompts
        )
        names = tuple(ids) if ids is not None else tuple(str(i) for i in range(len(talks)))
        return cls(ids=names, conversations=talks, answers=tuple(answers))

    def __len__(self) -> int:
        """Return the number of prompts."""
        return len(self.ids)

    def __iter__(self) -> Iterator[Prompt]:
        """Iterate over the prompts in order."""
        return (Prompt(*cells) for cells in zip(self.ids, self.conversations, self.answers, strict=True))

    def __getitem__(self, index: int) -> Prompt:
        """Return prompt number ``index``."""
        return Prompt(self.ids[index], self.conversations[index], self.answers[index])

    def __repr__(self) -> str:
        """Return the size, never the texts."""
        return f"Prompts({len(self)} prompts)"

    @property
    def user_texts(self) -> tuple[str, ...]:
        """The content of each conversation's last user turn: where a trigger goes."""
        return tuple(turns[-1].content for turns in self.conversations)

    def describe(self) -> dict[str, Any]:
        """Return the number of prompts and the content hash, for reports."""
        return {"prompts": len(self), "sha256": self.content_hash()}

    def content_hash(self) -> str:
        """Return the SHA-256 over (id, conversation, answer) in order, 64 hex digits."""
        digest = hashlib.sha256()
        for one in self:
            line = json.dumps([one.id, one.conversation, one.answer], ensure_ascii=False)
            digest.update(f"{line}\n".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def take(self, indices: Iterable[int]) -> Prompts:
        """Return the prompts at ``indices``, in that order, ids kept.

        Raises:
            DataError: for an index that occurs twice.
        """
        prompts = self._at([int(i) for i in indices])
        prompts._check_ids()
        return prompts

    def distinct(self) -> Prompts:
        """Return the first prompt of each conversation, in order."""
        first = dict(zip(reversed(self.conversations), reversed(range(len(self))), strict=True))
        return self._at(sorted(first.values()))

    def where(self, keep: Iterable[bool]) -> Prompts:
        """Return the prompts whose flag is true, in order."""
        return self._at([i for i, flag in enumerate(keep) if flag])

    def shuffled(self, rng: np.random.Generator) -> Prompts:
        """Return the same prompts in an order drawn from ``rng``."""
        return self._at(rng.permutation(len(self)).tolist())

    def with_user_texts(self, texts: Iterable[str]) -> Prompts:
        """Return the same prompts with other texts in the last user turn of each."""
        texts = tuple(texts)
        if len(texts) != len(self):
            raise DataError(f"columns differ in length: {len(self)}, {len(texts)}")
        turned = zip(self.conversations, texts, strict=True)
        return self._unchecked(conversations=tuple((*turns[:-1], Turn("user", text)) for turns, text in turned))

    def with_answers(self, answers: Iterable[str]) -> Prompts:
        """Return the same ids and conversations with other answers."""
        prompts = self._unchecked(answers=tuple(answers))
        prompts._check_lengths()
        return prompts

    def _at(self, indices: Sequence[int]) -> Prompts:
        """Return the prompts at ``indices``, none of which occurs twice."""
        return self._unchecked(
            ids=tuple(self.ids[i] for i in indices),
            conversations=tuple(self.conversations[i] for i in indices),
            answers=tuple(self.answers[i] for i in indices),
        )

    def _unchecked(self, **columns: tuple[str, ...] | tuple[Conversation, ...]) -> Prompts:
        """Return a copy with other columns, without checking them again."""
        prompts = object.__new__(Prompts)
        prompts.__dict__.update(self.__dict__ | columns)
        return prompts


def _check_conversation(turns: Conversation, *, name: str) -> None:
    """Raise DataError unless the roles are known, a system turn is the first, and the last turn is the user's."""
    role = next((turn.role for turn in turns if turn.role not in ROLES), None)
    if role is not None:
        raise DataError(f"prompt {name!r} has a turn of the role {role!r}", expected="one of " + ", ".join(ROLES))
    if not turns or turns[-1].role != "user":
        last = turns[-1].role if turns else "none"
        raise DataError(
            f"the last turn of prompt {name!r} is: {last}",
            expected="a conversation that ends with a user's turn",
            remedy="move what the assistant says last to the answer",
        )
    if any(turn.role == "system" for turn in turns[1:]):
        raise DataError(
            f"prompt {name!r} has a system turn after the first turn", expected="a system turn first or none"
        )
