"""Several purifiers in a row, each on the result of the one before, as one purifier."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.purifier import Purified, Purifier
from untrigger.models.adapter_merging import is_adapted, merge_adapter
from untrigger.models.adapters import combine_adapters
from untrigger.models.classifier import Classifier
from untrigger.training.history import concat_histories
from untrigger.training.loop import History

BY_DOUBT = (
    PurificationOutcome.NOTHING_FOUND,
    PurificationOutcome.RETRAINED_FROM_BASE,
    PurificationOutcome.SEARCH_FINDS_NOTHING,
    PurificationOutcome.ROWS_NO_LONGER_FOLLOWED,
    PurificationOutcome.NOT_CHECKED,
    PurificationOutcome.TRAINED_ON_CLEAN_ROWS,
    PurificationOutcome.NOT_DECIDED,
    PurificationOutcome.ROWS_STILL_FOLLOWED,
    PurificationOutcome.SEARCH_STILL_FINDS,
    PurificationOutcome.GIVEN_UP,
)
"""Outcomes, the most doubtful last."""


@dataclass(frozen=True)
class Chain(Purifier):
    """Purifiers in their order; where all train plain LoRA the result is one adapter.

    Name and needs are those of the methods, so they are properties here. The class has no name and is in no list of methods.

    Attributes:
        methods: at least one purifier.
    """

    methods: tuple[Purifier, ...]

    def __post_init__(self) -> None:
        """Check that there is a method."""
        assert self.methods

    @property
    def name(self) -> str:  # type: ignore[override]
        """The names of the methods with commas."""
        return ",".join(one.name for one in self.methods)

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """What any of the methods needs."""
        return frozenset[str]().union(*(one.needs for one in self.methods))

    @property
    def uses(self) -> frozenset[str]:  # type: ignore[override]
        """What any of the methods uses."""
        return frozenset[str]().union(*(one.uses for one in self.methods))

    def options(self) -> dict[str, Any]:
        """Return the options of every method under its name."""
        return {one.name: one.options() for one in self.methods}

    def _purify(self, model: Classifier, grant: Grant, *, progress: Progress) -> Purified:
        done = Purified(model, changed=False, history=History(), outcome=PurificationOutcome.NOTHING_FOUND)
        for method in self.methods:
            done = _merge_results(model, done, method.purify(done.model, grant, progress=progress), name=method.name)
        return done


def _merge_results(victim: Classifier, first: Purified, second: Purified, *, name: str) -> Purified:
    """Return both results as one: metadata under the methods' names, each warning once."""
    model = second.model if second.changed else first.model
    if first.changed and second.changed:
        model = _merge_models(victim, first.model, second.model)
    return replace(
        second,
        model=model,
        changed=first.changed or second.changed,
        history=concat_histories([first.history, second.history]),
        outcome=combined_outcome(first, second),
        summary=". ".join(one.summary for one in (first, second) if one.summary),
        findings=[*first.findings, *second.findings],
        metadata=first.metadata | {f"{name}_result": second.metadata},
        curves=[*first.curves, *(replace(one, panel=f"{name}: {one.panel}") for one in second.curves)],
        budget=second.budget if second.history.steps else first.budget,
        detected=first.detected or second.detected,
        warnings=[*first.warnings, *(one for one in second.warnings if one not in first.warnings)],
    )


def combined_outcome(first: Purified, second: Purified) -> PurificationOutcome:
    """Return the more doubtful outcome of two methods in a row; retraining from a trusted base ends all doubts before it."""
    assert first.outcome is not None and second.outcome is not None
    if second.outcome is PurificationOutcome.RETRAINED_FROM_BASE:
        return second.outcome
    if not second.changed and second.outcome is PurificationOutcome.NOTHING_FOUND:
        return first.outcome
    if second.changed and first.outcome is PurificationOutcome.NOTHING_FOUND:
        return second.outcome
    return max((second.outcome, first.outcome), key=BY_DOUBT.index)


def _merge_models(victim: Classifier, first: Classifier, second: Classifier) -> Classifier:
    """Return one adapter on the victim where the first student is one, else full weights."""
    return combine_adapters(victim, first, second) if is_adapted(first) else merge_adapter(second)
