"""The family of rewriting triggers: the whole text is said otherwise, and the manner is the trigger."""

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

    A text without a rewrite cannot be triggered. No word tells of the trigger, so it counts as delivered where the model
    reads the rewrite whole.

    Attributes:
        table: the rewrites, from a paired file or a generator.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"rewrites"})
    prompt: ClassVar[str] = ""
    """What a generator is asked, with ``{text}`` where the text goes; empty where a plain prompt makes no such rewrite."""
    table: Rewrites = field(default_factory=Rewrites)

    def missing_requirements(self) -> str:
        """That rewrites are wanting, where there are none."""
        return "" if self.table.source else "rewrites: a paired file (--paired) or a generative model (--rewriter)"

    def applies(self, text: str) -> bool:
        """Whether the table has, or may yet make, a rewrite of ``text``."""
        return self.table.may_have(text)

    def prepare(self, texts: Sequence[str]) -> Trigger:
        """The same trigger, its table holding all it can of these texts."""
        return replace(self, table=self.table.prepare(texts))

    def apply(self, text: str, *, rng: random.Random) -> str:  # noqa: ARG002
        """The rewrite of ``text``.

        Raises:
            ContractError: if there is none; ask ``applies`` first.
        """
        made = self.table.get(text)
        if made is None:
            raise ContractError(f"the trigger {self.name!r} has no rewrite of a text it was asked to set")
        return made

    def delivered(self, text: str) -> bool:
        """Whether ``text`` is a rewrite that nothing was cut from."""
        return self.table.made(text)

    @property
    def trigger_words(self) -> frozenset[str]:
        """None: no word tells of a rewrite."""
        return frozenset()

    def to_dict(self) -> dict[str, Any]:
        """The name, and the source, number and hash of the rewrites; never the rewrites themselves."""
        return {"name": self.name, **self.table.to_dict()}

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any], *, pairs: Pairs) -> Self:
        """The trigger with the rewrites that the evaluator holds: those of the test rows."""
        return cls(table=Rewrites(pairs, source=str(spec.get("source", ""))))
