"""The words of a scan."""

from __future__ import annotations

import pytest

from untrigger.core.scan_result import hundredths
from untrigger.core.thresholds import SCAN_SCORE


@pytest.mark.parametrize(
    ("score", "says"),
    [
        (0.497, "0.49"),
        (0.4999, "0.49"),
        (SCAN_SCORE.suspicious, "0.50"),
        (SCAN_SCORE.certain, "0.70"),
        (0.29, "0.29"),
        (0.0, "0.00"),
        (1.0, "1.00"),
    ],
)
def test_a_score_below_a_threshold_reads_below_it(score: float, says: str) -> None:
    assert hundredths(score) == says
