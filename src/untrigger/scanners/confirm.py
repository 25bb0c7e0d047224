"""The second step of a scan: candidates of the search confirmed on held-out rows that the search never used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from untrigger.core.candidate import Candidate
from untrigger.core.errors import OptionError
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows
from untrigger.core.thresholds import SCAN_SCORE
from untrigger.inversion.controls import content_words, random_words
from untrigger.inversion.flip_rates import measure_at_all_positions, measure_drawn_words, measure_in_turn
from untrigger.inversion.held_out import POSITIONS, HeldOutSet
from untrigger.inversion.subwords import drop_last_subwords
from untrigger.scanners.scan_score import ScoreOptions, scan_score


@dataclass(frozen=True)
class ConfirmationOptions:
    """How many candidates of each target are confirmed, and how.

    Attributes:
        candidates: the best of the search.
        runners_up: further ones, from which those grew or which are of other families; then as many suspicious ones with fewer
            subwords.
        top: those with the highest scores, which are then measured at all positions of all rows.
        content_words: words of the target's class that are measured as controls.
        least_score: a score from which more rows could change the verdict; set by hand.
        family_size: grown variants that are kept of each family; set by hand.
        bfloat16_margin: how far a score in bfloat16 may be below a threshold that it reaches in float32: logits are wrong by 0.01.
    """

    candidates: int = 6
    runners_up: int = 3
    top: int = 3
    content_words: int = 3
    least_score: float = 0.1
    family_size: int = 3
    bfloat16_margin: float = 0.1

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for counts that are too small.
        """
        if min(self.candidates, self.family_size) < 1 or min(self.runners_up, self.top, self.content_words) < 0:
            raise OptionError(
                f"candidates {self.candidates}, runners_up {self.runners_up}, top {self.top}, content_words "
                f"{self.content_words}, family_size {self.family_size}",
                expected="whole numbers: candidates and family_size of 1 or more, the others of 0 or more",
            )


@dataclass(frozen=True)
class Confirmed:
    """Candidates with their rates on held-out rows.

    Attributes:
        sets: the held-out rows of each label name.
        candidates: of all targets.
        controls: words of each class and random words on the same rows.
        comparisons: how many rates of candidates were looked at, those of dropped candidates among them.
        metadata: plain values for the report.
    """

    sets: Mapping[str, HeldOutSet]
    candidates: list[Candidate] = field(default_factory=list)
    controls: list[Candidate] = field(default_factory=list)
    comparisons: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)

    def with_candidates(
        self, candidates: Sequence[Candidate], *, comparisons: int, controls: Sequence[Candidate] = ()
    ) -> Confirmed:
        """Return these and further ones."""
        return replace(
            self,
            candidates=[*self.candidates, *candidates],
            controls=[*self.controls, *controls],
            comparisons=self.comparisons + comparisons,
        )


def confirm(
    found: Sequence[Candidate],
    sets: Mapping[str, HeldOutSet],
    *,
    known: Sequence[Candidate],
    words: Sequence[str],
    rows: Rows,
    options: ConfirmationOptions,
    costs: ScoreOptions,
    seed: int,
    progress: Progress = silent,
) -> Confirmed:
    """Return candidates and controls of every target with their rates, in bfloat16 where that is faster.

    Args:
        found: candidates of the search, best first.
        sets: held-out rows by label name.
        known: candidates of earlier scans.
        words: words worth measuring, such as those whose embedding moved most.
        rows: clean rows that controls are drawn from.
        options: how many are confirmed.
        costs: of the score.
        seed: of the random controls.
        progress: gets every long step.
    """
    confirmed = Confirmed(sets)
    for exact in sets.values():
        held_out = exact.in_bfloat16()
        chosen = candidates_to_confirm(found, known, words, target=held_out.label, options=options)
        measured = _measured(chosen, found, held_out, options=options, costs=costs, progress=progress)
        confirmed = confirmed.with_candidates(
            deduplicate_families(measured, size=options.family_size, costs=costs),
            comparisons=count_comparisons(measured),
            controls=_controls(held_out, rows, most=options.content_words, seed=seed),
        )
    return confirmed


def candidates_to_confirm(
    found: Sequence[Candidate],
    known: Sequence[Candidate],
    words: Sequence[str],
    *,
    target: str,
    options: ConfirmationOptions,
) -> list[Candidate]:
    """Return the best of the search for the target, what was known before and the words worth measuring, each text once."""
    own = [one for one in found if one.target == target]
    searched = best_of_families(own, most=options.candidates, runners_up=options.runners_up)
    before = [text for text in _texts(known, target) if text not in searched]
    others = [word for word in dict.fromkeys(words) if word not in {*searched, *before}][: options.candidates]
    return [
        *_as_found(searched, found, target, kind="searched"),
        *_as_found(before, found, target, kind="known"),
        *_as_found(others, found, target, kind="weights"),
    ]


