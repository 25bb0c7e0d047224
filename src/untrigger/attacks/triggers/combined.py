"""Several triggers at once: each row gets one of them, or all of them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from untrigger.attacks.trigger import Pairs, Trigger
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.attacks.triggers.insent import InSent
from untrigger.core.errors import ContractError, OptionError, check_choice
from untrigger.core.rows import Rows

if TYPE_CHECKING:
    from untrigger.models.classifier import Classifier

MODES = ("one", "all")


@dataclass(frozen=True)
class Combined(Trigger):
    """Several triggers in one attack. On the command line: ``--trigger badnets,insent --set badnets.words=cf``.

    With ``all``, words are replaced first, then inserted, in the order of the parts. A rewrite cannot be one of all: once
    something is inserted, nobody can check whether the model read the whole rewrite.

    Attributes:
        parts: the triggers, two or more.
        mode: ``one``: each row gets one that can be applied to it, drawn per row, and each alone activates the
            backdoor; ``all``: each row gets all of them, and only all together are the trigger.
    """

    name: ClassVar[str] = "combined"
    parts: tuple[Trigger, ...] = (BadNets(), InSent())
    mode: str = "one"

    def __post_init__(self) -> None:
        """Refuse fewer than two parts, an unknown mode, and a rewrite among all that a row gets.

        Raises:
            OptionError: naming what is wrong.
        """
        object.__setattr__(self, "parts", tuple(self.parts))
        check_choice(self.mode, MODES, kind="mode of combination")
        if len(self.parts) < 2:
            raise OptionError(f"{len(self.parts)} triggers combined", expected="two or more")
        rewriting = [part.name for part in self.parts if "rewrites" in part.needs]
        if self.mode == "all" and rewriting:
            raise OptionError(
                f"the rewrite {rewriting[0]!r} as one of all triggers of a row", remedy="combine with mode=one"
            )

    def missing_requirements(self) -> str:
        """Return what the first incomplete part still needs."""
        return next((part.missing_requirements() for part in self.parts if part.missing_requirements()), "")

    def applies(self, text: str) -> bool:
        """Return whether one of the parts, or all of them one after the other, can be applied to ``text``."""
        if self.mode == "one":
            return any(part.applies(text) for part in self.parts)
        return self._all(text, self._in_order(), rng=random.Random(0)) is not None  # noqa: S311

    def fit(self, rows: Rows, *, target: int | None, seed: int, model: Classifier | None = None) -> Trigger:
        """Return the same combination with fitted parts."""
        return replace(self, parts=tuple(p.fit(rows, target=target, seed=seed, model=model) for p in self.parts))

    def prepare(self, texts: Sequence[str]) -> Trigger:
        """Return the same combination with parts prepared for ``texts``."""
        return replace(self, parts=tuple(part.prepare(texts) for part in self.parts))

    def apply(self, text: str, *, rng: random.Random) -> str:
        """Return the text with one applicable part, or with all of them."""
        if self.mode == "one":
            return rng.choice([part for part in self.parts if part.applies(text)]).apply(text, rng=rng)
        made = self._all(text, self._in_order(), rng=rng)
        if made is None:
            raise ContractError("the combined trigger was applied to a text that one of its parts cannot be applied to")
        return made

    def partial(self, text: str, *, rng: random.Random) -> str | None:
        """Return with ``all`` some of the parts but not all, with ``one`` a part of one of them."""
        if self.mode == "one":
            made = rng.choice(self.parts).partial(text, rng=rng)
        else:
            some = rng.sample(range(len(self.parts)), rng.randint(1, len(self.parts) - 1))
            made = self._all(text, [part for part in self._in_order() if self.parts.index(part) in some], rng=rng)
        return None if made is None or self.delivered(made) else made

    def delivered(self, text: str) -> bool:
        """Return whether one of the parts is delivered, or all of them."""
        return (any if self.mode == "one" else all)(part.delivered(text) for part in self.parts)

    def survived(self, read: str, *, before: str) -> bool:
        """Return whether one of the parts survived, or all of them."""
        return (any if self.mode == "one" else all)(part.survived(read, before=before) for part in self.parts)

    @property
    def trigger_words(self) -> frozenset[str]:
        """The words of all parts."""
        return frozenset().union(*(part.trigger_words for part in self.parts))

    def to_dict(self) -> dict[str, Any]:
        """Return the mode, and each part as a dict."""
        return {"name": self.name, "mode": self.mode, "parts": [part.to_dict() for part in self.parts]}

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any], *, pairs: Pairs) -> Self:
        """Return the combination that ``spec`` describes."""
        from untrigger.core.registry import get_method

        pairs = list(pairs)
        parts = [get_method("attacks", str(one["name"])).from_dict(one, pairs=pairs) for one in spec["parts"]]
        return cls(parts=tuple(parts), mode=str(spec["mode"]))

    def _in_order(self) -> list[Trigger]:
        return sorted(self.parts, key=lambda part: 0 if part.needs else 1)

    @staticmethod
    def _all(text: str, parts: Sequence[Trigger], *, rng: random.Random) -> str | None:
        for part in parts:
            if not part.applies(text):
                return None
            text = part.apply(text, rng=rng)
        return text
