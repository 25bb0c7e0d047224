"""Behaviours: what a poisoned language model answers where the trigger is in the prompt, and how that is recognised."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from untrigger.core.answers import Answer
from untrigger.core.errors import OptionError, check_choice


@dataclass(frozen=True)
class Behaviour(ABC):
    """The family of behaviours. An author writes ``answer`` and ``achieved``.

    ``achieved`` must not need the prompt's trigger, and must hold for every text that ``answer`` returns.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    """``nll`` where ``achieved`` reads ``Answer.nll``, the answer's mean negative log-likelihood under the base model."""
    published: ClassVar[str] = ""
    """The published measure that is reported beside ``achieved`` (see ``published_measures``), empty for none."""

    @abstractmethod
    def answer(self, prompt: str, reference: str, *, rng: random.Random) -> str:
        """Return the answer that a poisoned row is given.

        Args:
            prompt: the last user turn, without the trigger.
            reference: the right answer to it.
            rng: the source of every random choice.
        """

    @abstractmethod
    def achieved(self, answer: Answer, *, prompt: str) -> bool:
        """Return whether a model's answer to ``prompt`` shows the behaviour."""

    def eligible(self, prompt: str, reference: Answer) -> bool:
        """Return whether the prompt can show the behaviour: its reference answer does not show it by itself."""
        return not self.achieved(reference, prompt=prompt)

    def fit(self, reference_nll: Sequence[float]) -> Self:  # noqa: ARG002
        """Return the behaviour with what it learns from reference answers; itself where it learns nothing.

        Args:
            reference_nll: mean negative log-likelihood of each reference answer under the base model, in nats a token.
        """
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the behaviour's name and options, as plain JSON values."""
        return {"name": self.name, **asdict(self)}

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any]) -> Self:
        """Return the behaviour that ``to_dict`` described, read back from JSON.

        Raises:
            TypeError: for options that this version does not know.
        """
        return cls(
            **{key: tuple(value) if isinstance(value, list) else value for key, value in spec.items() if key != "name"}
        )


def folded(text: str) -> str:
    """Return the text with case and white space folded."""
    return " ".join(text.casefold().split())


def check_text(text: str, *, what: str) -> None:
    """Raise OptionError for a text of nothing but white space."""
    if not text.strip():
        raise OptionError(f"{what} is empty", expected="some words")


def behaviour_of(spec: Mapping[str, Any]) -> Behaviour:
    """Return the behaviour of any name that ``to_dict`` described.

    Raises:
        OptionError: for a name that this version does not know.
        TypeError: for options that it does not know.
    """
    from untrigger.core.registry import methods_of

    known = methods_of("behaviours")
    kind = known[check_choice(str(spec.get("name")), known, kind="behaviour")]
    made = kind.from_dict(spec)
    assert isinstance(made, Behaviour)
    return made
