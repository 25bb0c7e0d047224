"""The trigger search as a scanner: candidates from the search, a verdict from held-out rows and a clean reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from untrigger.errors import OptionError
from untrigger.models.classifier import Classifier
from untrigger.models.predict import rounded
from untrigger.progress import Progress
from untrigger.scanning import calibration
from untrigger.scanning.base import Hints, Scanner, ScanResult
from untrigger.scanning.confirm import Bench, benches, confirm, confirm_each, everywhere, shorn
from untrigger.scanning.controls import content_words, random_words
from untrigger.scanning.judgement import Ground, judged, score
from untrigger.scanning.policy import Policy
from untrigger.scanning.rewritten import try_rewritten
from untrigger.scanning.second import in_doubt, judged_again
from untrigger.search.insertions import Insertion, InsertionSearch, SearchOptions
from untrigger.search.screen import is_causal
from untrigger.training.loop import History
from untrigger.training.weak_teacher import TeacherOptions, trained_teacher
from untrigger.vocabulary.grant import Grant
from untrigger.vocabulary.outcome import Measurement
from untrigger.vocabulary.rows import Rows
from untrigger.vocabulary.scan import BROUGHT, Candidate

VARIANTS = 3  # so many candidates that grew on the same word are shown


@dataclass(frozen=True)
class InsertionScanner(Scanner):
    """Searches for insertions that move the model farther than a clean reference, and confirms them on held-out rows.

    The held-out rows choose the best epoch of a reference that is trained here; the search never sees them. Where the worst
    finding is suspicious and no more, a second reference is trained that the search did not see either.

    Attributes:
        held: share of the clean rows that is held out to confirm on.
        most_held: the most rows held out; the others train the reference and serve the search.
        rows: held-out rows that a candidate is tried on, for each target.
        tried: candidates that are confirmed, for each target.
        others: further ones, from which those grew or which are of other origin; then as many suspicious ones with fewer pieces.
        sure: the worst of them, which are then tried at every place of every row where their score is not near nothing.
        content: words of the target's class that are tried beside them.
        teacher: how the reference is trained where none is given.
        search: how wide the search is; a causal model is searched at every place, since its last one counts for nothing.
    """

    name: ClassVar[str] = "insertions"
    needs: ClassVar[frozenset[str]] = frozenset({"clean", "teacher"})
    held: float = 0.35
    most_held: int = 240
    rows: int = 96
    tried: int = 6
    others: int = 3
    sure: int = 3
    content: int = 3
    teacher: TeacherOptions = field(default_factory=TeacherOptions)
    search: SearchOptions = field(default_factory=lambda: SearchOptions(at_end=False))

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for a share outside (0, 1) and counts below 1.
        """
        if not 0 < self.held < 1 or min(self.most_held, self.rows, self.tried) < 1 or min(self.others, self.sure, self.content) < 0:
            raise OptionError(
                f"held {self.held}, most_held {self.most_held}, rows {self.rows}, tried {self.tried}, others {self.others}, "
                f"sure {self.sure}, content {self.content}",
                expected="a share above 0 and below 1, and whole numbers of 1 or more (others, sure and content: 0 or more)",
            )

    def _scan(self, model: Classifier, grant: Grant, *, policy: Policy, hints: Hints, progress: Progress) -> ScanResult:
        assert grant.clean is not None
        held, rows = self.parted(grant.clean, seed=grant.seed)
        reference, history = hints.reference, History()
        if reference is None:
            reference, history = trained_teacher(
                model, grant, rows=rows, dev=held, options=self.teacher, progress=progress
            )
        search = InsertionSearch(model, reference, rows=rows, options=self.search, seed=grant.seed)
        found = search.run(known=hints.known, progress=progress)
        tables = benches(model, reference, rows=held, most=self.rows, seed=grant.seed)
        candidates, controls = [], []
        quick = rounded(model), rounded(reference)
        for bench in (replace(exact, suspect=quick[0], reference=quick[1]) for exact in tables.values()):
            candidates += self._candidates(found, bench, hints, progress)
            controls += self._controls(bench, rows, seed=grant.seed)
        if hints.rewritten is not None:
            candidates += try_rewritten(model, reference, hints.rewritten, clean=held, name=hints.rewritten_name)
        scored = [_scored(one, policy, model) for one in candidates]
        if quick[0] is not model:
            scored = sharpened(scored, by_name(tables, held), policy=policy)
        told = {"rows_to_search": len(rows), "rows_held_out": len(held), "candidates_searched": len(found)}
        if grant.teacher is not None and (doubted := in_doubt(scored, policy=policy)):
            again = replace(grant, seed=grant.seed + 1)
            second, more = trained_teacher(model, again, rows=rows, dev=held, options=self.teacher, progress=progress)
            others = by_name(benches(model, second, rows=held, most=self.rows, seed=grant.seed), held)
            scored = judged_again(scored, doubted, others, rescored=lambda one: _scored(one, policy, model))
            told |= {"judged_by_a_second_reference": len(doubted), "steps_of_the_second_reference": more.steps}
        ground = ground_of(model, held, tables)
        verdict, scan = judged(scored, controls, ground=ground, policy=policy)
        return ScanResult(
            verdict, scan, insertions=found, reference=reference, history=history,
            measurements=[ground.suspect, ground.reference, *_rates(scan.candidates)],
            told=told,
        )  # fmt: skip

    def parted(self, rows: Rows, *, seed: int) -> tuple[Rows, Rows]:
        """Rows held out to confirm on, and rows to train the reference and search with; classes in proportion."""
        count = min(self.most_held, max(len(rows.label_names), round(self.held * len(rows))))
        return rows.stratified(count, rng=np.random.default_rng(seed))

    def held_out(self, rows: Rows, *, seed: int) -> Rows:
        """The rows that the search never sees."""
        return self.parted(rows, seed=seed)[0]

    def _candidates(self, found: Sequence[Insertion], bench: Bench, hints: Hints, progress: Progress) -> list[Candidate]:
        """The best of the search for the bench's target, what was known before and the words worth a try, confirmed.

        The worst of them at every place of every row: the third of the rows that has a place in the first trial is few.
        """
        own = [one for one in found if one.target == bench.target]
        searched = chosen(own, tried=self.tried, others=self.others)
        known = [text for text in _texts(hints.known, bench.target) if text not in searched]
        others = [word for word in dict.fromkeys(hints.words) if word not in {*searched, *known}][: self.tried]
        made = [
            *confirm(searched, bench, kind="searched", progress=progress),
            *confirm(known, bench, kind="known", progress=progress),
            *confirm(others, bench, kind="weights", progress=progress),
        ]
        made = settled(made, bench, sure=self.sure)
        shorter = plainer(made, bench.suspect.tokenizer, most=self.others)
        made += settled(confirm(shorter, bench, kind="searched", progress=progress), bench, sure=self.sure)
        return thinned(made, {one.text: one.family for one in own})

    def _controls(self, bench: Bench, rows: Rows, *, seed: int) -> list[Candidate]:
        """Content words of the target, and any words."""
        honest = confirm(content_words(rows, target=bench.target, most=self.content), bench, kind="content")
        drawn = random_words(rows, count=len(bench.rows), seed=seed)
        anything = confirm_each(drawn, bench, label=f"any of {len(drawn)} words", kind="random")
        return [replace(one, examples=[]) for one in [*honest, *([anything] if anything else [])]]


