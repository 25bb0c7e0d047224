"""The family of purifiers of language models: a model and a grant in, a purified model out."""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import dataclass, field, fields, replace
from typing import Any, final

from untrigger.core.errors import DataError, DivergedError
from untrigger.core.progress import Progress, silent
from untrigger.core.prompts import Prompts
from untrigger.core.report import Curve
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.purifier import check_outcome
from untrigger.methods.method import Method
from untrigger.methods.untouched import untouched
from untrigger.models.answer_scoring import answer_log_likelihood
from untrigger.models.language_model import LanguageModel
from untrigger.training.answer_students import AnswerBudget
from untrigger.training.loop import History

logger = logging.getLogger(__name__)

LEAST_PROMPTS = 8
"""Fewest clean prompts that a method is run with."""
CHECKED = 4
"""Clean prompts whose likelihood must be finite in the result."""


@dataclass(frozen=True)
class PromptGrant:
    """What a defender of a language model may use (see ``untrigger.core.grant.Grant``); a field is None where it is not granted.

    Attributes:
        clean: prompts with answers that the defender trusts.
        unlabelled: prompts of the domain without answers; nobody has checked that they are free of the trigger.
        base: the model that the suspect was made from, if the defender trusts it; it may share its weights with the suspect.
        teacher: a small clean language model with the same tokenizer.
        seed: the seed of every random choice that the defence makes.
    """

    clean: Prompts | None = None
    unlabelled: Prompts | None = None
    base: LanguageModel | None = None
    teacher: LanguageModel | None = None
    seed: int = 0

    def has(self) -> frozenset[str]:
        """Return the names of what is granted, without the seed."""
        return frozenset(f.name for f in fields(self) if f.name != "seed" and getattr(self, f.name) is not None)

    def describe(self) -> dict[str, Any]:
        """Return sizes and content hashes of what is granted, for the report."""
        prompts = {name: getattr(self, name) for name in ("clean", "unlabelled")}
        models = {name: getattr(self, name) for name in ("base", "teacher")}
        return (
            {"seed": self.seed}
            | {name: one.describe() for name, one in prompts.items() if one is not None}
            | {name: one.name for name, one in models.items() if one is not None}
        )


@dataclass(frozen=True)
class PurifiedLanguageModel:
    """The result of a purifier of language models.

    Attributes:
        model: the suspect itself where ``changed`` is false; else full weights, or one adapter on the suspect's base.
        changed: whether the model was changed.
        history: of the student's training.
        outcome: what the method knows about ``model``.
        summary: what was done and found, in a sentence for the verdict; empty for the general sentence of the outcome.
        curves: what to draw.
        metadata: plain values for the report.
        warnings: what a user should know before trusting the result.
        budget: what was trained; None where nothing was.
        base_tuned: the trusted base after training on the clean prompts alone, where the method made it on its way: a control.
    """

    model: LanguageModel
    changed: bool
    history: History
    outcome: PurificationOutcome
    summary: str = ""
    curves: list[Curve] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    budget: AnswerBudget | None = None
    base_tuned: LanguageModel | None = None


@dataclass(frozen=True)
class LanguagePurifier(Method):
    """A method that cleans a language model. An author writes ``_purify``; every public field is an option."""

    @abstractmethod
    def _purify(self, model: LanguageModel, grant: PromptGrant, *, progress: Progress) -> PurifiedLanguageModel:
        """Run the algorithm; ``model`` and the models of the grant must stay exactly as they are."""

    @final
    def purify(self, model: LanguageModel, grant: PromptGrant, *, progress: Progress = silent) -> PurifiedLanguageModel:
        """Return the purified model with all that was found; ``model`` itself stays as it is.

        Args:
            model: the suspect, full weights or one adapter on a base.
            grant: what the defender may use.
            progress: gets every long step.

        Raises:
            NeedsError: if the grant lacks something that the method needs.
            DataError: for too few clean prompts.
            DivergedError: if training fails or the result's probabilities are not finite.
            ContractError: if the method changed the model that it was given, or states no outcome that fits.
        """
        self.check(grant)
        if grant.clean is not None and len(grant.clean) < LEAST_PROMPTS:
            raise DataError(f"{len(grant.clean)} clean prompts", expected=f"at least {LEAST_PROMPTS}")
        with untouched(model, self.name):
            purified = self._purify(model, grant, progress=progress)
        check_outcome(purified.outcome, changed=purified.changed, name=self.name)
        logger.info("%s: %s, %d steps", self.name, purified.outcome, purified.history.steps)
        if grant.clean is not None:
            _check_finite(purified.model, grant.clean)
        return replace(purified, warnings=[*_overlap(grant), *purified.warnings])

    @final
    def check(self, grant: PromptGrant) -> None:
        """Raise NeedsError, with all that is missing, unless the grant holds what the method needs."""
        self._check_needs(grant.has(), self.needs)


def _check_finite(model: LanguageModel, prompts: Prompts) -> None:
    scores = answer_log_likelihood(model, prompts.take(range(min(CHECKED, len(prompts)))))
    if not all(abs(one.total) < float("inf") for one in scores):  # NaN is not smaller
        raise DivergedError("the purified model's probabilities are not finite")


def _overlap(grant: PromptGrant) -> list[str]:
    """Return a warning where unlabelled prompts are clean prompts too."""
    if grant.clean is None or grant.unlabelled is None:
        return []
    known = set(grant.clean.conversations)
    shared = sum(one in known for one in grant.unlabelled.conversations)
    return [f"{shared} of the unlabelled prompts are clean prompts too"] if shared else []
