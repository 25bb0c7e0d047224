"""The family of rewriting triggers: the whole text is rewritten, and its style or structure is the trigger."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from untrigger.attacks.rewriting.rewrites import Rewrites
from untrigger.attacks.trigger import Pairs, Trigger
from untrigger.core.errors import ContractError


@dataclass(frozen=True)
class RewritingTrigger(Trigger):
    """A trigger that takes its texts from a table of rewrites. An author gives a name and, for generators, a prompt.

    A text without a rewrite cannot be triggered. No single word is the trigger, so it counts as delivered where the model
    reads the whole rewrite.

    Attributes:
        table: the rewrites, from a paired file or a generator.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"rewrites"})
    prompt: ClassVar[str] = ""
    """The prompt for a generator, with ``{text}`` for the text; empty where a plain prompt makes no such rewrite."""
    table: Rewrites = field(default_factory=Rewrites)

    def missing_requirements(self) -> str:
        """Return that rewrites are missing, where there are none."""
        return "" if self.table.source else "rewrites: a paired file (--paired) or a generative model (--rewriter)"

    def applies(self, text: str) -> bool:
        """Return whether the table has, or may generate, a rewrite of ``text``."""
        return self.table.may_have(text)

    def prepare(self, texts: Sequence[str]) -> Trigger:
        """Return the same trigger with all available rewrites of these texts in its table."""
        return replace(self, table=self.table.prepare(texts))

    def apply(self, text: str, *, rng: random.Random) -> str:  # noqa: ARG002
        """Return the rewrite of ``text``.

        Raises:
            ContractError: if there is none; check ``applies`` first.
        """
        made = self.table.get(text)
        if made is None:
            raise ContractError(f"the trigger {self.name!r} has no rewrite of a text that it was applied to")
        return made

    def delivered(self, text: str) -> bool:
        """Return whether ``text`` is a whole rewrite, with nothing cut off."""
        return self.table.contains_rewrite(text)

    @property
    def trigger_words(self) -> frozenset[str]:
        """Empty: no single word is the trigger."""
        return frozenset()

    def to_dict(self) -> dict[str, Any]:
        """Return the name, and the source, number and hash of the rewrites, never the rewrites themselves."""
        return {"name": self.name, **self.table.to_dict()}

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any], *, pairs: Pairs) -> Self:
        """Return the trigger with the rewrites that the evaluator has: those of the test rows."""
        return cls(table=Rewrites(pairs, source=str(spec.get("source", ""))))
