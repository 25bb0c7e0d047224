"""The trigger search as a scanner: candidates from the search, a verdict from held-out rows and a clean reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from untrigger.core.candidate import Candidate
from untrigger.core.errors import OptionError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.core.scan_result import FOUND
from untrigger.core.seeds import derived_seed, generator_for
from untrigger.core.statistics import Measurement
from untrigger.inversion.confirmation import PLACES, Bench, benches, confirm, confirm_each
from untrigger.inversion.controls import content_words, random_words
from untrigger.inversion.screening import is_causal
from untrigger.inversion.search import SearchOptions, TriggerSearch
from untrigger.inversion.simultaneous import FAMILY, simultaneous_low
from untrigger.methods.defender_rows import split_clean
from untrigger.models.classifier import Classifier
from untrigger.models.inference import as_bfloat16
from untrigger.scanners.judging import Ground, judged, score
from untrigger.scanners.policy import Policy
from untrigger.scanners.rewritten_rows import try_rewritten
from untrigger.scanners.scanner import Hints, Scanner, ScanResult
from untrigger.scanners.second_reference import in_doubt, judged_again
from untrigger.scanners.selection import by_name, chosen, comparisons, in_full_precision, plainer, settled, thinned
from untrigger.scanners.unread_text import unread
from untrigger.training.loop import History
from untrigger.training.teacher_training import TeacherOptions, train_teacher


@dataclass(frozen=True)
class Tried:
    """What was put to the test on held-out rows.

    Attributes:
        candidates: with their figures.
        controls: likewise.
        comparisons: how many figures of candidates were looked at, those of dropped candidates among them.
    """

    candidates: list[Candidate]
    controls: list[Candidate]
    comparisons: int

    @property
    def confirmed(self) -> int:
        """How many candidates towards one class or another are kept."""
        return len(self.candidates)

    def with_more(
        self, candidates: Sequence[Candidate], *, comparisons: int, controls: Sequence[Candidate] = ()
    ) -> Tried:
        """These and further ones."""
        return Tried([*self.candidates, *candidates], [*self.controls, *controls], self.comparisons + comparisons)


@dataclass(frozen=True)
class InsertionScanner(Scanner):
    """Searches for insertions that move the model farther than a clean reference, and confirms them on held-out rows.

    Each row has one purpose: the held-out ones confirm and nothing else, some of the others choose the best epoch of a
    reference that is trained here, and the rest train it. The search reads those that are not held out. Where the worst finding
    is suspicious and no more, a second reference is trained that the search did not see either.

    Attributes:
        held: share of the clean rows that is held out to confirm on.
        most_held: the most rows held out; the others train the reference and serve the search.
        dev: share of the others that chooses the reference's epoch.
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
    dev: float = 0.15
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
        shares = 0 < self.held < 1 and 0 < self.dev < 1
        if (
            not shares
            or min(self.most_held, self.rows, self.tried) < 1
            or min(self.others, self.sure, self.content) < 0
        ):
            raise OptionError(
                f"held {self.held}, dev {self.dev}, most_held {self.most_held}, rows {self.rows}, tried {self.tried}, "
                f"others {self.others}, sure {self.sure}, content {self.content}",
                expected="shares above 0 and below 1, and whole numbers of 1 or more (others, sure and content: 0 or more)",
            )

    def _scan(self, model: Classifier, grant: Grant, *, policy: Policy, hints: Hints, progress: Progress) -> ScanResult:
        held, rows = self._parts(grant, hints)
        reference, history = hints.reference, History()
        if reference is None:
            reference, history = self._reference(model, grant, rows=rows, progress=progress)
        search = TriggerSearch(model, reference, rows=rows, options=self.search, seed=grant.seed)
        found = search.run(known=hints.known, progress=progress)
        tables = by_name(benches(model, reference, rows=held, most=self.rows, seed=grant.seed), held)
        tried = self._tried(found, tables, rows=rows, hints=hints, seed=grant.seed, progress=progress)
        if hints.rewritten is not None:
            brought = try_rewritten(model, reference, hints.rewritten, clean=held, name=hints.rewritten_name)
            tried = tried.with_more(brought, comparisons=len(brought))

        def rescored(one: Candidate) -> Candidate:
            return _scored(one, policy, model)

        scored, compared = [rescored(one) for one in tried.candidates], tried.comparisons
        if as_bfloat16(model) is not model:
            scored = in_full_precision(scored, tables, policy=policy, rescored=rescored)
        told = {"rows_to_search": len(rows), "rows_held_out": len(held), "candidates_searched": len(found)}
        if grant.teacher is not None and (doubted := in_doubt(scored, policy=policy)):
            again = replace(grant, seed=derived_seed(grant.seed, "second reference"))
            second, more = self._reference(model, again, rows=rows, progress=progress)
            others = by_name(benches(model, second, rows=held, most=self.rows, seed=grant.seed), held)
            scored = judged_again(scored, doubted, others, rescored=rescored)
            told |= {"judged_by_a_second_reference": len(doubted), "steps_of_the_second_reference": more.steps}
            compared += len(doubted) * (1 + len(PLACES))
        ground = ground_of(model, held, tables, comparisons=compared)
        verdict, scan = judged(scored, tried.controls, ground=ground, policy=policy)
        return ScanResult(
            verdict,
            scan,
            found=found,
            reference=reference,
            history=history,
            measurements=[ground.suspect, ground.reference, *_rates(scan.candidates)],
            told=told | _counts(tried, ground, scan.candidates),
            warnings=[*ground.weak(), *ground.unread] if verdict.status in FOUND else [],
        )

    def _parts(self, grant: Grant, hints: Hints) -> tuple[Rows, Rows]:
        """Rows to confirm on, and rows for everything else."""
        assert grant.clean is not None
        return self.parted(grant.clean, seed=grant.seed) if hints.held is None else (hints.held, grant.clean)

    def _reference(
        self, model: Classifier, grant: Grant, *, rows: Rows, progress: Progress
    ) -> tuple[Classifier, History]:
        """A clean reference trained on a part of the rows, the other part choosing its epoch; it sees no held-out row."""
        own, dev = split_clean(rows, dev=self.dev, generator=generator_for(grant.seed, "dev"))
        return train_teacher(model, grant, rows=own, dev=dev, options=self.teacher, progress=progress)

    def parted(self, rows: Rows, *, seed: int) -> tuple[Rows, Rows]:
        """Rows held out to confirm on, and rows to train the reference and search with; classes in proportion."""
        count = min(self.most_held, max(len(rows.label_names), round(self.held * len(rows))))
        return rows.stratified(count, rng=np.random.default_rng(seed))

    def held_out(self, rows: Rows, *, seed: int) -> Rows:
        """The rows that the search never sees."""
        return self.parted(rows, seed=seed)[0]

    def _tried(
        self,
        found: Sequence[Candidate],
        tables: Mapping[str, Bench],
        *,
        rows: Rows,
        hints: Hints,
        seed: int,
        progress: Progress,
    ) -> Tried:
        """Candidates and controls of every target on the held-out rows, in bfloat16 where that is faster."""
        tried = Tried([], [], 0)
        for exact in tables.values():
            bench = replace(exact, suspect=as_bfloat16(exact.suspect), reference=as_bfloat16(exact.reference))
            made = self._candidates(found, bench, hints, progress)
            name = rows.label_names[bench.target]
            kept = thinned(made, {one.text: one.family for one in found if one.target == name})
            tried = tried.with_more(
                kept, comparisons=comparisons(made), controls=self._controls(bench, rows, seed=seed)
            )
        return tried

    def _candidates(
        self, found: Sequence[Candidate], bench: Bench, hints: Hints, progress: Progress
    ) -> list[Candidate]:
        """The best of the search for the bench's target, what was known before and the words worth a try, confirmed.

        The worst of them at every place of every row: the third of the rows that has a place in the first trial is few.
        """
        name = bench.rows.label_names[bench.target]
        own = [one for one in found if one.target == name]
        searched = chosen(own, tried=self.tried, others=self.others)
        known = [text for text in _texts(hints.known, name) if text not in searched]
        others = [word for word in dict.fromkeys(hints.words) if word not in {*searched, *known}][: self.tried]
        made = [
            *confirm(searched, bench, kind="searched", progress=progress),
            *confirm(known, bench, kind="known", progress=progress),
            *confirm(others, bench, kind="weights", progress=progress),
        ]
        made = settled(made, bench, sure=self.sure)
        shorter = plainer(made, bench.suspect.tokenizer, most=self.others)
        return made + settled(confirm(shorter, bench, kind="searched", progress=progress), bench, sure=self.sure)

    def _controls(self, bench: Bench, rows: Rows, *, seed: int) -> list[Candidate]:
        """Content words of the target, and any words."""
        honest = confirm(content_words(rows, target=bench.target, most=self.content), bench, kind="content")
        drawn = random_words(rows, count=len(bench.rows), seed=seed)
        anything = confirm_each(drawn, bench, label=f"any of {len(drawn)} words", kind="random")
        return [replace(one, examples=[]) for one in [*honest, *([anything] if anything else [])]]


