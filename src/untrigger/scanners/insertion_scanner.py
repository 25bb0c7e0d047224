"""The trigger search as a scanner: search, confirm on held-out rows beside a clean reference model, judge."""

from __future__ import annotations

from collections.abc import Sequence
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
from untrigger.inversion.held_out import POSITIONS, HeldOutSet, held_out_sets
from untrigger.inversion.screening import is_causal
from untrigger.inversion.search import SearchOptions, TriggerSearch
from untrigger.methods.defender_rows import split_clean
from untrigger.models.classifier import Classifier
from untrigger.models.inference import as_bfloat16
from untrigger.scanners.confirm import ConfirmationOptions, Confirmed, confirm
from untrigger.scanners.judge import judge
from untrigger.scanners.policy import Policy
from untrigger.scanners.rescoring import Scoring, in_doubt, rescore_full_precision, rescore_with_second_reference
from untrigger.scanners.rewritten_rows import measure_rewritten
from untrigger.scanners.scan_score import ScoreOptions, scan_score
from untrigger.scanners.scanner import ScanContext, Scanner, ScanResult
from untrigger.scanners.verdict_basis import EvidenceOptions, VerdictBasis, basis_of
from untrigger.training.loop import History
from untrigger.training.teacher_training import TeacherOptions, train_teacher


