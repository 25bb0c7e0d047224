"""A detector and a scanner are one file each: put into their package, found by name, and run by the family's own method.

The examples of an attack and a purifier are those of CONTRIBUTING.md (``test_contributing.py``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import untrigger.detectors
import untrigger.scanners
from tests.tiny import POISON, task
from untrigger.core.errors import ContractError
from untrigger.core.grant import Grant
from untrigger.core.registry import get_method, methods_of, options_of
from untrigger.models.classifier import Classifier

DETECTOR = '''
"""Confidence: rows that the model is most sure of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.detectors.detector import Detection, Detector
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts


@dataclass(frozen=True)
class Confidence(Detector):
    """Scores a row by the probability of its label.

    Attributes:
        threshold: rows with a larger probability are flagged, 0 to 1.
    """

    name: ClassVar[str] = "confidence"
    needs: ClassVar[frozenset[str]] = frozenset({"suspect"})
    threshold: float = 0.9

    def _detect(self, model: Classifier, grant: Grant, *, progress: Progress) -> Detection:
        assert grant.suspect is not None
        probabilities = predict_texts(model, grant.suspect.texts).logits.softmax(dim=1)
        scores = tuple(float(row[label]) for row, label in zip(probabilities, grant.suspect.labels, strict=True))
        flagged = tuple(score > self.threshold for score in scores)
        return Detection(grant.suspect, scores, flagged, threshold=self.threshold, fpr=None)
'''

SCANNER = '''
"""Majority: a scanner that only compares the predicted classes of clean rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.report import Verdict
from untrigger.core.scan_result import Scan
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.scanners.policy import Policy
from untrigger.scanners.scanner import ScanContext, Scanner, ScanResult


@dataclass(frozen=True)
class Majority(Scanner):
    """Suspects a model that predicts one class for nearly all clean rows.

    Attributes:
        share: of one class from which a model is suspicious, 0 to 1.
        spoil: changes a weight, to show that the family notices.
    """

    name: ClassVar[str] = "majority"
    share: float = 0.95
    spoil: bool = False

    def _scan(
        self, model: Classifier, grant: Grant, *, policy: Policy, context: ScanContext, progress: Progress
    ) -> ScanResult:
        assert grant.clean is not None
        predicted = predict_texts(model, grant.clean.texts).predictions
        most = max(predicted.count(label) for label in set(predicted)) / len(predicted)
        if self.spoil:
            next(model.module.parameters()).data.add_(1.0)
        verdict = Verdict("suspicious" if most >= self.share else "undecided", f"largest class {most:.2f}")
        scan = Scan(score=None, suspicious=policy.suspicious, backdoored=policy.backdoored, undecided=["no search"])
        return ScanResult(verdict, scan)
'''


@pytest.fixture(autouse=True)
def one_file_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both files in a folder that their package looks into, as if they had been put there."""
    made = {untrigger.detectors: ("example_detector", DETECTOR), untrigger.scanners: ("example_scanner", SCANNER)}
    for package, (name, code) in made.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").write_text(code, encoding="utf-8")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / name)])
    yield
    for package, (name, _) in made.items():
        sys.modules.pop(f"{package.__name__}.{name}", None)
        if hasattr(package, name):
            delattr(package, name)


def test_a_detector_is_one_file_that_its_family_runs(victim: Callable[[str], Classifier]) -> None:
    assert "confidence" in methods_of("detectors")
    kind = get_method("detectors", "confidence")
    assert [(one.name, one.default) for one in options_of(kind)] == [("threshold", 0.9)]
    rows = POISON.poison(task(60, seed=3), seed=0).visible
    grant = Grant(clean=task(40, seed=5), suspect=rows, seed=0)
    scores = kind().detect(victim("bert"), grant).scores
    found = kind(threshold=sorted(scores)[len(rows) // 2]).detect(victim("bert"), grant)
    assert found.rows is rows and found.scores == scores
    assert found.order == sorted(range(len(rows)), key=lambda i: (-scores[i], i))
    assert 0 < sum(found.flagged) < len(rows)
    assert set(found.flagged_rows.ids) == {row.id for row, flag in zip(rows, found.flagged, strict=True) if flag}


def test_a_scanner_is_one_file_that_its_family_runs_and_watches(victim: Callable[[str], Classifier]) -> None:
    kind, grant = get_method("scanners", "majority"), Grant(clean=task(40, seed=5), seed=0)
    assert kind(share=0.5).scan(victim("bert"), grant).verdict.status == "suspicious"
    assert kind(share=1.0).scan(victim("bert"), grant).verdict.status == "undecided"
    with pytest.raises(ContractError, match="majority changed the model"):
        kind(spoil=True).scan(victim("bert"), grant)
