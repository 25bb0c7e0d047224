"""What a scan says of a purified model, on rows that nothing was trained or chosen on: the evidence where no truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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

HELD = 0.6  # share of the held-out rows that findings are confirmed on; the others serve the search
MOST = 1000  # held-out rows that a scan of the result takes at most
DEV = 0.15  # share of the defender's rows that choose the reference's epoch
KNOWN = 12  # findings of the purifier that are tried again
SKIPPED = "a scan of the result was not wanted (--no-verify)"


def verify(
    request: PurifyRequest, method: Purifier, purified: Purified, *, grant: Grant, held: Rows, progress: Progress
) -> Verification:
    """What a scan says of the purified model on ``held``, rows that no method was given; a reference is trained on the grant's.

    A model that a scan left as it was is not scanned again. What keeps a scan from being made is reported, never raised: the
    purified model is not lost for it.
    """
    if not request.verify:
        return Verification("", SKIPPED)
    if purified.scanned is not None and not purified.changed:
        return Verification(
            purified.scanned.status, purified.scanned.sentence, list(purified.metadata.get("not_looked_for", []))
        )
    assert grant.clean is not None
    scanner, rows, granted = _scanner(request, method), _most(held, seed=request.run.seed), grant.clean
    if few := too_few(rows, scanner=scanner, granted=len(granted)):
        return Verification("", few)
    try:
        return _scanned(request, method, purified, scanner=scanner, granted=granted, rows=rows, progress=progress)
    except UserError as error:
        return Verification("", f"the scan of the result could not be made: {error.what}")


def too_few(rows: Rows, *, scanner: InsertionScanner, granted: int) -> str:
    """Why so few held-out rows can never show a clean model, empty where they may."""
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
    known = again(purified.findings, names=purified.model.label_names)
    policy = getattr(method, "policy", None)
    result = scanner.scan(
        purified.model,
        Grant(clean=rows, seed=seed),
        policy=policy if isinstance(policy, Policy) else Policy(),
        context=ScanContext(reference, known=known),
        progress=progress,
    )
    facts = {
        "rows": len(rows),
        "rows_sha256": rows.content_hash(),
        "seed": seed,
        "score": result.scan.score,
        **result.metadata,
        "found": [f"{one.text} → {one.target}" for one in result.scan.triggers()],
        "tried_again": [one.text for one in known],
    }
    return Verification(result.verdict.status, result.verdict.sentence, result.scan.not_looked_for, facts)


def _reference(
    request: PurifyRequest,
    model: Classifier,
    *,
    scanner: InsertionScanner,
    granted: Rows,
    seed: int,
    progress: Progress,
) -> Classifier:
    """A clean reference of the task, trained on rows that no finding is confirmed on."""
    rows, dev = split_clean(granted, dev=DEV, generator=generator_for(request.run.seed, "verification: reference"))
    grant = Grant(clean=granted, teacher=request.teacher or DEFAULT_TEACHER, seed=seed)
    return train_teacher(model, grant, rows=rows, dev=dev, options=scanner.teacher, progress=progress)[0]


def again(findings: Sequence[Candidate], *, names: Sequence[str]) -> list[Candidate]:
    """What the purifier found, strongest first, to be tried again on the result."""
    found = sorted(
        (one for one in findings if one.target in names),
        key=lambda one: (one.reference.value or 0.0) - (one.suspect.value or 0.0),
    )
    strongest: dict[tuple[str, str], Candidate] = {}
    for one in found:
        strongest.setdefault((one.text, one.target), one)
    return list(strongest.values())[:KNOWN]


def _scanner(request: PurifyRequest, method: Purifier) -> InsertionScanner:
    """The method's own scanner where it has one, else the usual one with the request's options; more rows confirm."""
    own = getattr(method, "scanner", None)
    scanner = (
        own if isinstance(own, InsertionScanner) else build_method("scanners", "insertions", options=request.verifier)
    )
    assert isinstance(scanner, InsertionScanner)
    return replace(scanner, held_out=HELD)


def _most(held: Rows, *, seed: int) -> Rows:
    if len(held) <= MOST:
        return held
    return held.stratified(MOST, rng=generator_for(seed, "verification: rows"))[0]
