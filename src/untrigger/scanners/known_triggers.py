"""A verdict on a model that cannot be searched, such as a quantised one: the flip rates of known candidates in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from untrigger.core.candidate import Candidate
from untrigger.core.report import Verdict
from untrigger.core.rows import Rows
from untrigger.core.scan_result import Scan
from untrigger.core.verdicts import UNDECIDED
from untrigger.inversion.flip_rates import measure_in_turn
from untrigger.inversion.held_out import held_out_sets
from untrigger.models.classifier import Classifier
from untrigger.scanners.confirm import count_comparisons, rerank_top_k
from untrigger.scanners.insertion_scanner import InsertionScanner, scoring
from untrigger.scanners.judge import judge
from untrigger.scanners.policy import Policy
from untrigger.scanners.verdict_basis import basis_of

NOTHING_TO_MEASURE = "the earlier scans left no candidate to measure in it"


def judge_known_candidates(
    model: Classifier,
    reference: Classifier,
    rows: Rows,
    candidates: Sequence[Candidate],
    *,
    policy: Policy,
    seed: int,
    scanner: InsertionScanner | None = None,
) -> tuple[Verdict, Scan]:
    """Return the verdict of a scan, with the same reasons to abstain, on candidates of earlier scans of related models.

    Args:
        model: predicts in its own arithmetic.
        reference: a clean classifier of the task.
        rows: held-out clean rows.
        candidates: candidates of earlier scans.
        policy: thresholds and allowed findings.
        seed: of the draw of rows.
        scanner: its options are used.
    """
    options = scanner or InsertionScanner()
    sets, measured = held_out_sets(model, reference, rows=rows, most=options.rows, seed=seed), list[Candidate]()
    for name, held_out in sets.items():
        texts = dict.fromkeys(one.text for one in candidates if one.target == name)
        first = measure_in_turn([Candidate(text, name, "known") for text in texts], held_out)
        measured += rerank_top_k(first, held_out, options=options.confirmation, costs=options.score)
    scored = list(map(scoring(model, policy, costs=options.score), measured))
    basis = basis_of(model, rows, sets, comparisons=count_comparisons(measured), options=options.evidence)
    found, scan = judge(scored, [], basis=basis, policy=policy)
    if scored or scan.undecided:
        return found, scan
    return (
        Verdict(UNDECIDED, f"No verdict could be given: {NOTHING_TO_MEASURE}."),
        replace(scan, undecided=[NOTHING_TO_MEASURE]),
    )
