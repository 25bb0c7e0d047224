"""Purifiers one after the other, each on the result of the one before, as one purifier."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.purifier import Purified, Purifier
from untrigger.models.adapters import combined, is_adapted, merged
from untrigger.models.classifier import Classifier
from untrigger.training.history import joined
from untrigger.training.loop import History

DOUBT = (
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
    """The methods in their order; the result is one adapter, as if one method had made it.

    Attributes:
        methods: at least one purifier.
    """

    methods: tuple[Purifier, ...]

    def __post_init__(self) -> None:
        """Take the methods' names and needs; a chain has none of its own, so that no list of methods names it."""
        assert self.methods
        object.__setattr__(self, "name", ",".join(one.name for one in self.methods))
        object.__setattr__(self, "needs", frozenset[str]().union(*(one.needs for one in self.methods)))
        object.__setattr__(self, "uses", frozenset[str]().union(*(one.uses for one in self.methods)))

    def options(self) -> dict[str, Any]:
        """The options of every method under its name."""
        return {one.name: one.options() for one in self.methods}

    def _purify(self, model: Classifier, grant: Grant, *, progress: Progress) -> Purified:
        done = Purified(model, changed=False, history=History(), outcome=PurificationOutcome.NOTHING_FOUND)
        for method in self.methods:
            done = _after(model, done, method.purify(done.model, grant, progress=progress), name=method.name)
        return done


def _after(victim: Classifier, first: Purified, second: Purified, *, name: str) -> Purified:
    """Both results as one; what they tell stands under the methods' names, and what both warn of stands once."""
    model = second.model if second.changed else first.model
    if first.changed and second.changed:
        model = _both(victim, first.model, second.model)
    return replace(
        second,
        model=model,
        changed=first.changed or second.changed,
        history=joined([first.history, second.history]),
        outcome=together(first, second),
        summary=". ".join(one.summary for one in (first, second) if one.summary),
        findings=[*first.findings, *second.findings],
        metadata=first.metadata | {f"{name}_result": second.metadata},
        curves=[*first.curves, *(replace(one, panel=f"{name}: {one.panel}") for one in second.curves)],
        detected=first.detected or second.detected,
        warnings=[*first.warnings, *(one for one in second.warnings if one not in first.warnings)],
    )


def together(first: Purified, second: Purified) -> PurificationOutcome:
    """What two methods in turn know of the last model: the more doubtful of both; a retrained base ends all doubts before it."""
    assert first.outcome is not None and second.outcome is not None
    if second.outcome is PurificationOutcome.RETRAINED_FROM_BASE:
        return second.outcome
    if not second.changed and second.outcome is PurificationOutcome.NOTHING_FOUND:
        return first.outcome
    if second.changed and first.outcome is PurificationOutcome.NOTHING_FOUND:
        return second.outcome
    return max((second.outcome, first.outcome), key=DOUBT.index)


def _both(victim: Classifier, first: Classifier, second: Classifier) -> Classifier:
    """One adapter on the victim where the first student is one, else whole weights."""
    return combined(victim, first, second) if is_adapted(first) else merged(second)
