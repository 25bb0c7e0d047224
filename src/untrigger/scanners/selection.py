"""Which candidates are tried, tried again, and kept, and how many figures the held-out rows gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from untrigger.core.candidate import REWRITTEN_KINDS, Candidate
from untrigger.core.rows import Rows
from untrigger.inversion.confirmation import PLACES, Bench, everywhere, shorn
from untrigger.scanners import thresholds as calibration
from untrigger.scanners.judging import score
from untrigger.scanners.policy import Policy

VARIANTS = 3  # so many candidates that grew on the same word are shown


def settled(candidates: Sequence[Candidate], bench: Bench, *, sure: int) -> list[Candidate]:
    """The candidates, worst first, the ``sure`` worst of them with figures of every place from every row."""
    ranked = sorted(
        candidates, key=score, reverse=True
    )  # by the best place too: what is tried everywhere is not judged yet
    return [
        everywhere(one, bench) if i < sure and score(one) >= calibration.AGAIN else one for i, one in enumerate(ranked)
    ]


def in_full_precision(
    scored: Sequence[Candidate],
    tables: Mapping[str, Bench],
    *,
    policy: Policy,
    rescored: Callable[[Candidate], Candidate],
) -> list[Candidate]:
    """The candidates, all those that may be suspicious and the worst of the others with figures in full precision.

    Rounding moves a score by less than ``ROUNDED``, so that what lies farther below the threshold cannot pass it.

    Args:
        scored: candidates with scores from rounded arithmetic.
        tables: benches in full precision by the name of their target.
        policy: says what is suspicious.
        rescored: gives a candidate its score.
    """
    counted = [one for one in scored if not one.allowed and one.kind not in REWRITTEN_KINDS]
    worst = max(counted, key=lambda one: one.score or 0.0, default=None)
    least = max(calibration.AGAIN, policy.suspicious - calibration.ROUNDED)
    again = {id(one) for one in counted if (one.score or 0.0) >= least}
    if worst is not None and (worst.score or 0.0) >= calibration.AGAIN:
        again.add(id(worst))
    return [rescored(everywhere(one, tables[one.target])) if id(one) in again else one for one in scored]


def comparisons(made: Sequence[Candidate]) -> int:
    """How many figures the held-out rows gave: one a candidate, and one more for each place tried on all rows."""
    return sum(1 + (len(PLACES) if one.measured_at_all_positions else 0) for one in made)


def by_name(tables: Mapping[int, Bench], rows: Rows) -> dict[str, Bench]:
    """The benches by the name of their target."""
    return {rows.label_names[target]: bench for target, bench in tables.items()}


def chosen(found: Sequence[Candidate], *, tried: int, others: int) -> list[str]:
    """The texts of the best ``tried`` candidates, and ``others`` more: what those grew from, then the best of other families.

    What grows on one word fills the search's list with pieces glued to it, and would hide the word and those beside it.
    """
    known, firsts = {one.text for one in found}, dict[str, str]()
    for one in found:
        firsts.setdefault(one.family, one.text)
    roots = [one.family for one in found[:tried] if one.family in known]
    texts = dict.fromkeys([*(one.text for one in found[:tried]), *roots, *firsts.values()])
    return list(texts)[: tried + others]


def plainer(candidates: Sequence[Candidate], tokenizer: Any, *, most: int) -> list[str]:
    """The texts of those that are suspicious with fewer pieces on the last word, ``most`` that are not among the candidates.

    The search does not mind pieces that say nothing more, and a reader does. Where nothing is suspicious nothing is tried:
    what costs less would only be another chance to call an honest model suspicious.
    """
    worst = [one.text for one in candidates if one.extra_subwords and score(one) >= calibration.SUSPICIOUS]
    known = {one.text for one in candidates}
    drawn = dict.fromkeys(shorter for text in worst for shorter in shorn(text, tokenizer))
    return [text for text in drawn if text not in known][:most]


def thinned(candidates: Sequence[Candidate], families: Mapping[str, str]) -> list[Candidate]:
    """The candidates, worst first, of each family three at most and what they grew from."""
    kept, counts = list[Candidate](), Counter[str]()
    for one in sorted(candidates, key=score, reverse=True):
        family = families.get(one.text, one.text)
        if one.text == family or counts[family] < VARIANTS:
            kept.append(one)
        counts[family] += one.text != family
    return kept