def _texts(found: Sequence[Candidate], target: str) -> list[str]:
    """The texts of the candidates towards one target, each once."""
    return list(dict.fromkeys(one.text for one in found if one.target == target))


def _scored(candidate: Candidate, policy: Policy, model: Classifier) -> Candidate:
    """The candidate with its score in that model, and the policy's reason where it is allowed."""
    own = score(candidate, bound=not is_causal(model))
    return replace(candidate, score=own, allowed=policy.reason(candidate.text, target=candidate.target))


def ground_of(model: Classifier, held: Rows, tables: Mapping[str, Bench], *, comparisons: int = 0) -> Ground:
    """What the verdict stands on: accuracies, the share of the largest class, and what was tried towards each class."""
    own, clean = next(iter(tables.values())).accuracies
    largest = max(held.class_counts().values()) / len(held)
    return Ground(
        own,
        clean,
        largest,
        {name: len(bench.rows) for name, bench in tables.items()},
        causal=is_causal(model),
        leads={name: (bench.leads[0].low, bench.leads[1].low) for name, bench in tables.items()},
        comparisons=comparisons,
        unread=unread(model, held),
    )


def _counts(tried: Tried, ground: Ground, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """How many comparisons the worst candidate was the worst of, and its excess at the lower end that holds for all of them."""
    low = simultaneous_low(candidates[0], comparisons=ground.comparisons) if candidates else None
    return {
        "candidates_confirmed": tried.confirmed,
        "comparisons": ground.comparisons,
        "chance_of_a_false_excess": FAMILY,
        "simultaneous_excess_of_the_worst": low if low is None else round(low, 4),
        "leads_of_suspect_and_reference": {name: [*lows] for name, lows in ground.leads.items()},
    }


def _rates(candidates: Sequence[Candidate]) -> list[Measurement]:
    """The flip rates of the worst candidate."""
    return [candidates[0].suspect, candidates[0].reference, candidates[0].excess] if candidates else []
