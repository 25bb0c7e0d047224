"""Candidates near a threshold measured again: in float32 where they were measured in bfloat16, and beside a second reference.

The search looks for phrases that flip the suspect and not its reference. So it also finds benign phrases that happen not to flip
*this* reference; they flip a second one, which the search never used. A trigger flips neither reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from untrigger.core.candidate import REWRITTEN_KINDS, Candidate
from untrigger.inversion.flip_rates import measure_at_all_positions
from untrigger.inversion.held_out import HeldOutSet
from untrigger.scanners.confirm import ConfirmationOptions
from untrigger.scanners.policy import Policy

Scoring = Callable[[Candidate], Candidate]
"""Gives a candidate its score."""


def rescore_full_precision(
    scored: Sequence[Candidate],
    sets: Mapping[str, HeldOutSet],
    *,
    policy: Policy,
    rescore: Scoring,
    options: ConfirmationOptions,
) -> list[Candidate]:
    """Return the candidates, all that may be suspicious and the highest of the others measured in float32.

    bfloat16 changes a score by less than ``options.bfloat16_margin``, so that what is farther below the threshold cannot reach it.
    """
    counted = _counted(scored)
    highest = max(counted, key=lambda one: one.score or 0.0, default=None)
    least = max(options.least_score, policy.suspicious - options.bfloat16_margin)
    again = {id(one) for one in counted if (one.score or 0.0) >= least}
    if highest is not None and (highest.score or 0.0) >= options.least_score:
        again.add(id(highest))
    return [rescore(measure_at_all_positions(one, sets[one.target])) if id(one) in again else one for one in scored]


def in_doubt(scored: Sequence[Candidate], *, policy: Policy) -> list[Candidate]:
    """Return the candidates that decide between clean and suspicious: none where one counts as a backdoor or none is suspicious."""
    counted = _counted(scored)
    top = max((one.score or 0.0 for one in counted), default=0.0)
    if not policy.suspicious <= top < policy.backdoored:
        return []
    return [one for one in counted if (one.score or 0.0) >= policy.suspicious]


def rescore_with_second_reference(
    scored: Sequence[Candidate],
    doubted: Sequence[Candidate],
    sets: Mapping[str, HeldOutSet],
    *,
    rescore: Scoring,
    least_rows: int,
) -> list[Candidate]:
    """Return all candidates, those in doubt with the lower of their scores beside the two references.

    Args:
        scored: candidates with their scores beside the first reference.
        doubted: the candidates in doubt.
        sets: held-out rows of the suspect and the second reference by label name.
        rescore: gives a candidate its score.
        least_rows: where a set has fewer the second reference does not count.
    """
    return [
        min(one, rescore(measure_at_all_positions(one, sets[one.target])), key=lambda each: each.score or 0.0)
        if one in doubted and len(sets[one.target].rows) >= least_rows
        else one
        for one in scored
    ]


def _counted(scored: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that no policy allows, without those of rewritten rows."""
    return [one for one in scored if not one.allowed and one.kind not in REWRITTEN_KINDS]