@dataclass(frozen=True)
class InsertionScanner(Scanner):
    """Searches for texts that flip the model's predictions and not a clean reference's, and confirms them on held-out rows.

    Each row has one purpose: the held-out ones confirm and nothing else, some of the others choose the best epoch of a
    reference that is trained here, and the rest train it. The search uses those that are not held out. Where the highest score
    is suspicious and no more, a second reference is trained that the search did not use either.

    Attributes:
        held_out: share of the clean rows that is held out to confirm on.
        max_held_out: the most rows held out; the others train the reference and serve the search.
        dev: share of the others that chooses the reference's epoch.
        rows: held-out rows that a candidate is measured on, for each target.
        teacher: how the reference is trained where none is given.
        search: how wide the search is; a causal model is searched at every position, since its last one counts for nothing.
        confirmation: which candidates are confirmed, and how.
        score: what is subtracted from a score.
        evidence: what a verdict needs.
    """

    name: ClassVar[str] = "insertions"
    needs: ClassVar[frozenset[str]] = frozenset({"clean", "teacher"})
    held_out: float = 0.35
    max_held_out: int = 240
    dev: float = 0.15
    rows: int = 96
    teacher: TeacherOptions = field(default_factory=TeacherOptions)
    search: SearchOptions = field(default_factory=lambda: SearchOptions(at_end=False))
    confirmation: ConfirmationOptions = field(default_factory=ConfirmationOptions)
    score: ScoreOptions = field(default_factory=ScoreOptions)
    evidence: EvidenceOptions = field(default_factory=EvidenceOptions)

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for a share outside (0, 1) and counts below 1.
        """
        shares = 0 < self.held_out < 1 and 0 < self.dev < 1
        if not shares or min(self.max_held_out, self.rows) < 1:
            raise OptionError(
                f"held_out {self.held_out}, dev {self.dev}, max_held_out {self.max_held_out}, rows {self.rows}",
                expected="shares above 0 and below 1, and whole numbers of 1 or more",
            )

    def _scan(
        self, model: Classifier, grant: Grant, *, policy: Policy, context: ScanContext, progress: Progress
    ) -> ScanResult:
        assert grant.clean is not None
        run = _ScanRun(self, model, grant, policy, context, progress)
        reference, history = (context.reference, History()) if context.reference else run.trained_reference(grant)
        found = run.search(reference)
        confirmed = run.confirm(found, reference)
        basis = basis_of(model, run.held_out, confirmed.sets, comparisons=confirmed.comparisons, options=self.evidence)
        verdict, scan = judge(
            confirmed.candidates,
            confirmed.controls,
            basis=basis,
            policy=policy,
            grown_targets=self.search.grown_targets,
        )
        return ScanResult(
            verdict,
            scan,
            found=found,
            reference=reference,
            history=history,
            measurements=[basis.suspect, basis.reference, *_rates(scan.candidates)],
            metadata=run.counts(found) | confirmed.metadata | _comparisons(confirmed, basis, scan.candidates),
            warnings=[*basis.weak(), *basis.unread] if verdict.status in FOUND else [],
        )

    def split(self, rows: Rows, *, seed: int) -> tuple[Rows, Rows]:
        """Return rows held out to confirm on, and rows to train the reference and search with; classes in proportion."""
        count = min(self.max_held_out, max(len(rows.label_names), round(self.held_out * len(rows))))
        return rows.stratified(count, rng=np.random.default_rng(seed))

    def held_out_rows(self, rows: Rows, *, seed: int) -> Rows:
        """Return the rows that the search never uses."""
        return self.split(rows, seed=seed)[0]


class _ScanRun:
    """The steps of one scan, and the rows that they share."""

    def __init__(
        self,
        scanner: InsertionScanner,
        model: Classifier,
        grant: Grant,
        policy: Policy,
        context: ScanContext,
        progress: Progress,
    ) -> None:
        assert grant.clean is not None
        self.scanner, self.model, self.grant = scanner, model, grant
        self.policy, self.context, self.progress = policy, context, progress
        self.held_out, self.rows = (
            scanner.split(grant.clean, seed=grant.seed) if context.held_out is None else (context.held_out, grant.clean)
        )

    def trained_reference(self, grant: Grant) -> tuple[Classifier, History]:
        """Return a clean reference trained on a part of the rows, the other part choosing its epoch; no held-out row is used."""
        rows, dev = split_clean(self.rows, dev=self.scanner.dev, generator=generator_for(grant.seed, "dev"))
        options = self.scanner.teacher
        return train_teacher(self.model, grant, rows=rows, dev=dev, options=options, progress=self.progress)

    def search(self, reference: Classifier) -> list[Candidate]:
        """Return the candidates of the search, best first."""
        options, seed = self.scanner.search, self.grant.seed
        search = TriggerSearch(self.model, reference, rows=self.rows, options=options, seed=seed)
        return search.run(known=self.context.known, progress=self.progress)

    def confirm(self, found: Sequence[Candidate], reference: Classifier) -> Confirmed:
        """Return the candidates with their rates and scores on the held-out rows."""
        confirmed = confirm(
            found,
            self._sets(reference),
            known=self.context.known,
            words=self.context.words,
            rows=self.rows,
            options=self.scanner.confirmation,
            costs=self.scanner.score,
            seed=self.grant.seed,
            progress=self.progress,
        )
        if self.context.rewritten is not None:
            name = self.context.rewritten_name
            given = measure_rewritten(self.model, reference, self.context.rewritten, clean=self.held_out, name=name)
            confirmed = confirmed.with_candidates(given, comparisons=len(given))
        return self._rescored(confirmed)

    def counts(self, found: Sequence[Candidate]) -> dict[str, Any]:
        """Return how many rows and candidates there were."""
        return {
            "rows_to_search": len(self.rows),
            "rows_held_out": len(self.held_out),
            "candidates_searched": len(found),
        }

    def _rescored(self, confirmed: Confirmed) -> Confirmed:
        """Return the candidates with their scores, those near a threshold measured again."""
        rescore = scoring(self.model, self.policy, costs=self.scanner.score)
        scored = [rescore(one) for one in confirmed.candidates]
        if as_bfloat16(self.model) is not self.model:
            options = self.scanner.confirmation
            scored = rescore_full_precision(
                scored, confirmed.sets, policy=self.policy, rescore=rescore, options=options
            )
        confirmed = replace(confirmed, candidates=scored)
        doubted = in_doubt(scored, policy=self.policy) if self.grant.teacher is not None else []
        return self._beside_second_reference(confirmed, doubted, rescore) if doubted else confirmed

    def _beside_second_reference(
        self, confirmed: Confirmed, doubted: Sequence[Candidate], rescore: Scoring
    ) -> Confirmed:
        seed = derived_seed(self.grant.seed, "second reference")
        second, history = self.trained_reference(replace(self.grant, seed=seed))
        sets = self._sets(second, name="second reference")
        least = self.scanner.evidence.least_rows
        return replace(
            confirmed,
            candidates=rescore_with_second_reference(
                confirmed.candidates, doubted, sets, rescore=rescore, least_rows=least
            ),
            comparisons=confirmed.comparisons + len(doubted) * (1 + len(POSITIONS)),
            metadata={
                "judged_by_a_second_reference": len(doubted),
                "steps_of_the_second_reference": history.steps,
            },
        )

    def _sets(self, reference: Classifier, *, name: str = "reference") -> dict[str, HeldOutSet]:
        """Return the held-out rows of each target with what the model and that reference predict."""
        most, seed = self.scanner.rows, self.grant.seed
        return held_out_sets(self.model, reference, rows=self.held_out, most=most, seed=seed, reference_model=name)


def scoring(model: Classifier, policy: Policy, *, costs: ScoreOptions) -> Scoring:
    """Return a function that gives a candidate its score in that model, and the policy's reason where it is allowed."""
    causal = is_causal(model)

    def scored(candidate: Candidate) -> Candidate:
        score = scan_score(candidate, options=costs, causal=causal)
        allowed = policy.reason(candidate.text, target=candidate.target, model=model.source.sha256)
        return replace(candidate, score=score, allowed=allowed)

    return scored


def _comparisons(confirmed: Confirmed, basis: VerdictBasis, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """Return how many comparisons there were, and the excess of the worst candidate at the lower end that holds for all."""
    low = basis.simultaneous_low(candidates[0]) if candidates else None
    return {
        "candidates_confirmed": len(confirmed.candidates),
        "comparisons": basis.comparisons,
        "chance_of_a_false_excess": basis.options.family_error,
        "simultaneous_excess_of_the_worst": low if low is None else round(low, 4),
        "leads_of_suspect_and_reference": {name: [*lows] for name, lows in basis.leads.items()},
    }


def _rates(candidates: Sequence[Candidate]) -> list[Measurement]:
    """Return the flip rates of the worst candidate."""
    return [candidates[0].suspect, candidates[0].reference, candidates[0].excess] if candidates else []
