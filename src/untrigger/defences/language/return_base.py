"""Returning the trusted base: no backdoor, no cost, and nothing kept of what the suspect learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from untrigger.core.progress import Progress
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.language.language_purifier import LanguagePurifier, PromptGrant, PurifiedLanguageModel
from untrigger.models.language_model import LanguageModel
from untrigger.training.loop import History


@dataclass(frozen=True)
class ReturnBase(LanguagePurifier):
    """The trusted base instead of the suspect: what every purifier of a model with a known base must beat in skill."""

    name: ClassVar[str] = "return-base"
    needs: ClassVar[frozenset[str]] = frozenset({"base"})

    def _purify(self, model: LanguageModel, grant: PromptGrant, *, progress: Progress) -> PurifiedLanguageModel:  # noqa: ARG002
        assert grant.base is not None
        return PurifiedLanguageModel(
            grant.base,
            changed=True,
            history=History(),
            outcome=PurificationOutcome.RETRAINED_FROM_BASE,
            summary=f"the base {grant.base.name} is returned, without anything that the suspect learned",
        )