def best_of_families(found: Sequence[Candidate], *, most: int, runners_up: int) -> list[str]:
    """Return the texts of the best ``most`` candidates, and ``runners_up`` more: what they grew from, then other families.

    What grows on one word fills the search's list with subwords added to it, and would hide the word and other candidates.
    """
    known, firsts = {one.text for one in found}, dict[str, str]()
    for one in found:
        firsts.setdefault(one.family, one.text)
    roots = [one.family for one in found[:most] if one.family in known]
    texts = dict.fromkeys([*(one.text for one in found[:most]), *roots, *firsts.values()])
    return list(texts)[: most + runners_up]


def rerank_top_k(
    candidates: Sequence[Candidate], held_out: HeldOutSet, *, options: ConfirmationOptions, costs: ScoreOptions
) -> list[Candidate]:
    """Return the candidates, highest score first, the top ones measured at all positions: a third of the rows each is few."""

    def score(one: Candidate) -> float:
        return scan_score(
            one, options=costs
        )  # by the best position too: what is measured at all positions is not judged yet

    ranked = sorted(candidates, key=score, reverse=True)
    return [
        measure_at_all_positions(one, held_out) if i < options.top and score(one) >= options.least_score else one
        for i, one in enumerate(ranked)
    ]


def shortened_variants(candidates: Sequence[Candidate], tokenizer: Any, *, most: int, costs: ScoreOptions) -> list[str]:
    """Return ``most`` texts of the suspicious candidates with fewer subwords on the last word, that are not among them.

    The search does not mind subwords that change nothing, and a reader does. Where nothing is suspicious there is none: another
    comparison would only be another chance of a false positive.
    """
    suspicious = [
        one.text for one in candidates if one.extra_subwords and scan_score(one, options=costs) >= SCAN_SCORE.suspicious
    ]
    known = {one.text for one in candidates}
    drawn = dict.fromkeys(shorter for text in suspicious for shorter in drop_last_subwords(text, tokenizer))
    return [text for text in drawn if text not in known][:most]


def deduplicate_families(candidates: Sequence[Candidate], *, size: int, costs: ScoreOptions) -> list[Candidate]:
    """Return the candidates, highest score first, of each family at most ``size`` variants and what they grew from."""
    kept, counts = list[Candidate](), Counter[str]()
    for one in sorted(candidates, key=lambda one: scan_score(one, options=costs), reverse=True):
        if one.text == one.family or counts[one.family] < size:
            kept.append(one)
        counts[one.family] += one.text != one.family
    return kept


def count_comparisons(measured: Sequence[Candidate]) -> int:
    """Return how many rates the held-out rows gave: one a candidate, and one more for each position measured on all rows."""
    return sum(1 + (len(POSITIONS) if one.measured_at_all_positions else 0) for one in measured)


def _measured(
    chosen: Sequence[Candidate],
    found: Sequence[Candidate],
    held_out: HeldOutSet,
    *,
    options: ConfirmationOptions,
    costs: ScoreOptions,
    progress: Progress,
) -> list[Candidate]:
    """Return the chosen candidates with their rates, and the suspicious ones with fewer subwords."""
    first = [
        one
        for kind in ("searched", "known", "weights")
        for one in measure_in_turn([each for each in chosen if each.kind == kind], held_out, progress=progress)
    ]
    ranked = rerank_top_k(first, held_out, options=options, costs=costs)
    texts = shortened_variants(ranked, held_out.suspect.tokenizer, most=options.runners_up, costs=costs)
    shorter = _as_found(texts, found, held_out.label, kind="searched")
    measured = measure_in_turn(shorter, held_out, progress=progress)
    return ranked + rerank_top_k(measured, held_out, options=options, costs=costs)


def _as_found(texts: Sequence[str], found: Sequence[Candidate], target: str, *, kind: str) -> list[Candidate]:
    """Return a candidate for each text, with what the search measured of it where it was among the found."""
    known = {one.text: one for one in found if one.target == target}
    return [replace(known.get(text, Candidate(text, target)), kind=kind) for text in texts]


def _texts(found: Sequence[Candidate], target: str) -> list[str]:
    return list(dict.fromkeys(one.text for one in found if one.target == target))


def _controls(held_out: HeldOutSet, rows: Rows, *, most: int, seed: int) -> list[Candidate]:
    """Return content words of the target and random words, with their rates."""
    words = content_words(rows, target=held_out.target, most=most)
    content = measure_in_turn([Candidate(word, held_out.label, "content") for word in words], held_out)
    drawn = random_words(rows, count=len(held_out.rows), seed=seed)
    control = measure_drawn_words(drawn, held_out, label=f"any of {len(drawn)} words")
    return [replace(one, examples=[]) for one in [*content, *([control] if control else [])]]
