"""Apply the treatments of an audit to a model, and scan and evaluate it after each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from untrigger.core.candidate import Candidate
from untrigger.core.progress import Progress
from untrigger.core.report import Verdict
from untrigger.core.rows import Rows
from untrigger.core.scan_result import Scan
from untrigger.core.statistics import Measurement, Outcome
from untrigger.evaluation.ground_truth import GroundTruth
from untrigger.evaluation.metrics import asr, cacc, excess_asr
from untrigger.evaluation.observation import predict_outcomes
from untrigger.evaluation.robustness import fine_tuned, quantized_to_int8, repoisoned
from untrigger.models.adapter_merging import merge_adapter
from untrigger.models.classifier import Classifier
from untrigger.pipeline.requests import TREATMENTS, AuditRequest
from untrigger.pipeline.scan_inputs import defender_grant
from untrigger.pipeline.verdict_rules import Subject
from untrigger.runtime.cost import Clock
from untrigger.scanners.known_triggers import judge_known_candidates
from untrigger.scanners.scanner import ScanContext, Scanner


@dataclass(frozen=True)
class SubjectResult:
    """The scan and the evaluation of one subject.

    Attributes:
        subject: the model and its treatment.
        status: the scan's verdict.
        scan: what the scan found.
        outcomes: predictions for the test rows, of every kind that there are.
        searched: whether the scan searched; else it only measured candidates of earlier scans.
    """

    subject: Subject
    status: str
    scan: Scan
    outcomes: list[Outcome]
    searched: bool = True

    @property
    def score(self) -> Measurement:
        """The score of the worst candidate."""
        worst = max(self.scan.candidates, key=lambda one: one.score or 0.0, default=None)
        score, n = (worst.score, worst.suspect.n) if worst else (None, 0)
        return Measurement(self.subject.name, "scan_score", score, None, None, n)


@dataclass
class AuditRun:
    """One audit: what every subject is treated and scanned with.

    Attributes:
        request: treatments, epochs, and how to scan.
        method: the scanner.
        tuning: rows to fine-tune on.
        scanning: rows to scan with.
        truth: the ground truth, None if none was given.
        context: the scanner's context; the first scan adds its reference.
        warnings: treatments that were not done.
    """

    request: AuditRequest
    method: Scanner
    clock: Clock
    progress: Progress
    tuning: Rows
    scanning: Rows
    truth: GroundTruth | None
    context: ScanContext
    warnings: list[str]

    def results(self, model: Classifier, *, purified: bool) -> Iterator[SubjectResult]:
        """Yield the result of ``model`` without treatment, then after every treatment that can be done."""
        result = self._scan(model, Subject(purified))
        candidates = list(result.scan.candidates)
        yield result
        for name in self.request.treatments:
            subject = Subject(purified, TREATMENTS[name])
            with self.clock.stage(subject.name):
                treated = self._treat(model, name, who=Subject(purified).name)
            if isinstance(treated, str):
                self.warnings.append(f"not done: {treated}")
            elif name == "int8":  # it gives no gradients to search with
                yield self._rescan(treated, subject, candidates)
            else:
                result = self._scan(treated, subject)
                candidates += result.scan.candidates
                yield result

    def _treat(self, model: Classifier, name: str, *, who: str) -> Classifier | str:
        """Return the model after one treatment, or why it cannot be done."""
        epochs, seed = self.request.epochs, self.request.scan.run.seed
        if name == "finetune":
            return fine_tuned(model, self.tuning, epochs=epochs, seed=seed, progress=self.progress)
        if name == "merge":
            whole = merge_adapter(model)
            return whole if whole is not model else f"{who}: full weights have nothing to merge"
        if name == "int8":
            small, layers = quantized_to_int8(model)
            return small if layers else f"{who}: no layer that dynamic int8 supports"
        if self.truth is None or self.truth.trigger is None:
            return "poisoning again needs the true trigger: give the truth folder with --truth"
        count = min(self.request.poisoned, len(self.tuning) // 4)
        return repoisoned(model, self.tuning, self.truth, count=count, epochs=epochs, seed=seed, progress=self.progress)

    def _scan(self, model: Classifier, subject: Subject) -> SubjectResult:
        """Scan a model."""
        with self.clock.stage(f"scan: {subject.name}"):
            grant = defender_grant(self.request.scan, self.scanning)
            policy = self.request.scan.policy
            result = self.method.scan(model, grant, policy=policy, context=self.context, progress=self.progress)
        self.context = replace(self.context, reference=result.reference)
        return self._evaluated(model, subject, result.scan, verdict=result.verdict)

    def _rescan(self, model: Classifier, subject: Subject, candidates: Sequence[Candidate]) -> SubjectResult:
        """Measure the candidates of the earlier scans on a model that cannot be searched."""
        assert self.context.reference is not None
        policy, seed = self.request.scan.policy, self.request.scan.run.seed
        with self.clock.stage(f"scan: {subject.name}"):
            held = self.method.held_out_rows(self.scanning, seed=seed)
            verdict, scan = judge_known_candidates(
                model, self.context.reference, held, candidates, policy=policy, seed=seed
            )
        return replace(self._evaluated(model, subject, scan, verdict=verdict), searched=False)

    def _evaluated(self, model: Classifier, subject: Subject, scan: Scan, *, verdict: Verdict) -> SubjectResult:
        """Return the result with the predictions for the test rows, without a truth for the scanned rows."""
        name, truth = subject.name, self.truth
        rows = truth.clean if truth else self.scanning
        outcomes = predict_outcomes(model, rows, subject=name, triggered=False, progress=self.progress)[0]
        if truth is not None:
            rows = truth.triggered
            outcomes += predict_outcomes(model, rows, subject=name, triggered=True, progress=self.progress)[0]
        return SubjectResult(subject, verdict.status, scan, outcomes)


def audit_measurements(results: Sequence[SubjectResult], truth: GroundTruth | None) -> list[Measurement]:
    """Return score, accuracy and attack success of every subject, and the excess over the clean model treated alike."""
    outcomes = [one for result in results for one in result.outcomes]
    names = [one.subject.name for one in results]
    made = [*(one.score for one in results), *(cacc(outcomes, subject=name) for name in names)]
    if truth is None:
        return made
    attacked = [asr(outcomes, subject=name, target=truth.targets) for name in names]
    return [*made, *attacked, *audit_excesses(results, truth).values()]


def audit_excesses(results: Sequence[SubjectResult], truth: GroundTruth | None) -> dict[Subject, Measurement]:
    """Return the excess attack success of the purified model by treatment, where its counterpart was measured."""
    if truth is None:
        return {}
    outcomes = [one for result in results for one in result.outcomes]
    subjects = {one.subject for one in results}
    return {
        one.subject: excess_asr(
            outcomes, subject=one.subject.name, target=truth.targets, floor=one.subject.counterpart.name
        )
        for one in results
        if one.subject.purified and one.subject.counterpart in subjects
    }
