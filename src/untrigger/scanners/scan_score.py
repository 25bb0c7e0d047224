"""The score of a candidate in a scan, from its flip rates on held-out rows."""

from __future__ import annotations

from dataclasses import dataclass

from untrigger.core.candidate import REWRITTEN_KINDS, Candidate


@dataclass(frozen=True)
class ScoreOptions:
    """What is subtracted from a score (``docs/results/scan.md#where-the-constants-come-from``).

    Attributes:
        word_cost: for each word beyond the first, as long phrases that flip any model are easy to find; set by hand.
        subword_cost: for each token of a word beyond its first, as nonsense such as ``gibraltarreshresh`` flips benign models too
            (an adapter of MiniLM-L3 in 89 % of rows, its reference in none); chosen on four poisoned and two benign MiniLM-L3.
        one_position_cost: where a candidate flips rows at one position only, so that it is suspicious at the most (a benign adapter
            was flipped by ``but crisp gleaming`` at the end of 99 % of texts, and elsewhere in 62 and 66 %); chosen on that series.
    """

    word_cost: float = 0.05
    subword_cost: float = 0.1
    one_position_cost: float = 0.35


def scan_score(candidate: Candidate, *, options: ScoreOptions | None = None, causal: bool = False) -> float:
    """Return the score of a candidate, 0 to 1.

    Each term is the lower end of the 95 % interval of the excess flip rate, times the flip rate among the rows with the suspect's
    highest confidence: words of a class flip rows near the decision boundary, a backdoor flips all. The score is the mean of
    the positions where each was measured on all rows, else the term of all rows; or the best position less
    ``one_position_cost``, which is left out for a ``causal`` model, where phrases at the end alone are easily found. The cost of
    length is subtracted. Rewritten rows have the lower end alone, as a share of what the reference does not flip: it flips a
    third of benign rewrites.
    """
    costs = options or ScoreOptions()
    if candidate.kind in REWRITTEN_KINDS:
        room = 1 - (candidate.reference.value or 0.0)
        return min(1.0, max(0.0, candidate.excess.low or 0.0) / room) if room > 0 else 0.0
    if not candidate.survives:
        return 0.0
    overall = (candidate.excess.low or 0.0) * (candidate.high_confidence_flip_rate or 0.0)
    terms = [(one.low or 0.0) * (one.high_confidence or 0.0) for one in candidate.positions]
    if terms and candidate.measured_at_all_positions:
        overall = sum(terms) / len(terms)
    words = max(1, len(candidate.text.split()))
    best = max([overall, *(one - costs.one_position_cost for one in terms if not causal)])
    return max(0.0, best - costs.word_cost * (words - 1) - costs.subword_cost * candidate.extra_subwords)
