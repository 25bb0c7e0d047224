"""Noisy labels and weak references: a strong finding stands, nobody is acquitted, and a reference that nothing moves proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from tests.scanners.kit import CLEAN, QUICK
from tests.tiny import task
from untrigger.core.grant import Grant
from untrigger.core.rows import Rows
from untrigger.models.classifier import Classifier
from untrigger.scanners.scanner import ScanContext, ScanResult
from untrigger.scanners.verdict_basis import EvidenceOptions
from untrigger.training.loop import Plan
from untrigger.training.supervised import fine_tune

Load = Callable[[str], Classifier]


def noisy(rows: Rows, share: float) -> Rows:
    """The rows, a share of each class with the other label."""
    seen, wrong = [0, 0], []
    for label in rows.labels:
        seen[label] += 1
        wrong.append(seen[label] * share % 1 < share)
    return rows.with_labels(1 - label if bad else label for label, bad in zip(rows.labels, wrong, strict=True))


WRONG = 0.37
HELD = noisy(task(240, seed=51), WRONG)


def scanned(suspect: Classifier, reference: Classifier) -> ScanResult:
    grant = Grant(clean=noisy(CLEAN, WRONG), seed=0)
    held = replace(HELD, ids=tuple(f"held-{name}" for name in HELD.ids))
    return QUICK.scan(suspect, grant, context=ScanContext(reference, held_out=held))


def accuracies(done: ScanResult) -> list[float]:
    return [one.value or 0.0 for one in done.measurements if one.metric == "cacc"]


def test_with_labels_that_are_often_wrong_a_trigger_is_found_and_said_with_its_doubts(victim: Load, twin: Load) -> None:
    done = scanned(victim("bert"), twin("bert"))
    assert max(accuracies(done)) < 0.5 + EvidenceOptions().least_lead, "both are hardly better than the largest class"
    assert (done.verdict.status, done.scan.target) == ("suspicious", "positive")
    assert "cf" in [one.text for one in done.scan.triggers()]
    assert any("held-out accuracy of the reference" in line for line in done.warnings)


def test_with_such_labels_a_model_without_a_backdoor_is_neither_accused_nor_acquitted(twin: Load) -> None:
    other = twin("bert")
    fine_tune(other, task(256, seed=9), plan=Plan(lr=2e-3, epochs=2), seed=5)
    done = scanned(twin("bert"), other)
    assert done.verdict.status == "undecided" and done.scan.target == "" and not done.scan.triggers()
    assert "held-out accuracy of the reference" in done.verdict.sentence and done.warnings == []


def test_a_reference_that_says_one_class_to_everything_proves_nothing(victim: Load, load: Load) -> None:
    constant = load("bert")
    with torch.no_grad():
        constant.module.classifier.weight.zero_()
        constant.module.classifier.bias.copy_(torch.tensor([1.0, 0.0]))
    done = QUICK.scan(victim("bert"), Grant(clean=CLEAN, seed=0), context=ScanContext(constant))
    found = {one.text: one for one in done.scan.candidates}
    assert found["cf"].reference.value == 0.0 and (found["cf"].score or 0) > 0.7, "the figures alone would accuse"
    assert done.verdict.status == "undecided" and done.scan.target == ""


def test_nothing_is_said_about_a_suspect_that_knows_nothing(load: Load, twin: Load) -> None:
    done = scanned(load("bert"), twin("bert"))
    assert done.verdict.status == "undecided"
