"""A verdict on a model that cannot be searched, such as a quantised one: what known candidates do to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from untrigger.core.candidate import Candidate
from untrigger.core.report import Verdict
from untrigger.core.rows import Rows
from untrigger.core.scan_result import Scan
from untrigger.core.verdicts import UNDECIDED
from untrigger.inversion.confirmation import benches, confirm
from untrigger.inversion.screening import is_causal
from untrigger.models.classifier import Classifier
from untrigger.scanners.insertion_scanner import ground_of
from untrigger.scanners.judging import judged, score
from untrigger.scanners.policy import Policy
from untrigger.scanners.selection import by_name, comparisons, settled

NOTHING_TRIED = "the earlier scans left no text to try on it"


def judged_on_known(
    model: Classifier,
    reference: Classifier,
    rows: Rows,
    candidates: Sequence[Candidate],
    *,
    policy: Policy,
    seed: int,
    most: int = 96,
    sure: int = 3,
) -> tuple[Verdict, Scan]:
    """The verdict of the same judge as in a scan, with the same doubts, on candidates of earlier scans of its kin.

    Args:
        model: answers texts in its own arithmetic.
        reference: a clean classifier of the task.
        rows: held-out clean rows.
        candidates: texts with the names of the labels that they pulled to.
        policy: thresholds and allowed findings.
        seed: of the draw of rows.
        most: rows that a candidate is tried on, for each target.
        sure: the worst candidates, which are tried at every place of every row.
    """
    tables, made = benches(model, reference, rows=rows, most=most, seed=seed), list[Candidate]()
    for target, bench in tables.items():
        texts = dict.fromkeys(one.text for one in candidates if one.target == rows.label_names[target])
        made += settled(confirm(list(texts), bench, kind="known"), bench, sure=sure)
    scored = [
        replace(one, score=score(one, bound=not is_causal(model)), allowed=policy.reason(one.text, target=one.target))
        for one in made
    ]
    ground = ground_of(model, rows, by_name(tables, rows), comparisons=comparisons(made))
    found, scan = judged(scored, [], ground=ground, policy=policy)
    if scored or scan.undecided:
        return found, scan
    return Verdict(UNDECIDED, f"No verdict could be given: {NOTHING_TRIED}."), replace(scan, undecided=[NOTHING_TRIED])
