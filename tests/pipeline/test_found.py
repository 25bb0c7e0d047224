"""``purify`` with a method that looks for poisoned rows first: how well it found them stands in the report, and costs no second look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.kit import SMALL, Shop
from untrigger.core.report import Report
from untrigger.defences.bedkd.bedkd_defence import BeDKD, BeDKDAsDescribed
from untrigger.defences.bedkd.row_detection.directional_mapping import CopyConfig
from untrigger.detectors.detector import Detection
from untrigger.evaluation.ground_truth import read_poisoned
from untrigger.evaluation.metrics import detection_metrics
from untrigger.pipeline.purify import purify

OURS = {"mapping": CopyConfig(alpha=0.9, hidden=False, lr=5e-3, epochs=2), "cycles": 2, "cycle_steps": 2, "rank": 4}
DESCRIBED = {"mapping": CopyConfig(epochs=1), "student": CopyConfig(epochs=1, lr=1e-5)}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Detection]:
    """What the detectors within a run said."""
    result: list[Detection] = []
    for kind in (BeDKD, BeDKDAsDescribed):
        whole = kind._detect

        def watched(self: Any, *args: Any, whole: Any = whole, **more: Any) -> Detection:
            result.append(whole(self, *args, **more))
            return result[-1]

        monkeypatch.setattr(kind, "_detect", watched)
    return result


def run(shop: Shop, out: Path, *, suspect: Path | None = None, **more: Any) -> Report:
    victim = shop.victim("bert", "full")
    rows = suspect or victim.truth / "train.csv"
    asked = {"method": "bedkd", "suspect": str(rows), "truth": victim.truth, "control": False, "options": OURS} | more
    return purify(shop.spec("bert", "full", out=out, **asked))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"variant": "as_described", "options": DESCRIBED},
        {"method": "bedkd,finetune", "options": {"bedkd": OURS, "finetune": SMALL["finetune"]}},
    ],
)
def test_how_well_the_poisoned_rows_were_found_stands_in_the_report(
    shop: Shop, tmp_path: Path, seen: list[Detection], more: dict[str, Any]
) -> None:
    report = run(shop, tmp_path / "out", **more)
    [result] = seen
    poisoned = read_poisoned(shop.victim("bert", "full").truth, rows=result.rows)
    assert 0 < sum(poisoned) < len(poisoned)
    expected = detection_metrics(result.scores, flagged=result.flagged, poisoned=poisoned)
    assert [
        m for m in Report.read(tmp_path / "out" / "report.json").measurements if m.subject == "detector"
    ] == expected
    assert report.find("detector", "auroc") is not None


def test_rows_that_the_truth_is_not_about_are_not_measured_and_that_is_said(shop: Shop, tmp_path: Path) -> None:
    report = run(shop, tmp_path / "other", suspect=shop.clean)
    assert report.find("detector", "auroc") is None
    assert any("how well poisoned rows were found is not measured" in one for one in report.warnings)


def test_without_a_truth_nothing_is_measured(shop: Shop, tmp_path: Path) -> None:
    report = run(shop, tmp_path / "out", truth=None)
    assert report.find("detector", "auroc") is None
