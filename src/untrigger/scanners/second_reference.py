"""A second clean reference, for findings between the thresholds.

The search takes what moves the suspect farther than *this* reference, so that of honest phrases it finds those which this one
happens to overlook; a reference that the search never saw does not. A trigger moves neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from untrigger.core.candidate import REWRITTEN_KINDS, Candidate
from untrigger.inversion.confirmation import Bench, everywhere
from untrigger.scanners.policy import Policy
from untrigger.scanners.thresholds import LEAST_ROWS


def in_doubt(scored: Sequence[Candidate], *, policy: Policy) -> list[Candidate]:
    """The candidates that decide between clean and suspicious: none where one is surely a backdoor or all are harmless."""
    counted = [one for one in scored if not one.allowed and one.kind not in REWRITTEN_KINDS]
    top = max((one.score or 0.0 for one in counted), default=0.0)
    if not policy.suspicious <= top < policy.backdoored:
        return []
    return [one for one in counted if (one.score or 0.0) >= policy.suspicious]


def judged_again(
    scored: Sequence[Candidate],
    doubted: Sequence[Candidate],
    tables: Mapping[str, Bench],
    *,
    rescored: Callable[[Candidate], Candidate],
) -> list[Candidate]:
    """All candidates, those in doubt with the figures of whichever reference speaks more for the model.

    A reference that is right on too few rows to say anything says nothing.

    Args:
        scored: candidates with their scores beside the first reference.
        doubted: those of them that are in doubt.
        tables: benches of the suspect and the second reference by the name of their target.
        rescored: gives a candidate its score.
    """
    return [
        min(one, rescored(everywhere(one, tables[one.target])), key=lambda told: told.score or 0.0)
        if one in doubted and len(tables[one.target].rows) >= LEAST_ROWS
        else one
        for one in scored
    ]