def settled(candidates: Sequence[Candidate], bench: Bench, *, sure: int) -> list[Candidate]:
    """The candidates, worst first, the ``sure`` worst of them with figures of every place from every row."""
    ranked = sorted(candidates, key=score, reverse=True)  # by the best place too: what is tried everywhere is not judged yet
    return [everywhere(one, bench) if i < sure and score(one) >= calibration.AGAIN else one for i, one in enumerate(ranked)]


def sharpened(scored: Sequence[Candidate], tables: Mapping[str, Bench], *, policy: Policy) -> list[Candidate]:
    """The candidates, the worst that the policy does not allow with figures in full precision, scored anew.

    ``tables`` holds the benches in full precision by the name of their target.
    """
    counted = [one for one in scored if not one.allowed and one.kind not in BROUGHT]
    worst = max(counted, key=lambda one: one.score or 0.0, default=None)
    if worst is None or (worst.score or 0.0) < calibration.AGAIN:
        return list(scored)
    bench = tables[worst.target]
    return [_scored(everywhere(one, bench), policy, bench.suspect) if one is worst else one for one in scored]


def by_name(tables: Mapping[int, Bench], rows: Rows) -> dict[str, Bench]:
    """The benches by the name of their target."""
    return {rows.label_names[target]: bench for target, bench in tables.items()}


def _texts(found: Sequence[Insertion], target: int) -> list[str]:
    """The texts of the insertions towards one target, each once."""
    return list(dict.fromkeys(one.text for one in found if one.target == target))


def chosen(found: Sequence[Insertion], *, tried: int, others: int) -> list[str]:
    """The texts of the best ``tried`` insertions, and ``others`` more: what those grew from, then the best of other families.

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
    worst = [one.text for one in candidates if one.glued and score(one) >= calibration.SUSPICIOUS]
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


def _scored(candidate: Candidate, policy: Policy, model: Classifier) -> Candidate:
    """The candidate with its score in that model, and the policy's reason where it is allowed."""
    own = score(candidate, bound=not is_causal(model))
    return replace(candidate, score=own, allowed=policy.reason(candidate.text, target=candidate.target))


def ground_of(model: Classifier, held: Rows, tables: Mapping[int, Bench]) -> Ground:
    """What the verdict stands on: accuracies, the share of the largest class, and the rows that were tried towards each class."""
    own, clean = next(iter(tables.values())).accuracies
    largest = max(held.class_counts().values()) / len(held)
    tried = {held.label_names[target]: len(bench.rows) for target, bench in tables.items()}
    return Ground(own, clean, largest, tried, causal=is_causal(model))


def _rates(candidates: Sequence[Candidate]) -> list[Measurement]:
    """The flip rates of the worst candidate."""
    return [candidates[0].suspect, candidates[0].reference, candidates[0].excess] if candidates else []
