"""The lower ends that hold for all comparisons at once: by hand, and by simulation under the worst choice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.scanners.test_judgement import candidate
from untrigger.core.statistics import Measurement, wilson
from untrigger.inversion.simultaneous import simultaneous_low


def test_by_hand() -> None:
    found = candidate(90, 9)
    low, high = wilson(90, 90, z=1.959963984540054)[0], wilson(9, 90, z=1.959963984540054)[1]
    assert low is not None and high is not None
    assert simultaneous_low(found, comparisons=1) == pytest.approx(low - high)
    lows = [simultaneous_low(found, comparisons=count) or 0.0 for count in (1, 10, 100)]
    assert lows == sorted(lows, reverse=True) and 0.5 < lows[-1] < lows[0] < 0.9
    nothing = Measurement("suspect", "flip_rate", None, None, None, 0)
    assert simultaneous_low(replace(found, suspect=nothing), comparisons=1) is None


def test_the_mean_of_a_drift_has_its_own_interval_widened() -> None:
    mean = Measurement("suspect", "excess_drift", 0.5, 0.3, 0.7, 40)
    drift = replace(candidate(20, 10), kind="drift", excess=mean)
    assert simultaneous_low(drift, comparisons=1) == pytest.approx(0.3)
    assert (simultaneous_low(drift, comparisons=50) or 0) < 0.2


@pytest.mark.parametrize("together", [True, False])
def test_the_worst_of_many_that_move_both_models_alike_is_seldom_above_nothing(together: bool) -> None:
    """Forty candidates, each moving both models in one to nine tenths of 40 rows, the same rows or others."""
    rng = np.random.default_rng(0)
    wrong, usual, runs = 0, 0, 300
    for _ in range(runs):
        rates = rng.uniform(0.1, 0.9, size=40)
        own = rng.random((40, 40)) < rates[:, None]
        other = 1 - own if not together else rng.random((40, 40)) < rates[:, None]
        truth = rates - (1 - rates) if not together else np.zeros(40)
        made = [candidate(int(a.sum()), int(b.sum()), n=40) for a, b in zip(own, other, strict=True)]
        wrong += any((simultaneous_low(one, comparisons=40) or 0) > t for one, t in zip(made, truth, strict=True))
        usual += any((simultaneous_low(one, comparisons=1) or 0) > t for one, t in zip(made, truth, strict=True))
    assert wrong / runs <= 0.05
    assert usual / runs > 0.05 or together, "without counting them in the promise would be broken"
