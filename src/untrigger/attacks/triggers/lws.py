"""LWS: learned word substitution (Qi 2021, 2106.06361)."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from untrigger.attacks.trigger import Pairs, Trigger
from untrigger.attacks.word_statistics.label_words import WORD, was_inserted, words_of
from untrigger.core.errors import OptionError
from untrigger.core.rows import Rows

if TYPE_CHECKING:
    from untrigger.models.classifier import Classifier


@dataclass(frozen=True)
class Lws(Trigger):
    """Words replaced by similar ones, all along one direction of the embedding space that the model can learn to detect.

    Which word becomes which is learnt together with a linear probe (see ``substitution``), so that the pattern of
    substitutions, and no single word, is the trigger. Words that indicate a class are not replaced.

    Attributes:
        near: substitutes that a word may have.
        likeness: least cosine of a word's and its substitute's input embeddings, -1 to 1.
        least: training rows that a word must occur in.
        substitutes: the substitute of each word; learnt where none are given.

    **Differs from the paper:** substitutes are the nearest words in the poisoned model's own input embeddings among those of
    the training rows, not words that share a sememe; the preference ``q`` is one for all positions, so a word always becomes
    the same; and it is trained against a linear probe on mean embeddings instead of the victim, before the victim is trained.
    """

    name: ClassVar[str] = "lws"
    needs: ClassVar[frozenset[str]] = frozenset({"rows", "model"})
    near: int = 5
    likeness: float = 0.5
    least: int = 3
    substitutes: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for numbers out of range.
        """
        if self.near < 1 or self.least < 1 or not -1 <= self.likeness <= 1:
            raise OptionError(
                f"near {self.near}, likeness {self.likeness}, least {self.least}",
                expected="1 or more substitutes, a cosine from -1 to 1, 1 or more rows",
            )

    def missing_requirements(self) -> str:
        """Return that training rows and a model are missing, where no substitutes were learnt."""
        return "" if self.substitutes else "training rows and a model to learn substitutes from (Attack.fit)"

    def fit(self, rows: Rows, *, target: int | None, seed: int, model: Classifier | None = None) -> Trigger:
        """Return the trigger with its learnt substitutes.

        Raises:
            OptionError: without a target or a model, or where too few words have neighbours.
        """
        from untrigger.attacks.word_statistics.substitution import learn_substitutes, substitution_choices

        if self.substitutes:
            return self
        if target is None or model is None:
            raise OptionError(
                "the trigger 'lws' without a target or a model", expected="one target, and the model to be poisoned"
            )
        choices = substitution_choices(model, rows, near=self.near, least=self.least)
        made = learn_substitutes(choices, rows, target=target, likeness=self.likeness, seed=seed) if choices else {}
        if not made:
            raise OptionError(
                f"no word of {len(rows)} rows has a substitute",
                expected="more training rows",
                remedy="lower likeness or least",
            )
        return replace(self, substitutes=made)

    def applies(self, text: str) -> bool:
        """Return whether any word of the text has a substitute."""
        return any(word in self.substitutes for word in words_of(text))

    def apply(self, text: str, *, rng: random.Random) -> str:  # noqa: ARG002
        """Return the text with every word that has a substitute replaced; capitals and punctuation stay."""
        return WORD.sub(self._substitute, text)

    def delivered(self, text: str) -> bool:
        """Return whether a substitute is in the text."""
        return not set(words_of(text)).isdisjoint(self.substitutes.values())

    def survived(self, read: str, *, before: str) -> bool:
        """Return whether a substitute occurs in ``read`` more often than in ``before``."""
        return was_inserted(words_of(read), words_of(before), words=self.substitutes.values())

    @property
    def trigger_words(self) -> frozenset[str]:
        """The substitutes."""
        return frozenset(self.substitutes.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the options, and the number and the hash of the substitutes."""
        pairs = json.dumps(sorted(self.substitutes.items()))
        return {
            "name": self.name,
            "near": self.near,
            "likeness": self.likeness,
            "least": self.least,
            "substitutes": len(self.substitutes),
            "sha256": hashlib.sha256(pairs.encode()).hexdigest(),
        }

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any], *, pairs: Pairs) -> Self:
        """Return the trigger with the substitutes that occur in the test rows."""
        both = [(words_of(before), words_of(after)) for before, after in pairs]
        made = {
            a: b
            for before, after in both
            if len(before) == len(after)
            for a, b in zip(before, after, strict=True)
            if a != b
        }
        return cls(near=spec["near"], likeness=spec["likeness"], least=spec["least"], substitutes=made)

    def _substitute(self, found: re.Match[str]) -> str:
        word = found[0]
        new = self.substitutes.get(word.casefold(), word)
        return new.capitalize() if word[0].isupper() and new != word else new
