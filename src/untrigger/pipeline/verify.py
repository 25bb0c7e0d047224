"""Scan a purified model on rows that nothing was trained or chosen on: the evidence if no truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from untrigger.core.candidate import Candidate
from untrigger.core.errors import UserError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.core.seeds import derived_seed, generator_for
from untrigger.defences.purifier import Purified, Purifier
from untrigger.methods.defender_rows import split_clean
from untrigger.models.classifier import Classifier
from untrigger.pipeline.build_method import build_method
from untrigger.pipeline.requests import DEFAULT_TEACHER, PurifyRequest
from untrigger.pipeline.verdict_rules import Verification
from untrigger.scanners.insertion_scanner import InsertionScanner
from untrigger.scanners.policy import Policy
from untrigger.scanners.scanner import ScanContext
from untrigger.training.teacher_training import train_teacher

NOT_REQUESTED = "no scan of the result was requested (--no-verify)"


@dataclass(frozen=True)
class VerificationOptions:
    """The rows of a scan of the result (not tuned).

    Attributes:
        confirming: share of the held-out rows that findings are confirmed on; the others serve the search.
        rows: largest number of held-out rows that are used.
        dev: share of the defender's rows that choose the epoch of the reference.
        findings: number of the purifier's findings that are tried again.
    """

    confirming: float = 0.6
    rows: int = 1000
    dev: float = 0.15
    findings: int = 12


OPTIONS = VerificationOptions()


def verify(
    request: PurifyRequest, method: Purifier, purified: Purified, *, grant: Grant, held: Rows, progress: Progress
) -> Verification:
    """Return the scan of the purified model on ``held``, rows that the method was not given; the grant's rows train the reference.

    An unchanged model that was scanned is not scanned again. An error of the scan is reported and not raised, so that the purified
    model is not lost.
    """
    if not request.verify:
        return Verification("", NOT_REQUESTED)
    if purified.scanned is not None and not purified.changed:
        return Verification(
            purified.scanned.status, purified.scanned.sentence, list(purified.metadata.get("not_looked_for", []))
        )
    assert grant.clean is not None
    scanner, rows, granted = _scanner(request, method), _sampled(held, seed=request.run.seed), grant.clean
    if few := too_few(rows, scanner=scanner, granted=len(granted)):
        return Verification("", few)
    try:
        return _scanned(request, method, purified, scanner=scanner, granted=granted, rows=rows, progress=progress)
    except UserError as error:
        return Verification("", f"the scan of the result could not be made: {error.what}")


def too_few(rows: Rows, *, scanner: InsertionScanner, granted: int) -> str:
    """Return why there are too few held-out rows to show a clean model, empty if there are enough."""
    seed, least = 0, scanner.evidence.least_rows  # the shares alone matter
    confirming = scanner.split(rows, seed=seed)[0] if len(rows) > len(rows.label_names) else rows
    counts = confirming.class_counts()
    others = min((len(confirming) - count for count in counts.values()), default=0)
    if others >= least:
        return ""
    wanted = 50 * -(-(len(rows) + granted) * (least + 6) // (50 * max(1, others)))
    return (
        f"{len(rows)} clean rows were held out, of which {others} could be tried towards a class, {least} are needed: "
        f"give about {wanted} clean rows in all"
    )


def _scanned(
    request: PurifyRequest,
    method: Purifier,
    purified: Purified,
    *,
    scanner: InsertionScanner,
    granted: Rows,
    rows: Rows,
    progress: Progress,
) -> Verification:
    seed = derived_seed(request.run.seed, "verification: scan")
    reference = _reference(request, purified.model, scanner=scanner, granted=granted, seed=seed, progress=progress)
    known = findings_to_retry(purified.findings, names=purified.model.label_names)
    policy = getattr(method, "policy", None)
    result = scanner.scan(
        purified.model,
        Grant(clean=rows, seed=seed),
        policy=policy if isinstance(policy, Policy) else Policy(),
        context=ScanContext(reference, known=known),
        progress=progress,
    )
    metadata = {
        "rows": len(rows),
        "rows_sha256": rows.content_hash(),
        "seed": seed,
        "score": result.scan.score,
        **result.metadata,
        "found": [f"{one.text} → {one.target}" for one in result.scan.triggers()],
        "tried_again": [one.text for one in known],
    }
    return Verification(result.verdict.status, result.verdict.sentence, result.scan.not_looked_for, metadata)


def _reference(
    request: PurifyRequest,
    model: Classifier,
    *,
    scanner: InsertionScanner,
    granted: Rows,
    seed: int,
    progress: Progress,
) -> Classifier:
    """Return a clean reference of the task, trained on rows that no finding is confirmed on."""
    rows, dev = split_clean(
        granted, dev=OPTIONS.dev, generator=generator_for(request.run.seed, "verification: reference")
    )
    grant = Grant(clean=granted, teacher=request.teacher or DEFAULT_TEACHER, seed=seed)
    return train_teacher(model, grant, rows=rows, dev=dev, options=scanner.teacher, progress=progress)[0]


def findings_to_retry(findings: Sequence[Candidate], *, names: Sequence[str]) -> list[Candidate]:
    """Return the strongest findings of the purifier, to be tried again on the result."""
    found = sorted(
        (one for one in findings if one.target in names),
        key=lambda one: (one.reference.value or 0.0) - (one.suspect.value or 0.0),
    )
    strongest: dict[tuple[str, str], Candidate] = {}
    for one in found:
        strongest.setdefault((one.text, one.target), one)
    return list(strongest.values())[: OPTIONS.findings]


def _scanner(request: PurifyRequest, method: Purifier) -> InsertionScanner:
    """Return the method's own scanner, else the default one with the request's options; more rows confirm findings."""
    own = getattr(method, "scanner", None)
    scanner = (
        own if isinstance(own, InsertionScanner) else build_method("scanners", "insertions", options=request.verifier)
    )
    assert isinstance(scanner, InsertionScanner)
    return replace(scanner, held_out=OPTIONS.confirming)


def _sampled(held: Rows, *, seed: int) -> Rows:
    if len(held) <= OPTIONS.rows:
        return held
    return held.stratified(OPTIONS.rows, rng=generator_for(seed, "verification: rows"))[0]
